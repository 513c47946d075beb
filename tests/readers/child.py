"""A process that reads damaged files one after the other, and says how each went.

`python -m tests.readers.child READER SEED_FILE FOLDER FIRST LAST` prints one JSON line before each file and
one after it, so that whoever watches knows what was being read when the process died or stood still.
"""

from __future__ import annotations

import json
import resource
import sys
import time
import traceback
import warnings
from pathlib import Path
from random import Random

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


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5]))
