"""A build process that behaves as its job's label says; run by `test_pool.py`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

from grandopt.measurement.wire.codec import Asked
from grandopt.measurement.worker.pipe import serve
from grandopt.reason import Reason, ReasonCode
from grandopt.workflows.building.request import BuildAnswer, BuildRequest

damaged: list[bool] = []
"""Whether something was written here that the next job in this process stumbles over."""


def answer(asked: Asked) -> BuildAnswer:
    request = asked.read(BuildRequest)
    match request.label:
        case "killed":
            os.kill(os.getpid(), signal.SIGKILL)  # what the kernel does when memory runs out
        case "crashes":
            raise RuntimeError("the compiler is broken")
        case "hangs":
            child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
            (request.folder / "child").write_text(str(child.pid))
            time.sleep(600)
        case "damages":
            damaged.append(True)
        case _ if damaged:
            os.kill(os.getpid(), signal.SIGSEGV)
        case "slow":
            time.sleep(1.0)
    return BuildAnswer("verified", Reason(ReasonCode.SLOWER, f"{os.getpid()} {time.monotonic()}"))


if __name__ == "__main__":
    serve(answer)
