"""Make small trained agents as fast as the machine allows, and prove that they are still the same.

import grandopt

result = grandopt.optimize(model, example_input, name="gate")   # needs torch
policy = grandopt.load("artifacts/gate")                        # needs only what its engine needs
action = policy(observation)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from grandopt.errors import GrandoptError

if TYPE_CHECKING:
    from grandopt.api.cached import cached
    from grandopt.api.configuration import ConfigurationManager, OptimizationGoal
    from grandopt.api.optimize import Optimized, optimize
    from grandopt.api.performance_engine import IntegratedPerformanceEngine
    from grandopt.runtime.engine.engine import Engine
    from grandopt.runtime.loader import load

__all__ = [
    "ConfigurationManager",
    "Engine",
    "GrandoptError",
    "IntegratedPerformanceEngine",
    "OptimizationGoal",
    "Optimized",
    "cached",
    "load",
    "optimize",
]


def __getattr__(name: str) -> Any:
    # Imported on first use: an import of torch would cost a serving process a second and 200 MB.
    match name:
        case "load":
            from grandopt.runtime.loader import load

            return load
        case "cached":
            from grandopt.api.cached import cached

            return cached
        case "Engine":
            from grandopt.runtime.engine.engine import Engine

            return Engine
        case "IntegratedPerformanceEngine":
            from grandopt.api.performance_engine import IntegratedPerformanceEngine

            return IntegratedPerformanceEngine
        case "optimize" | "Optimized":
            from grandopt.api import optimize

            return getattr(optimize, name)
        case "ConfigurationManager" | "OptimizationGoal":
            from grandopt.api import configuration

            return getattr(configuration, name)
        case _:
            raise AttributeError(f"module 'grandopt' has no attribute {name!r}")
