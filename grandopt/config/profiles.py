"""The four named profiles, basic to maximum.

The limits of reduced precision are ours: a relative L2 error of 1 % keeps softmax outputs within the
spread of two training seeds, and each step up in aggressiveness buys speed with a stated, verified loss.
"""

from __future__ import annotations

from grandopt.config.engine import PRECISIONS
from grandopt.config.engines import ENGINE_CLASSES, ENGINES
from grandopt.config.names import ProfileName
from grandopt.config.schema import Limits, Profile

PROFILES: dict[ProfileName, Profile] = {
    "basic": Profile(
        name="basic",
        engines=tuple(name for name in ENGINES if ENGINE_CLASSES[name].quick),
        precisions=("float32",),
        trials=0,
        budget_s=10,
        target_latency_ms=50,
        target_throughput=50,
        memory_limit_mb=500,
        limits=Limits(relative_l2=0.005, agreement=1.0),
    ),
    "standard": Profile(
        name="standard",
        engines=ENGINES,
        precisions=("float32", "int8_dynamic"),
        trials=20,
        budget_s=30,
        target_latency_ms=10,
        target_throughput=200,
        memory_limit_mb=1000,
        limits=Limits(relative_l2=0.01, agreement=0.999),
    ),
    "aggressive": Profile(
        name="aggressive",
        engines=ENGINES,
        precisions=("float32", "int8_dynamic", "bfloat16", "int8_static", "mixed"),
        trials=40,
        budget_s=60,
        target_latency_ms=5,
        target_throughput=500,
        memory_limit_mb=2000,
        limits=Limits(relative_l2=0.02, agreement=0.995),
    ),
    "maximum": Profile(
        name="maximum",
        engines=ENGINES,
        precisions=PRECISIONS,
        trials=200,
        budget_s=300,
        target_latency_ms=1,
        target_throughput=1000,
        memory_limit_mb=4000,
        limits=Limits(relative_l2=0.05, agreement=0.99),
    ),
}
