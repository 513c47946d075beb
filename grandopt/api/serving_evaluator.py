"""An evaluator of configurations that measures the real engine with a real artifact."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from grandopt.artifacts.artifact import read
from grandopt.config.names import DEFAULT_PROFILE, ProfileName
from grandopt.errors import ConfigError
from grandopt.runtime.loader import load as load_artifact
from grandopt.tuning.configuration.condition import Value
from grandopt.tuning.configuration.figures import ServingFigures
from grandopt.tuning.configuration.serving import SERVING
from grandopt.verification.samples import load_samples
from grandopt.workflows.serving_trial.measure import serve
from grandopt.workflows.serving_trial.task import ServingLoad as ServingLoad
from grandopt.workflows.serving_trial.task import ServingTask


class ServingEvaluator:
    """Measures configurations of the serving engine; made by `serving_evaluator`."""

    parameters = ("batching", "batch_limit", "queue_items", "workers", "concurrency", "memory")
    """What it can tell the effect of, and `optimize_configuration` therefore varies."""

    def __init__(self, task: dict[str, Any], load: ServingLoad) -> None:
        self._task = task
        self._load = load

    def __call__(self, configuration: dict[str, Value]) -> ServingFigures:
        """Serve the artifact under the configuration in a fresh process, and put the load on it."""
        complete = SERVING.complete(configuration)
        if complete["cache"]:
            raise ConfigError(
                "what a cache saves depends on how often observations come again, which these do not tell; "
                "leave 'cache' off here, and see `grandopt benchmark --suite cache`"
            )
        return serve(ServingTask(configuration=complete, load=self._load, **self._task))


def serving_evaluator(
    path: Path | str,
    load: ServingLoad | None = None,
    *,
    profile: ProfileName = DEFAULT_PROFILE,
    samples: Path | str | None = None,
    trust: bool = False,
    threads: int | None = None,
) -> ServingEvaluator:
    """An evaluator for `ConfigurationManager.optimize_configuration` that serves the artifact at `path`.

    ::

        evaluator = serving_evaluator("artifacts/gate", ServingLoad(callers=64))
        found = grandopt.ConfigurationManager().optimize_configuration(evaluator, "throughput")

    Each configuration is measured in a fresh process, with the parts of `profile` but those that change
    settings by themselves. Observations are the recorded ones in `samples` (.npz), else seeded draws, at
    least 256 different ones. Figures: `latency_p50_us`, `latency_p99_us`, `throughput`, `memory_mb` (resident
    set of the process once every caller was answered some times), the share that was `refused`, and `goodput`
    where the load has a deadline. Run it on a machine that does nothing else.

    Raises what `grandopt.load` does for the artifact, and SamplesError, at once.
    """
    target = Path(path)
    load_artifact(target, trust=trust, threads=threads).close()
    if samples is not None:
        load_samples(Path(samples), read(target).manifest.parsed_signature())
    task = {
        "artifact": str(target.absolute()),
        "profile": profile,
        "samples": None if samples is None else str(Path(samples).absolute()),
        "trust": trust,
        "threads": threads,
    }
    return ServingEvaluator(task, load or ServingLoad())
