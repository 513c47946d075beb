"""A build process that behaves as its job's label says; run by `test_builders.py`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from grandopt.measurement.worker import serve


def answer(job: Mapping[str, Any]) -> dict[str, Any]:
    match job["label"]:
        case "killed":
            os.kill(os.getpid(), signal.SIGKILL)  # what the kernel does when memory runs out
        case "crashes":
            raise RuntimeError("the compiler is broken")
        case "hangs":
            child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
            (Path(job["folder"]) / "child").write_text(str(child.pid))
            time.sleep(600)
        case "slow":
            time.sleep(1.0)
    return {"status": "verified", "reason": f"{os.getpid()} {time.monotonic()}"}


if __name__ == "__main__":
    serve(answer)
