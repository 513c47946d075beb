"""This machine's limit: measured once, kept, and by numpy's BLAS where nothing can be compiled."""

from __future__ import annotations

from pathlib import Path

import pytest

from grandopt.artifacts.store import Store
from grandopt.measurement.limit import MachineLimit
from grandopt.reporting.figures import LimitReport
from grandopt.workflows import machine_limit as module
from grandopt.workflows.events import Event
from grandopt.workflows.machine_limit import limit_of_run, machine_limit, tell_below_limit
from tests.reporting.samples import figures, optimized, shipped
from tests.workflows.conftest import MakeRun

SLACK = 1.25
"""Two figures of one run may differ by so much where they are the same: the machine is shared."""


def _no_call(*_: object) -> MachineLimit:
    raise AssertionError("it was to come from the store")


def test_it_is_measured_once_with_speeds_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "crowded", lambda own: False)
    store, said = Store(tmp_path), []
    found = machine_limit(store, said.append)
    assert said == []
    assert found.source == "kernels"
    assert {peak.precision for peak in found.peaks} == {"float32", "bfloat16", "int8"}
    assert all(peak.gop_s > 0 for peak in found.peaks)
    reading = [cache.gb_s for cache in found.caches]
    assert reading == sorted(reading, reverse=True)
    assert reading[0] > SLACK * reading[-1] > 0
    assert found.peak("int8").gop_s >= found.peak("float32").gop_s
    monkeypatch.setattr(module, "kernel_limit", _no_call)
    assert machine_limit(store, said.append) == found


@pytest.mark.parametrize("factor", [0.9, 1.1])
def test_a_limit_that_was_shown_to_be_wrong_is_measured_anew(
    factor: float, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = MachineLimit((), ())
    monkeypatch.setattr(module, "crowded", lambda own: False)
    monkeypatch.setattr(module, "kernel_limit", lambda libraries: made)
    with make_run([]) as run:
        assert limit_of_run(run) is made
        at = figures(factor, limit_us=1.0, limit_factor=factor, limit=_limit(1.0), below_limit=factor < 1)
        tell_below_limit(run, optimized(shipped=shipped(figures=at)))
        assert (limit_of_run(run) is made) == (factor < 1)
        assert limit_of_run(run) == made


def test_what_a_crowded_machine_reached_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = MachineLimit((), ())
    monkeypatch.setattr(module, "kernel_limit", lambda libraries: made)
    monkeypatch.setattr(module, "crowded", lambda own: True)
    store = Store(tmp_path)
    assert machine_limit(store, lambda line: None) is made
    monkeypatch.setattr(module, "kernel_limit", _no_call)
    with pytest.raises(AssertionError, match="from the store"):
        machine_limit(store, lambda line: None)


@pytest.mark.parametrize("cause", ["compiler", "levels"])
def test_where_nothing_can_be_compiled_it_says_so(
    cause: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if cause == "compiler":
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.delenv("CC", raising=False)
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    else:
        monkeypatch.setattr(module, "cpu_features", frozenset)
    made = MachineLimit((), (), "float32 BLAS")
    monkeypatch.setattr(module, "blas_limit", lambda: made)
    said: list[str] = []
    assert machine_limit(Store(tmp_path / "store"), said.append) is made
    (line,) = said
    assert "float32 BLAS" in line
    assert ("no C compiler found" if cause == "compiler" else "none of the feature levels") in line


def _limit(us: float) -> LimitReport:
    return LimitReport(
        us=us,
        bound="reading",
        precision="bfloat16",
        instructions="x86-64-v3",
        cache="L2",
        speed=99.0,
        threads=1,
        source="kernels",
    )


def test_what_is_below_the_limit_is_told_as_a_warning(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[Event] = []
    monkeypatch.setattr(module, "machine_limit", lambda store, tell: tell("no compiler"))
    below = figures(1.0, limit_us=1.25, limit_factor=0.8, limit=_limit(1.25), below_limit=True)
    with make_run(events) as run:
        tell_below_limit(run, optimized())
        assert events == []
        tell_below_limit(run, optimized(shipped=shipped(label="native/bfloat16", figures=below)))
        limit_of_run(run)
    assert [event.level for event in events] == ["warning", "warning"]
    assert events[0].message == (
        "native/bfloat16: p50 1.00 µs is below the machine's limit of 1.25 µs (bfloat16 weights from as "
        "far as L2 at 99 GB/s, x86-64-v3): a fault of the limit"
    )
