"""Records hold what was measured, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from grandopt.config.engine import PRECISIONS
from grandopt.config.profiles import PROFILES
from grandopt.config.schema import AgentConfig
from grandopt.errors import CheckpointError
from grandopt.measurement.cold import ColdStart
from grandopt.reason import Reason, ReasonCode
from grandopt.workflows import records
from tests.workflows.fakes import MACHINE, SCRIPT, WORK, built, measurement

BASIC = PROFILES["basic"]
CONFIG = AgentConfig(checkpoint=Path("agent.zip"))


def test_figures_are_those_of_the_measurement() -> None:
    taken = measurement(original=50, other=20)
    found = records.figures(taken, "other")
    summary = taken.summary("other")
    assert (found.p50_us, found.p99_us, found.qps) == (summary.p50_us, summary.p99_us, summary.qps)
    assert found.p50_us == pytest.approx(20, rel=0.01)
    assert found.p999_us is None
    assert "6636" in found.unavailable["p999_us"]
    assert (found.load_ms, found.resident_mb, found.limit_us, found.limit_factor) == (None,) * 4


def test_the_distance_to_the_machines_limit_is_that_of_the_precision() -> None:
    cold = ColdStart(load_ms=5.0, first_call_ms=1.0, process_ms=900.0, resident_mb=250.0, artifact_bytes=4096)
    limit = WORK.limit(MACHINE, "bfloat16")
    found = records.figures(measurement(original=50), "original", cold=cold, limit=limit)
    assert found.limit_us == pytest.approx(0.11)  # 1000 bytes at 100 GB/s and 1000 at 10
    assert found.limit_factor == pytest.approx(found.p50_us / 0.11)
    assert found.limit is not None
    assert (found.limit.bound, found.limit.precision, found.limit.cache) == ("reading", "bfloat16", "memory")
    assert found.below_limit is False
    assert (found.load_ms, found.resident_mb, found.artifact_bytes) == (5.0, 250.0, 4096)


def test_a_median_below_the_limit_is_marked() -> None:
    found = records.figures(measurement(original=0.3), "original", limit=WORK.limit(MACHINE, "float32"))
    assert found.limit_us == pytest.approx(0.31)
    assert found.below_limit is True


def test_an_agents_record_has_the_limit_at_each_precision() -> None:
    assert [(item.precision, item.threads) for item in WORK.limits(MACHINE)] == [
        (precision, 1) for precision in PRECISIONS if precision != "mixed"
    ]


def test_targets_are_the_agents_own_before_the_profiles() -> None:
    cold = ColdStart(load_ms=5.0, first_call_ms=1.0, process_ms=900.0, resident_mb=250.0, artifact_bytes=4096)
    shipped = records.figures(measurement(original=2000), "original", cold=cold)  # 2 ms, 500 calls a second
    own = CONFIG.model_copy(update={"target_latency_ms": 1.0})
    assert records.targets(CONFIG, BASIC, shipped).met is True
    missed = records.targets(own, BASIC, shipped)
    assert (missed.latency_ms, missed.throughput, missed.met) == (1.0, BASIC.target_throughput, False)
    (line,) = missed.misses
    assert line.endswith(", wanted 1.00 ms")
    assert records.targets(own, BASIC, None).met is None
    greedy = records.targets(CONFIG, BASIC, shipped.model_copy(update={"resident_mb": 600.0}))
    assert greedy.met is False
    assert "wanted at most 500 MB" in greedy.misses[0]


def test_failed_and_not_run_have_their_reasons() -> None:
    error = CheckpointError("agent.zip: no such file")
    failed = records.failed("agent", error, bad_input=True, config=CONFIG, profile=BASIC)
    assert (failed.status, failed.reason, failed.error_kind) == ("failed", str(error), "input")
    other = records.failed("agent", error, bad_input=False, config=CONFIG, profile=BASIC)
    assert other.error_kind == "other"
    waiting = records.not_run("agent", config=CONFIG, profile=BASIC)
    assert (waiting.status, waiting.error_kind) == ("not run", None)
    assert (failed.reason_code, waiting.reason_code) == (ReasonCode.BAD_INPUT, ReasonCode.STOPPED)
    assert waiting.targets.latency_ms == BASIC.target_latency_ms


def test_a_candidate_that_was_never_built_has_no_verification() -> None:
    missing = Reason(ReasonCode.ENGINE_MISSING, "not installed", "pip install it")
    row = records.candidate(built(SCRIPT, "unavailable"), status="unavailable", reason=missing)
    assert (row.reason, row.reason_code, row.remedy) == ("not installed", "engine_missing", "pip install it")
    assert (row.label, row.engine, row.precision) == ("torchscript/float32", "torchscript", "float32")
    assert (row.verification, row.figures, row.threads) == (None, None, 1)
