"""Processes that read damaged files one after the other, and say how each went.

`python -m tests.readers.child` has torch imported, and forks a process for every job, a JSON line on its
stdin: `{"reader", "seed", "folder", "first", "last", "lines"}`. It prints a line with the `pid` of it
and, when that has come to its end, one with `ended`, its exit code. The process writes to the named pipe
`lines` one JSON line before each file and one after it, so that whoever watches knows what was being read
when it died or stood still; what it complains of goes to `stderr` in the folder.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import sys
import time
import traceback
import warnings
from pathlib import Path
from random import Random
from typing import Any

from grandopt.compiler.program import FORWARD_ERRORS
from grandopt.errors import GrandoptError
from tests.readers.mutations import mutated
from tests.readers.seeds import Reader, reader

ADDRESS_SPACE = 2 << 30
"""What may be mapped beyond what is mapped already, bytes."""

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def _kilobytes(field: str) -> int:
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(field))
    return int(line.split()[1])


def _say(**facts: object) -> None:
    print(json.dumps(facts), flush=True)


def _read(item: Reader, path: Path) -> tuple[str, str]:
    try:
        item.read(path)
    except GrandoptError as error:
        return "refused", str(error)
    except (*FORWARD_ERRORS, OSError, EOFError, MemoryError, ImportError, SyntaxError, Warning) as error:
        return "raised", "".join(traceback.format_exception(error)[-4:])
    return "read", ""


def main(name: str, seed: Path, folder: Path, first: int, last: int) -> None:
    """Read the damaged files `first` … `last` - 1."""
    warnings.simplefilter("ignore")
    item = reader(name)
    whole = seed.read_bytes()
    path = folder / item.name
    path.write_bytes(whole)
    if item.whole_is_read:
        item.read(path)  # which also imports what the reader needs
    limit = (_kilobytes("VmSize") << 10) + ADDRESS_SPACE
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for index in range(first, last):
        path.unlink(missing_ok=True)
        path.write_bytes(mutated(whole, Random(f"{name} {index}")))
        CLEAR.write_text("5")
        before, began = _kilobytes("VmRSS"), time.process_time()
        _say(begins=index)
        outcome, text = _read(item, path)
        _say(
            index=index,
            outcome=outcome,
            text=text[-700:],
            lines=len(text.splitlines()),
            seconds=round(time.process_time() - began, 3),
            mb=max(0, _kilobytes("VmHWM") - before) >> 10,
        )


def _forked(job: dict[str, Any]) -> None:
    """One job, in the forked process, which ends here."""
    code, folder = 1, Path(job["folder"])
    os.dup2(os.open(folder / "stderr", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
    os.dup2(os.open(job["lines"], os.O_WRONLY), 1)
    try:
        main(job["reader"], Path(job["seed"]), folder, job["first"], job["last"])
        code = 0
    finally:
        if code:
            traceback.print_exc()
        os._exit(code)


def serve() -> None:
    """Fork for every job until stdin ends."""
    importlib.import_module("torch")
    importlib.import_module("grandopt.compiler.checkpoints.detect")
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            _forked(json.loads(line))
        _say(pid=pid)
        _say(ended=os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


if __name__ == "__main__":
    serve()
