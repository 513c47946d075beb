"""Whether every node of a cluster can serve artifacts, found out before anything is deployed."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from grandopt.distributed.ray.carried import CarriedArtifact
from grandopt.distributed.ray.versions import Versions, versions
from grandopt.errors import ConfigError, GrandoptError, first_line
from grandopt.runtime.loader import load

LIMIT_S = 120.0


def check_nodes(artifacts: Sequence[CarriedArtifact], *, trust: bool = False) -> int:
    """Let every live node place and load the artifacts; returns how many nodes there are.

    Raises ConfigError, which names the node and says what to do, for the first that cannot: it has no
    grandopt or another version, it does not see a path, or an artifact does not fit it.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    task = ray.remote(num_cpus=0, max_retries=0)(complaint)
    given = ray.put(list(artifacts))
    nodes = [node for node in ray.nodes() if node["Alive"]]
    asked = []
    for node in nodes:
        there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        asked.append(task.options(scheduling_strategy=there).remote(given, versions(), trust))
    for node, answer in zip(nodes, asked, strict=True):
        where = f"node {node['NodeManagerAddress']} of the cluster"
        said = _asked(answer, where)
        if said:
            raise ConfigError(f"{where}: {said}")
    return len(nodes)


def complaint(artifacts: Sequence[CarriedArtifact], drivers: Versions, trust: bool) -> str:
    """Why this machine cannot serve the artifacts; empty where it can."""
    try:
        drivers.check(versions(), "it")
        with tempfile.TemporaryDirectory(prefix="grandopt-check-") as folder:
            for artifact in artifacts:
                load(artifact.placed(Path(folder)), trust=trust).close()
    except GrandoptError as error:
        return str(error)
    return ""


def _asked(answer: Any, where: str) -> str:
    import ray
    from ray import exceptions

    try:
        said: str = ray.get(answer, timeout=LIMIT_S)
    except exceptions.GetTimeoutError as error:
        raise ConfigError(f"{where} did not answer within {LIMIT_S:g} s; is it reachable?") from error
    except exceptions.RayTaskError as error:
        cause = error.cause
        if isinstance(cause, ImportError) or "No module named 'grandopt" in str(error):
            return f"it has no grandopt ({first_line(cause)}): install the same version there"
        return f"it cannot serve them: {first_line(cause)}"
    except exceptions.RayError as error:
        return f"it cannot be asked: {first_line(error)}"
    return said
