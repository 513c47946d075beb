"""The Ray cluster: connecting to it, and what runs there."""

from __future__ import annotations

import importlib.util
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from grandopt.errors import ConfigError, first_line

INSTALL = "pip install 'grandopt[ray]'"
REACHED_S = 5.0
DEFAULT_PORT = 6379
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_SERVE_LOG_TO_STDERR": "0"}


def require_ray() -> None:
    """Raise ConfigError unless Ray Serve is installed."""
    if importlib.util.find_spec("ray") is None:
        raise ConfigError(f"this needs ray, which is not installed: {INSTALL}")


@contextmanager
def connected(address: str | None) -> Iterator[str]:
    """The cluster at `address` (HOST[:PORT]; None for the one that this machine is of) while the block lasts.

    Gives its address. A program that is connected already stays so, and to the same cluster. Raises
    ConfigError, which names the host, for a cluster that is not there or of another version.
    """
    require_ray()
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    import ray

    if ray.is_initialized():
        yield str(ray.get_runtime_context().gcs_address)
        return
    _connect(ray, address)
    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    try:
        yield str(ray.get_runtime_context().gcs_address)
    finally:
        ray.shutdown()


def _connect(ray: Any, address: str | None) -> None:
    if address is not None:
        address = _reached(address)
    where = address or "this machine"
    try:
        ray.init(address or "auto", log_to_driver=False, logging_level=logging.ERROR, configure_logging=False)
    except ConnectionError as error:
        if address is not None:  # something listens there
            raise ConfigError(
                f"what listens at {where} does not let this process in: if it is a Ray cluster with tokens, "
                f"as `ray start` makes, set RAY_AUTH_MODE=token and give its token as RAY_AUTH_TOKEN or in "
                f"~/.ray/auth_token; else start one with `ray start --head`"
            ) from error
        raise ConfigError(
            f"no Ray cluster runs at {where}: start one there with `ray start --head`, or name another with "
            f"--address HOST:PORT"
        ) from error
    except (RuntimeError, ValueError, OSError) as error:
        said = " ".join(str(error).split())
        if "ersion mismatch" in said:
            raise ConfigError(
                f"the cluster at {where} and this process have different versions: {said:.300}; install the "
                f"same on both sides"
            ) from error
        raise ConfigError(f"the Ray cluster at {where} cannot be used: {first_line(error)}") from error


def _reached(address: str) -> str:
    """HOST:PORT, at which something listens; Ray itself would try for a minute."""
    host, _, port = address.rpartition(":") if ":" in address else (address, "", str(DEFAULT_PORT))
    if not host or "/" in address or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ConfigError(f"--address is HOST:PORT, such as 10.0.0.1:{DEFAULT_PORT}, got {address!r:.100}")
    try:
        socket.create_connection((host, int(port)), REACHED_S).close()
    except OSError as error:
        raise ConfigError(
            f"no Ray cluster at {host}:{port}: {error.strerror or first_line(error)}; start one there with "
            f"`ray start --head --port {port}`, or name another with --address"
        ) from error
    return f"{host}:{port}"


def handle_of(application: str) -> Any:
    """The handle of a running application; raises ConfigError where there is none of that name."""
    require_ray()
    from ray import serve
    from ray.serve.exceptions import RayServeException

    try:
        return serve.get_app_handle(application)
    except RayServeException as error:
        names = ", ".join(serve.status().applications) or "none"
        raise ConfigError(
            f"no application {application!r} runs on this cluster; there are: {names}"
        ) from error


def replicas_of(application: str) -> int:
    """How many replicas of an application's ingress answer at present."""
    from ray import serve

    found = serve.status().applications.get(application)
    if found is None:
        return 0
    return max((one.replica_states.get("RUNNING", 0) for one in found.deployments.values()), default=0)
