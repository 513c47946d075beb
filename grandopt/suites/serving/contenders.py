"""The ways of serving that stand beside the engine."""

from __future__ import annotations

from dataclasses import dataclass

ENGINE = "grandopt engine"
EAGER, SCRIPT, THREADS = "eager", "torchscript", "eager in threads"
BATCHED, RAY, RAY_FAST = "batched", "ray", "ray, throughput"
RAY_TWO, RAY_TWO_FAST = "ray, 2 replicas", "ray, throughput, 2 replicas"
ON_RAY, ON_RAY_ALONE = "grandopt on ray", "grandopt on ray, a handle alone"
SIMPLE_EAGER, SIMPLE_SCRIPT = "simple batcher, eager", "simple batcher, torchscript"


@dataclass(frozen=True)
class Rival:
    """One way of serving. `environment` names the packages it needs (see `config.external_engines`); of its
    settings each is tried for `trials` times the usual time. It is measured in so many `rounds`, in all of
    them without."""

    name: str
    environment: str | None = None
    trials: float = 1.0
    rounds: int | None = None


GATE_RIVALS = (
    Rival(EAGER),
    Rival(SCRIPT),
    Rival(THREADS),
    Rival(SIMPLE_EAGER),
    Rival(SIMPLE_SCRIPT),
    Rival(BATCHED, "batched"),
    Rival(RAY, "ray", trials=4.0),
    Rival(RAY_FAST, "ray", trials=4.0),
)
"""Beside the decision gate."""
TACTICAL_RIVALS = (Rival(EAGER), Rival(SCRIPT), Rival(SIMPLE_EAGER))
"""Beside the tactical embedder, whose one call takes a batch's time."""
