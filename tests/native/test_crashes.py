"""Candidates that really crash: their own verdict says so, and the next one's is right.

The compiler is real, but adds a line to the generated C that raises a signal or writes beside an output.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from grandopt.artifacts.store import Store
from grandopt.compiler.backends.float64 import reference
from grandopt.compiler.build import Candidate, original
from grandopt.compiler.capture.export import capture
from grandopt.compiler.checkpoints.module.memory import from_module
from grandopt.config.engines import EagerOptions, NativeOptions
from grandopt.config.profiles import PROFILES
from grandopt.errors import EngineError
from grandopt.measurement.process.forked import apart
from grandopt.runtime.loader import load
from grandopt.verification.inputs import cases
from grandopt.verification.oracle import Oracle
from grandopt.workflows.building.built import BuildInputs, build_and_verify, question_digest
from grandopt.workflows.building.pool import BuildPool
from grandopt.workflows.building.request import BuildResult, Deadline
from grandopt.workflows.building.worker import write_transfer
from tests.native.conftest import LEVELS

SEGFAULT = "raise(SIGSEGV), 1"
ABORT = "abort(), 1"
OVERFLOW = "memset((char *)y[0] + batch * 3 * 4, 0x11, 64), 1"
"""Beside the only output, [batch, 3] of float32: a store of a wrong width."""

COMPILER = """\
#!/bin/bash
# gcc, which sees a condition in every loop of the function that is called.
for word in "$@"; do
    case "$word" in agent.*.c)
        sed -i 's/while (batch > 0) {{/while (({crash}) \\&\\& batch > 0) {{/' "$word"
        exec gcc -include signal.h -include stdlib.h "$@";;
    esac
done
exec gcc "$@"
"""

CRASHING = Candidate("float32", NativeOptions(levels=(LEVELS[0],)))
NEXT = Candidate("float32", EagerOptions())


_MEANT: list[bool] = []
"""Not empty while crashes are meant: a forked child inherits pytest's handler, which prints where it was."""
os.register_at_fork(after_in_child=lambda: faulthandler.disable() if _MEANT else None)


@pytest.fixture(autouse=True)
def _silent() -> Iterator[None]:
    _MEANT.append(True)
    yield
    _MEANT.clear()


def broken_compiler(monkeypatch: pytest.MonkeyPatch, folder: Path, crash: str) -> None:
    path = folder / "cc"
    path.write_text(COMPILER.format(crash=crash))
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("CC", str(path))


def build_inputs(store: Store) -> BuildInputs:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(5, 16), nn.ReLU(), nn.Linear(16, 3)).eval()
    program = capture(from_module("agent", network, (torch.zeros(2, 5),)), 0)
    first = load(original(program, store).path, trust=True)
    oracle = Oracle.prepare(reference(program), first, cases(program.signature), program.contract)
    candidates = {candidate.label: candidate for candidate in (CRASHING, NEXT)}
    return BuildInputs(program, oracle, candidates, PROFILES["standard"].limits, question_digest(oracle))


@pytest.mark.parametrize(("crash", "name"), [(SEGFAULT, "SIGSEGV"), (ABORT, "SIGABRT")])
def test_a_candidate_that_crashes_when_called_has_failed_with_the_signal(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, crash: str, name: str
) -> None:
    broken_compiler(monkeypatch, tmp_path, crash)
    store = Store(tmp_path / "store")
    agent = build_inputs(store)
    failed = build_and_verify(agent, CRASHING, store, 1)
    assert (failed.status, failed.verification) == ("failed", None)
    assert name in str(failed.reason)
    assert build_and_verify(agent, NEXT, store, 1).status == "verified"


def test_a_store_beside_an_output_is_found_before_it_does_harm(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken_compiler(monkeypatch, tmp_path, OVERFLOW)
    store = Store(tmp_path / "store")
    refused = build_and_verify(build_inputs(store), CRASHING, store, 1)
    assert refused.status == "refused"
    assert "writes beyond its output" in str(refused.reason)


@pytest.mark.slow
def test_in_build_processes_the_next_candidates_verdict_is_right(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken_compiler(monkeypatch, tmp_path, SEGFAULT)
    store = Store(tmp_path / "store")
    write_transfer(build_inputs(store), tmp_path)
    variants = [(candidate.label, 1) for candidate in (CRASHING, NEXT)]
    until = time.monotonic() + 600
    with BuildPool(1) as builders:
        found = builders.build(tmp_path, variants, store, Deadline(until, until), lambda running, done: None)
    by_label: dict[str, BuildResult] = {result.variant[0]: result for result in found}
    assert by_label[CRASHING.label].status == "failed"
    assert "SIGSEGV" in str(by_label[CRASHING.label].reason)
    assert by_label[NEXT.label].status == "verified"


def test_a_crash_after_the_answer_counts_too() -> None:
    class Late:
        def __del__(self) -> None:
            os.kill(os.getpid(), signal.SIGSEGV)

    def work() -> dict[str, object]:
        cycle: list[object] = [Late()]
        cycle.append(cycle)  # found by the collector alone, when the answer was given
        return {"status": "fine"}

    with pytest.raises(EngineError, match="crashed when it was called: its process ended with SIGSEGV"):
        apart(work)


def test_what_a_process_of_its_own_answers_is_the_answer() -> None:
    assert apart(lambda: {"pid": os.getpid()})["pid"] != os.getpid()
    with pytest.raises(EngineError, match="no such agent"):
        apart(_refuses)


def _refuses() -> dict[str, object]:
    raise EngineError("no such agent")
