"""Artifacts as an application of Ray Serve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from grandopt.artifacts.signing.requirement import Requirement
from grandopt.config.names import DEFAULT_PROFILE
from grandopt.distributed.ray.carried import CarriedArtifact, all_carried
from grandopt.distributed.ray.cluster import require_ray
from grandopt.distributed.ray.scaling import P99_S, QUEUE, autoscaling
from grandopt.distributed.ray.versions import versions
from grandopt.errors import ConfigError
from grandopt.runtime.scheduling.pipelines.graph import GraphLike
from grandopt.runtime.scheduling.pipelines.stage import Source

Replicas = int | Literal["auto"]
AGENTS = "agents"
"""The deployment of an application that is no pipeline."""
MOST_AUTO = 16
"""Replicas that "auto" goes up to."""
ONGOING = 1024
"""Calls that a replica takes at once; how many rows wait is the engine's to say."""
ENVIRONMENT = {
    # The engine shares its replica's only busy thread: handing each call to another costs more than most
    # agents take.
    "RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD": "0",
}


def application(
    artifacts: Sequence[Path | str] | Path | str | Sequence[CarriedArtifact],
    *,
    replicas: Replicas = 1,
    most_replicas: int = MOST_AUTO,
    cpus: float = 1.0,
    profile: str = DEFAULT_PROFILE,
    pipeline: GraphLike | None = None,
    outputs: Mapping[str, Source] | None = None,
    queue: float = QUEUE,
    p99_s: float = P99_S,
    by_path: bool = False,
    trust: bool = False,
    require_signature: Requirement = None,
    route: str = "/",
) -> Any:
    """An application for `ray.serve.run`: replicas that serve all `artifacts`, or a `pipeline` over them.

    Each replica has an engine with `profile` and reserves `cpus` CPUs; it needs no library but those of the
    agents' engines. With `replicas="auto"` there are 1 to `most_replicas`, by the calls per replica (`queue`)
    and the p99 of calls (`p99_s`). Artifacts travel with the application, or are read `by_path`, which every
    node must see; either way a replica checks their digests.
    `trust` and `require_signature` as for `grandopt.load`: signatures are checked here, and what was checked
    travels. `route` is only kept, for whoever puts the application back.

    Without a pipeline the application's HTTP is the Open Inference Protocol. With one, each agent has a
    deployment with its own replicas, and the handle's `infer` takes what `Engine.create_model_pipeline`'s
    does. Raises ConfigError and ArtifactError.
    """
    require_ray()
    if replicas != "auto" and (isinstance(replicas, bool) or not 1 <= replicas <= 10_000):
        raise ConfigError(f"replicas must be a whole number from 1 on or 'auto', got {replicas!r}")
    if not cpus > 0:
        raise ConfigError(f"cpus must be more than 0, got {cpus!r}")
    found = _carried(artifacts, by_path, require_signature)
    number: dict[str, Any] = (
        {"autoscaling_config": autoscaling(most_replicas, queue=queue, p99_s=p99_s)}
        if replicas == "auto"
        else {"num_replicas": replicas}
    )
    arguments = (versions(), profile, trust)
    if pipeline is None:
        options = {
            **{"replicas": replicas, "most_replicas": most_replicas, "cpus": cpus, "profile": profile},
            **{"queue": queue, "p99_s": p99_s, "trust": trust, "route": route},
        }
        return _deployment(AGENTS, cpus, **number).bind(found, *arguments, options)
    handles = {one.name: _deployment(one.name, cpus, **number).bind([one], *arguments) for one in found}
    at_once = most_replicas if replicas == "auto" else replicas
    return _pipeline(cpus).bind(pipeline, outputs, versions(), at_once, **handles)


def _carried(artifacts: Any, by_path: bool, keys: Requirement) -> list[CarriedArtifact]:
    if not isinstance(artifacts, str | Path):
        ready = [one for one in artifacts if isinstance(one, CarriedArtifact)]
        if ready:
            return ready
    return all_carried(artifacts, by_path=by_path, require_signature=keys)


def _deployment(name: str, cpus: float, **number: Any) -> Any:
    from grandopt.distributed.ray.replica import AgentsReplica

    return _made(AgentsReplica, name, cpus, **number)


def _pipeline(cpus: float) -> Any:
    from grandopt.distributed.ray.pipelines import PipelineReplica

    return _made(PipelineReplica, "pipeline", cpus, num_replicas=1)


def _made(kind: type, name: str, cpus: float, **number: Any) -> Any:
    from ray import serve

    return serve.deployment(
        name=name,
        max_ongoing_requests=ONGOING,
        max_constructor_retry_count=2,
        health_check_period_s=1.0,
        health_check_timeout_s=5.0,
        graceful_shutdown_wait_loop_s=0.2,
        ray_actor_options={"num_cpus": cpus, "runtime_env": {"env_vars": ENVIRONMENT}},
        logging_config={"enable_access_log": False},
        **number,
    )(kind)
