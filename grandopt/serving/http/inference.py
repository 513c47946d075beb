"""What the HTTP server asks of the data plane for inference."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Protocol

from grandopt.serving.protocol.messages import InferRequest, InferResponse


class Plane(Protocol):
    """Answers inference at once or later; raises ProtocolError only."""

    def infer(self, request: InferRequest) -> InferResponse | Awaitable[InferResponse]: ...
