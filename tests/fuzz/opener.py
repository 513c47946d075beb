"""Loads and calls changed artifacts, one after another, and says what each did: the child of the fuzz test.

Its argument is a file with a line of JSON for each: {"number", "folder", "cases"}. Prints one line when it
begins with one, and one when it is through.
"""

from __future__ import annotations

import json
import resource
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from grandopt.errors import GrandoptError
from grandopt.runtime.loader import load


def outcome(folder: str, cases: str) -> str:
    """What came of it: "refused", "right", "other" for an answer that is not the right one."""
    arrays = np.load(cases)
    try:
        policy = load(Path(folder))
        names = sorted(name for name in arrays if name.startswith("in"))
        outputs = sorted(name for name in arrays if name.startswith("out"))
        right = True
        for batch in (1, 3, 64):
            inputs = [np.repeat(arrays[name], batch, axis=0) for name in names]
            for results in (policy.run(inputs), policy(*inputs)):
                results = results if isinstance(results, tuple) else (results,)
                right &= len(results) == len(outputs) and all(
                    _same(result, arrays[name], batch) for result, name in zip(results, outputs, strict=True)
                )
        policy.close()
    except GrandoptError as error:
        str(error).encode()  # a message can be printed
        return "refused" if "\n" not in str(error) else "a message of several lines"
    return "right" if right else "other"


def _same(result: Any, wanted: Any, batch: int) -> bool:
    return result.shape == (batch, *wanted.shape[1:]) and np.allclose(
        result, np.repeat(wanted, batch, axis=0), rtol=0, atol=1e-4
    )


def main() -> None:
    """Until the file ends."""
    for line in Path(sys.argv[1]).read_text(encoding="utf-8").splitlines():
        job = json.loads(line)
        print(json.dumps({"begun": job["number"]}), flush=True)
        start, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = outcome(job["folder"], job["cases"])  # what else it raises ends the process
        used = time.process_time() - start
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        print(json.dumps({"number": job["number"], "found": found, "seconds": used, "kb": grown}), flush=True)


if __name__ == "__main__":
    main()
