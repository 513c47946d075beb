"""Holding a compiled library against the real-time contract."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from grandopt.artifacts.machine import architecture, cpu_features
from grandopt.artifacts.manifest import Manifest
from grandopt.workflows.exporting.realtime.contract import Check, Contract
from grandopt.workflows.exporting.realtime.counting import Counted, Effort, Subjects, count
from grandopt.workflows.exporting.realtime.disassembly import (
    CALLED,
    Function,
    Reached,
    disassembled,
    function_at,
    reached,
)
from grandopt.workflows.exporting.realtime.elf import undefined

AT_LOAD = frozenset({"getauxval"})
"""What the library asks of the system when it is loaded, and no call does."""

SHOWN = 3
"""Places that a check names, of all that it found."""


def check(manifest: Manifest, files: Mapping[str, bytes], effort: Effort | None = None) -> Contract:
    """What holds of the libraries for hosts among `files`, which are those of a native artifact.

    Where the machine can, the agent is run. Raises ArtifactError where the library is damaged.
    """
    options, symbol = manifest.options, str(manifest.options["symbol"])
    shared, static = f"lib{symbol}.so", f"lib{symbol}.a"
    levels: Mapping[str, Sequence[str]] = options["levels"]
    here = manifest.machine == architecture()
    runnable = [name for name, needs in levels.items() if here and set(needs) <= set(cpu_features())]
    with tempfile.TemporaryDirectory(prefix="grandopt-") as name:
        folder = Path(name)
        for file in (shared, static):
            (folder / file).write_bytes(files[file])
        functions = disassembled(folder / shared, manifest.machine)
        counted: dict[str, Counted] | str = "this machine can run none of its levels"
        if runnable:
            invokes = {level: options["invokes"][level] for level in runnable}
            subjects = Subjects(symbol, manifest.parsed_signature(), options["scratch_bytes"], invokes)
            counted = count(subjects, folder / static, effort or Effort())
    found = {} if isinstance(counted, str) else counted
    roots = [f"{symbol}_run", *options["invokes"].values()]
    way = None if functions is None else reached(functions, roots, roots[0])
    return Contract(
        symbol,
        {file: hashlib.sha256(files[file]).hexdigest() for file in (shared, static)},
        (
            _needed(undefined(files[shared])),
            *_of_code(way),
            *_of_calls(
                found, options["invokes"], counted if isinstance(counted, str) else "", functions or ()
            ),
        ),
        found,
    )


def _needed(names: Sequence[str]) -> Check:
    others = [name for name in names if name not in CALLED | AT_LOAD]
    what = "nothing of the C library but memcpy and memset"
    if others:
        return Check(what, "fails", f"it needs {', '.join(others)}")
    loading = [name for name in names if name in AT_LOAD]
    calls = f"it needs {', '.join(name for name in names if name in CALLED) or 'neither'}"
    return Check(what, "holds", f"{calls}; {', '.join(loading)} when it is loaded" if loading else calls)


def _of_code(way: Reached | None) -> list[Check]:
    looked_at = {
        "no call of what is outside it": "outside",
        "no lock and no atomic write": "locks",
        "no system call": "system",
        "no branch on the comparison of floating-point numbers": "branches",
    }
    if way is None:
        missing = "nothing here can disassemble it; install binutils, or llvm, for its architecture"
        return [Check(what, "not checked", missing) for what in looked_at]
    fine = f"none in the {way.instructions} instructions of the {way.functions} functions that a call reaches"
    return [
        Check(what, "fails" if (found := getattr(way, name)) else "holds", _shown(found) if found else fine)
        for what, name in looked_at.items()
    ]


def _of_calls(
    counted: Mapping[str, Counted], invokes: Mapping[str, str], why: str, functions: Sequence[Function]
) -> list[Check]:
    checks = []
    for level, invoke in invokes.items():
        what = f"the same instructions in every call at {level}"
        found = counted.get(level)
        if found is None:
            reason = why or "this processor cannot run it; its code was disassembled"
            checks.append(Check(what, "not checked", reason, level))
        elif found.others:
            entry = next((function for function in functions if function.name == invoke), None)
            words = f"{found.others} of {found.inputs} inputs went another way than the first"
            checks.append(Check(what, "fails", words + _where(entry, found.left_at, functions), level))
        else:
            words = (
                f"{found.instructions} in each of {found.inputs} calls, zeros, infinity, NaN and denormals "
            )
            checks.append(Check(what, "holds", words + "among their inputs", level))
    return checks


def _where(entry: Function | None, left_at: int | None, functions: Sequence[Function]) -> str:
    """The place in the library where a call left the first one's way, if it is known."""
    function = None if entry is None or left_at is None else function_at(functions, entry.start + left_at)
    if entry is None or left_at is None or function is None:
        return ""
    return f", from {function.name}+0x{entry.start + left_at - function.start:x} on"


def _shown(places: Sequence[str]) -> str:
    more = len(places) - SHOWN
    return ", ".join(places[:SHOWN]) + (f" and {more} more" if more > 0 else "")
