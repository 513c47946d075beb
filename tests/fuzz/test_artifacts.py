"""Changed artifacts are refused or right: no signal, no hang, no exception of another kind."""

from __future__ import annotations

import importlib.util
import json
import select
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from grandopt.artifacts.store import Store
from grandopt.compiler.build import Candidate, build
from grandopt.config.engines import (
    EagerOptions,
    EngineOptions,
    InductorOptions,
    OnnxRuntimeOptions,
    OpenVinoOptions,
    TorchScriptOptions,
)
from grandopt.errors import EngineUnavailableError
from tests.fuzz.mutants import Mutant, mutant
from tests.native.conftest import BEST
from tests.small_agents import Pair, Policy, Recurrent, draw, expected, program

ROOT = Path(__file__).resolve().parents[2]
HANG = 120.0
"""Seconds without a word, on a machine that is busy with other things."""

Bases = dict[str, Path]


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> Bases:
    """Artifacts of several engines, each beside the cases that it is called with."""
    return _built(tmp_path_factory.mktemp("bases"), fast=True)


@pytest.fixture(scope="module")
def all_bases(tmp_path_factory: pytest.TempPathFactory) -> Bases:
    return _built(tmp_path_factory.mktemp("all"), fast=False)


def _built(root: Path, *, fast: bool) -> Bases:
    store = Store(root / "store")
    wanted: list[tuple[str, Any, EngineOptions]] = [
        ("native", Policy, BEST),
        ("native_pair", Pair, BEST),
        ("eager", Policy, EagerOptions()),
        ("torchscript", Policy, TorchScriptOptions()),
    ]
    if not fast:
        wanted += [
            ("native_recurrent", Recurrent, BEST),
            ("inductor", Policy, InductorOptions()),
            ("eager_pair", Pair, EagerOptions()),
        ]
        if importlib.util.find_spec("onnxruntime"):
            wanted.append(("onnxruntime", Policy, OnnxRuntimeOptions()))
        if importlib.util.find_spec("openvino"):
            wanted.append(("openvino", Policy, OpenVinoOptions()))
    made: Bases = {}
    for name, network, options in wanted:
        of = program(network)
        try:
            artifact = build(of, Candidate("float32", options), store)
        except EngineUnavailableError:
            continue
        inputs = draw(of, 1)
        cases: dict[str, Any] = {f"in{i}": array for i, array in enumerate(inputs)}
        cases |= {f"out{i}": array for i, array in enumerate(expected(of, inputs))}
        made[name] = artifact.path
        np.savez(_cases(artifact.path), **cases)
    return made


def _cases(base: Path) -> Path:
    return base.with_name(f"{base.name}-cases.npz")


def _faults(bases: Bases, numbers: range, folder: Path) -> tuple[list[str], Counter[str]]:
    """One line per mutant that did what none may do, and how many did what.

    Each death and each hang is its own mutant's: those after it are opened in a new process.
    """
    mutants = {number: mutant(number, bases, folder) for number in numbers}
    faults: list[str] = []
    seen: Counter[str] = Counter()
    while mutants:
        for said in _opened(mutants, bases, folder):
            one = mutants.pop(said["number"])
            shutil.rmtree(one.folder, ignore_errors=True)
            seen[said["found"]] += 1
            faults += _judged(one, said)
    return faults, seen


def _opened(mutants: dict[int, Mutant], bases: Bases, folder: Path) -> Iterator[dict[str, Any]]:
    """What a child says of the mutants, until it ends."""
    jobs, complaints = folder / "jobs", folder / "stderr"
    jobs.write_text(
        "".join(
            json.dumps({"number": number, "folder": str(one.folder), "cases": str(_cases(bases[one.base]))})
            + "\n"
            for number, one in mutants.items()
        )
    )
    begun = next(iter(mutants))
    with (
        complaints.open("w") as stderr,
        subprocess.Popen(
            [sys.executable, "-m", "tests.fuzz.opener", str(jobs)],
            stdout=subprocess.PIPE, stderr=stderr, text=True, cwd=ROOT,
        ) as child,
    ):  # fmt: skip
        assert child.stdout is not None
        while True:
            ready, _, _ = select.select([child.stdout], [], [], HANG)
            line = child.stdout.readline() if ready else ""
            said = json.loads(line) if line else {}
            if "begun" in said:
                begun = said["begun"]
            elif said:
                yield said
            elif ready and child.wait() == 0:
                return
            else:
                child.kill()
                how = f"ended the process with {child.wait()}" if ready else "hangs"
                found = f"{how}: {complaints.read_text()[-800:]}"
                yield {"number": begun, "found": found, "seconds": 0, "kb": 0}
                return


def _judged(of: Mutant, said: dict[str, Any]) -> list[str]:
    # Who computes the digest anew can say that the agent computes something else, but nothing worse.
    allowed = {"refused", "right", *(["other"] if of.sealed else [])}
    if said["found"] not in allowed:
        return [f"{of}: {said['found']}"]
    if said["seconds"] > 10 or said["kb"] > 500_000:
        return [f"{of}: took {said['seconds']:.1f} s of the processor and {said['kb'] // 1000} MB"]
    return []


def test_a_changed_artifact_is_refused_or_right(bases: Bases, tmp_path: Path) -> None:
    faults, seen = _faults(bases, range(80), tmp_path)
    assert not faults, "\n".join(faults)
    assert seen["refused"] > 40


@pytest.mark.slow
def test_a_thousand_changed_artifacts_are_refused_or_right(all_bases: Bases, tmp_path: Path) -> None:
    faults, seen = _faults(all_bases, range(1000, 2000), tmp_path)
    assert not faults, f"{len(faults)} of {seen}\n" + "\n".join(faults)
    assert seen["refused"] > 500
    assert seen["right"] > 10
