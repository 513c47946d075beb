"""Reports for tests, built from the real models. The figures are examples and were never measured."""

from __future__ import annotations

from typing import Any

from grandopt.reason import ReasonCode
from grandopt.reporting.report import (
    AgentReport,
    CandidateReport,
    Figures,
    LoadCurveReport,
    LoadPointReport,
    RatioReport,
    RefusalReport,
    Report,
    Shipped,
    SourceReport,
    TargetsReport,
)

BRANCHING = RefusalReport(
    stage="export", reason="a branch depends on the data", reason_code=ReasonCode.DATA_DEPENDENT
)


def figures(p50_us: float = 50.0, **changes: Any) -> Figures:
    """Figures with every percentile but p99.9, for which there were too few samples."""
    values: dict[str, Any] = {
        "p50_us": p50_us,
        "p90_us": p50_us * 1.1,
        "p95_us": p50_us * 1.2,
        "p99_us": p50_us * 1.6,
        "unavailable": {"p999_us": "needs 6636 samples, has 4096"},
        "mean_us": p50_us * 1.05,
        "qps": 1e6 / p50_us,
        "samples": 4096,
        "stable": True,
        "resident_mb": 251.25,
        "artifact_bytes": 86_016,
    }
    return Figures(**(values | changes))


def speedup(value: float = 2.0, *, width: float = 0.2) -> RatioReport:
    return RatioReport(value=value, low=value - width / 2, high=value + width / 2, pairs=300)


def shipped(p50_us: float = 25.0, **changes: Any) -> Shipped:
    values: dict[str, Any] = {
        "engine": "torchscript",
        "precision": "int8_dynamic",
        "label": "torchscript/int8_dynamic",
        "options": {"freeze": True},
        "artifact": "artifacts/agent",
        "digest": "0" * 64,
        "figures": figures(p50_us),
    }
    return Shipped(**(values | changes))


def verification(error: float | None, limit: float = 0.02) -> dict[str, Any]:
    """What `Verification.to_json` gives for one output."""
    output = {"name": "action", "norm": "relative_l2", "error": error, "limit": limit, "yardstick": 1e-7}
    return {
        "passed": error is not None and error <= limit,
        "reason": None,
        "reason_code": None,
        "remedy": None,
        "precision": "int8_dynamic",
        "outputs": [output | {"case": "draw 0"}],
        "agreement": 0.9975,
        "agreement_samples": 400,
        "cases": 23,
        "steps": 0,
        "boundary_probes": 0,
        "worst_case": "draw 0",
        "reference_precision": "float64",
        "skipped": [],
    }


def tuning(*, importance: dict[str, float] | None = None, score: float = 25.0) -> dict[str, Any]:
    """What `TuningResult.to_json` gives for three trials."""
    states = (("pruned", 90.0, None), ("complete", score, None), ("infeasible", None, "refused"))
    return {
        "goal": "latency",
        "stopped_by": "exhausted",
        "reused": 1,
        "best": 1,
        "importance": importance,
        "trials": [
            {
                "number": number,
                "choice": {"candidate": "torchscript/float32", "threads": 1, "batch": 1},
                "state": state,
                "score": score,
                "figures": None,
                "reason": reason,
                "reason_code": None if reason is None else "error_too_large",
                "remedy": None,
                "seconds": 0.5,
            }
            for number, (state, score, reason) in enumerate(states)
        ],
    }


def candidates() -> tuple[CandidateReport, ...]:
    common: dict[str, Any] = {"engine": "torchscript", "precision": "float32", "threads": 1}
    return (
        CandidateReport(
            label="torchscript/int8_dynamic",
            status="chosen",
            figures=figures(25.0),
            speedup=speedup(),
            verification=verification(1e-3),
            **(common | {"precision": "int8_dynamic"}),
        ),
        CandidateReport(
            label="torchscript/float32",
            status="slower",
            reason_code=ReasonCode.SLOWER,
            figures=figures(60.0),
            speedup=speedup(0.83),
            **common,
        ),
        CandidateReport(
            label="torchscript/bfloat16",
            status="refused",
            reason="relative L2 error 0.031 exceeds 0.02",
            reason_code=ReasonCode.ERROR_TOO_LARGE,
            verification=verification(0.031),
            **(common | {"precision": "bfloat16"}),
        ),
    )


def load_point(rate: float, p99_us: float | None, **changes: Any) -> LoadPointReport:
    """A run of which every request was answered."""
    values: dict[str, Any] = {
        "rate": rate, "callers": None, "offered": rate, "achieved": rate, "goodput": 0.99 * rate,
        "requests": int(rate), "answered": int(rate), "overloaded": 0, "deadline": 0, "failed": 0, "lost": 0,
        "p50_us": 20.0, "p90_us": 30.0, "p95_us": 40.0, "p99_us": p99_us, "p999_us": None,
        "unavailable": {"p999_us": "needs 6636 samples, has 900"}
        | ({} if p99_us is not None else {"p99_us": "needs 662 samples, has 100"}),
        "lateness_p50_us": 3.0, "lateness_p99_us": 9.0, "kept_up": True, "sustained": True, "errors": {},
    }  # fmt: skip
    return LoadPointReport(**(values | changes))


def load_curve(label: str = "engine, aggressive", scale: float = 1.0, **changes: Any) -> LoadCurveReport:
    """A curve up to saturation and beyond."""
    over = {"achieved": 100_000 * scale, "goodput": 40_000.0, "kept_up": False, "sustained": False}
    refused = {"requests": 150_000, "answered": 100_000, "overloaded": 49_000, "lost": 1000}
    values: dict[str, Any] = {
        "label": label,
        "arrivals": "poisson",
        "seconds": 1.0,
        "warmup_s": 0.2,
        "deadline_ms": 1.0,
        "saturation": 100_000 * scale,
        "above": 103_000 * scale,
        "criterion": "at most 1 % had no answer",
        "points": (
            load_point(100 * scale, None),
            load_point(10_000 * scale, 50.0),
            load_point(100_000 * scale, 400.0),
            load_point(150_000 * scale, 90_000.0, **over, **refused),
        ),
    }
    return LoadCurveReport(**(values | changes))


def optimized(name: str = "decision_gate", **changes: Any) -> AgentReport:
    values: dict[str, Any] = {
        "name": name,
        "status": "optimized",
        "source": SourceReport(format="reference", weights="seeded"),
        "parameters": 12_066,
        "weight_bytes": 48_264,
        "flop": 23_000,
        "signature": {"inputs": [{"name": "state", "shape": (152,), "low": float("-inf")}], "outputs": []},
        "contract": {"action": "none"},
        "targets": TargetsReport(latency_ms=1.0, throughput=1000, met=True),
        "original": figures(50.0),
        "shipped": shipped(),
        "speedup": speedup(),
        "candidates": candidates(),
        "refusals": (BRANCHING,),
        "verification_reference": "float64",
        "tuning": tuning(),
        "stages": {"capture": 0.4, "measure": 3.2},
    }
    return AgentReport(**(values | changes))


def kept(name: str = "lvn_embedder", **changes: Any) -> AgentReport:
    values: dict[str, Any] = {
        "name": name,
        "status": "original kept",
        "reason": "nothing was faster",
        "reason_code": ReasonCode.NOTHING_FASTER,
        "original": figures(12.5),
        "shipped": shipped(12.5, engine="eager", precision="float32", label="original"),
    }
    return AgentReport(**(values | changes))


def failed(name: str = "fvg", **changes: Any) -> AgentReport:
    values: dict[str, Any] = {
        "name": name,
        "status": "failed",
        "reason": "models/fvg.pth: no such file",
        "reason_code": ReasonCode.BAD_INPUT,
        "error_kind": "input",
    }
    return AgentReport(**(values | changes))


def report(*agents: AgentReport, **changes: Any) -> Report:
    values: dict[str, Any] = {
        "kind": "optimize",
        "status": "complete",
        "command": ("grandopt", "optimize"),
        "started": "2026-01-02T03:04:05Z",
        "finished": "2026-01-02T03:05:05.250Z",
        "duration_s": 60.25,
        "grandopt": "0.1.0",
        "environment": {"cpu_model": "a CPU", "available_cores": 2},
        "profile": {"name": "aggressive", "trials": 40},
        "seed": 0,
        "threads": 1,
        "agents": agents or (optimized(), kept(), failed()),
    }
    return Report(**(values | changes))
