"""What `grandopt benchmark --suite memory` shows."""

from __future__ import annotations

import json

import pytest

from grandopt.cli.commands.benchmarks import memory as command
from grandopt.cli.console import Terminal
from grandopt.runtime.memory.break_even import SizeTime, decide
from grandopt.suites import memory
from grandopt.suites.memory import Arm, MemoryBenchmark, PoolRow, Tail, TailSetup
from tests.cli.conftest import Grandopt, assert_one_error_line


def arm(name: str, tail: float) -> Arm:
    percentiles = {"50": 2e-5, "90": 2.5e-5, "99": 1e-4, "99.9": tail}
    return Arm(name, 60_000, percentiles, 0.123456, (700, 10, 10), 9999, 1.2345, 9999, 1.2345, 123)


@pytest.fixture
def result() -> MemoryBenchmark:
    times = [SizeTime(1 << power, 30e6, 123e5) for power in range(14, 27, 2)]
    slow = [SizeTime(1 << power, 30e6, 30e6) for power in range(14, 23, 2)]
    pools = [
        PoolRow(kind, live, decide(times if live == 4 else slow, live))
        for kind in ("array", "buffer", "tensor")
        for live in (1, 4)
    ]
    defaults, collector = arm("Python's defaults", 1e-3), arm("collector", 2e-4)
    tail = Tail(
        "tactical_embedder",
        2e-5,
        "generational",
        323_456,
        21,
        TailSetup(),
        defaults,
        collector,
        5.0,
        (4.9, 5.1),
    )
    return MemoryBenchmark(tuple(pools), tail)


def test_it_fits_eighty_columns(
    result: MemoryBenchmark, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(memory, "benchmark_memory", lambda *_, **__: result)
    command.benchmark_memory([], Terminal(), trust=False, seed=None)
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    for part in ("64 MiB", "never", "16 KiB", "1000.0", "200.0", "323456 tracked objects"):
        assert part in text
    assert "p99.9: 5.0 times lower with the collector (each pair: 4.9, 5.1)" in text
    assert "…" not in text
    command.benchmark_memory([], Terminal(as_json=True), trust=False, seed=None)
    document = json.loads(capsys.readouterr().out)
    assert document["tail"]["ratio"] == 5.0
    assert document["pools"][1]["break_even"]["pays_from"] == 1 << 14


def test_bad_input_is_one_error(grandopt: Grandopt) -> None:
    two = grandopt("benchmark", "--suite", "memory", "a", "b")
    assert two.returncode == 2
    assert_one_error_line(two)
    assert "name one artifact or none" in two.stderr
