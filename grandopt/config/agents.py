"""The built-in reference agents by name, with their targets; the networks are in `compiler/networks`.

The figures are those of the design's section 5. They stand here, below any import of torch, because the
command line lists and checks these names before it does anything else.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ReferenceTargets:
    """What a reference agent should reach: median latency in ms of one observation, and calls per second."""

    latency_ms: float
    throughput: float


REFERENCE_AGENTS: dict[str, ReferenceTargets] = {
    "tactical_system": ReferenceTargets(latency_ms=1.0, throughput=1000),
    "strategic_system": ReferenceTargets(latency_ms=5.0, throughput=500),
    "shared_policy": ReferenceTargets(latency_ms=2.0, throughput=800),
    "decision_gate": ReferenceTargets(latency_ms=1.0, throughput=1000),
    "structure_embedder": ReferenceTargets(latency_ms=3.0, throughput=600),
    "tactical_embedder": ReferenceTargets(latency_ms=2.0, throughput=700),
    "regime_embedder": ReferenceTargets(latency_ms=1.0, throughput=1000),
    "lvn_embedder": ReferenceTargets(latency_ms=0.5, throughput=1500),
}

YARDSTICKS = ("null", "nature_cnn")
"""Built-in networks that only a benchmark measures, when it is asked for them by name: one that copies its 8
inputs, to see what engines spend on themselves, and the convolutional network of deep Q-learning."""
