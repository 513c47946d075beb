"""Deploying an application: all of it, or nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grandopt.artifacts.signing.requirement import Requirement
from grandopt.distributed.ray.applications import AGENTS, Replicas, application
from grandopt.distributed.ray.carried import CarriedArtifact, all_carried
from grandopt.distributed.ray.cluster import connected, replicas_of, require_ray
from grandopt.distributed.ray.preflight import check_nodes
from grandopt.errors import ConfigError, ServingError

LIMIT_S = 180.0
LOOK_S = 0.25
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Deployed:
    """What runs: `builds` are the digests of the agents, `address` is the cluster's."""

    application: str
    address: str
    nodes: int
    replicas: int
    builds: dict[str, str]
    url: str | None
    seconds: float


def deploy(
    artifacts: list[Path],
    *,
    name: str = "grandopt",
    address: str | None = None,
    replicas: Replicas = 1,
    host: str = "127.0.0.1",
    http_port: int | None = 8000,
    route: str = "/",
    by_path: bool = False,
    trust: bool = False,
    require_signature: Requirement = None,
    limit_s: float = LIMIT_S,
    tell: Tell = lambda text: None,
    **options: Any,
) -> Deployed:
    """Serve the artifacts on a cluster, in the place of what the application served before.

    Every node is asked first whether it can. Replicas are replaced one after the other: requests under way
    end with the old build, and each is answered by one build. What cannot be deployed within `limit_s`
    seconds leaves nothing behind, and what the application served before in its place. `options` are those
    of `application`, a pipeline aside. Raises ConfigError and ArtifactError for what cannot
    be, ServingError for what failed on the cluster.
    """
    began = time.monotonic()
    if not route.startswith("/"):
        raise ConfigError(f"the route must begin with /, got {route!r:.80}")
    require_ray()
    found = all_carried(artifacts, by_path=by_path, require_signature=require_signature)
    made = application(found, replicas=replicas, trust=trust, route=route, **options)
    with connected(address) as cluster:
        from ray import serve

        tell(f"cluster {cluster}: asking its nodes")
        nodes = check_nodes(found, trust=trust)
        location = "Disabled" if http_port is None else "EveryNode"
        serve.start(
            proxy_location=location,
            http_options={"host": host, "port": http_port or 0},
            logging_config={"log_level": "ERROR"},
        )
        before = _before(name)
        prefix = None if http_port is None else route
        try:
            _run(made, name, prefix, began + limit_s, tell)
        except BaseException:
            _undo(name, before, tell, http=http_port is not None)
            raise
        url = None if prefix is None else f"http://{host}:{http_port}{prefix.rstrip('/')}/v2"
        return Deployed(
            application=name,
            address=cluster,
            nodes=nodes,
            replicas=replicas_of(name),
            builds={one.name: one.digest for one in found},
            url=url,
            seconds=time.monotonic() - began,
        )


@dataclass(frozen=True)
class Before:
    """What an application served until now, and the options that it was deployed with."""

    artifacts: list[CarriedArtifact]
    options: dict[str, Any]


def _before(name: str) -> Before | None:
    """What is to be put back; None where nothing ran, or what runs is not of ours and has to go first."""
    from ray import serve
    from ray.exceptions import RayError

    status = serve.status().applications.get(name)
    if status is None or status.status != "RUNNING":
        return None
    if set(status.deployments) != {AGENTS}:
        raise ConfigError(
            f"an application {name!r} of another kind runs on the cluster; choose another --name, or end it "
            f"with `serve shutdown` first"
        )
    try:
        found = serve.get_app_handle(name).deployed.remote().result(timeout_s=30)
    except (RayError, TimeoutError) as error:
        raise ServingError(f"the application {name!r} does not answer; end it first") from error
    return Before(*found)


def _run(made: Any, name: str, prefix: str | None, until: float, tell: Tell) -> None:
    from ray import serve

    tell(f"application {name}: starting its replicas")
    target = serve.RunTarget(made, name=name, route_prefix=prefix)
    serve.run_many([target], wait_for_applications_running=False)
    said = ""
    while True:
        status = serve.status().applications.get(name)
        if status is not None and status.status == "RUNNING":
            return
        messages = [] if status is None else [one.message for one in status.deployments.values()]
        said = next((" ".join(text.split()) for text in messages if text), said)
        if status is not None and status.status in ("DEPLOY_FAILED", "UNHEALTHY"):
            raise ServingError(f"application {name!r} was not deployed: {said or status.message:.400}")
        if time.monotonic() > until:
            raise ServingError(
                f"application {name!r} was not ready in time, and is taken back: "
                f"{said or 'no reason is known'}; has the cluster enough free CPUs? (`ray status`)"
            )
        time.sleep(LOOK_S)


def _undo(name: str, before: Before | None, tell: Tell, *, http: bool) -> None:
    from ray import serve

    if before is None:
        tell(f"application {name}: taken back")
        serve.delete(name)
        return
    tell(f"application {name}: putting back what was served before")
    made = application(before.artifacts, **before.options)
    route = before.options["route"] if http else None
    serve.run_many([serve.RunTarget(made, name=name, route_prefix=route)])
