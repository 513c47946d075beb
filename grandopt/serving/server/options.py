"""What a server serves, where, and how."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from grandopt.config.names import DEFAULT_PROFILE
from grandopt.errors import ConfigError
from grandopt.serving.http.limits import HttpLimits
from grandopt.serving.repository.repository import Mode

HTTP_PORT, GRPC_PORT, METRICS_PORT = 8000, 8001, 8002
"""Triton's."""
_PATHS = ("folder", "uds", "ring", "token_file", "tls_cert", "tls_key", "cache_file")


@dataclass(frozen=True)
class ServerOptions:
    """A port of None is not served, 0 is any that is free.

    `uds` and `ring` are paths of Unix sockets. `first` are the agents to load at the start in the mode
    "explicit". `grace_s` is how long requests under way may take after the signal to stop. Answers are kept
    as the section `cache` of `cache_file` says, without one they are not.
    """

    folder: Path
    host: str = "127.0.0.1"
    http_port: int | None = HTTP_PORT
    grpc_port: int | None = GRPC_PORT
    metrics_port: int | None = METRICS_PORT
    uds: Path | None = None
    ring: Path | None = None
    workers: int = 1
    profile: str = DEFAULT_PROFILE
    model_control: Mode = "none"
    first: tuple[str, ...] = ()
    token_file: Path | None = None
    token_for_all: bool = False
    tls_cert: Path | None = None
    tls_key: Path | None = None
    grace_s: float = 10.0
    client_shm: bool = False
    trust: bool = False
    cache_file: Path | None = None
    limits: HttpLimits = field(default_factory=HttpLimits)

    def __post_init__(self) -> None:
        for name in ("http_port", "grpc_port", "metrics_port"):
            port = getattr(self, name)
            if port is not None and not 0 <= port <= 65535:
                raise ConfigError(f"--{name.replace('_', '-')} must be 0 to 65535, got {port}")
        ports = [port for port in (self.http_port, self.grpc_port, self.metrics_port) if port]
        if len(set(ports)) < len(ports):
            raise ConfigError(f"the ports of HTTP, gRPC and metrics must differ, got {ports}")
        if self.http_port is None and self.grpc_port is None and self.uds is None and self.ring is None:
            raise ConfigError("nothing would be served: leave HTTP or gRPC on, or give --uds or --ring")
        if not 1 <= self.workers <= 256:
            raise ConfigError(f"--workers must be 1 to 256, got {self.workers}")
        if not 0 <= self.grace_s < math.inf:
            raise ConfigError(f"--grace must be 0 or more seconds, got {self.grace_s}")
        if self.token_for_all and self.token_file is None:
            raise ConfigError("--token-for-all needs a token: name its file with --token-file")
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ConfigError("TLS needs both --tls-cert and --tls-key")
        if self.client_shm and self.workers > 1:
            raise ConfigError(
                f"--allow-client-shm takes one process, and --workers is {self.workers}: a region is "
                "registered with one of them, and requests go to all; leave one of the two out"
            )
        if self.uds is not None and self.uds == self.ring:
            raise ConfigError(f"--uds and --ring are sockets of their own, got {self.uds} for both")
        if self.first and self.model_control != "explicit":
            raise ConfigError("--load names what is loaded at the start with --model-control explicit")

    def to_json(self) -> str:
        """For a worker process, which reads it with `from_json`."""
        data = asdict(self)
        return json.dumps(data | {name: None if data[name] is None else str(data[name]) for name in _PATHS})

    @classmethod
    def from_json(cls, text: str) -> ServerOptions:
        data: dict[str, Any] = json.loads(text)
        paths = {name: None if data[name] is None else Path(data[name]) for name in _PATHS}
        limits = HttpLimits(**data.pop("limits"))
        return cls(**data | paths | {"first": tuple(data["first"]), "limits": limits})
