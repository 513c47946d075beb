"""The program that lowers for ExecuTorch: `python -m grandopt.workflows.benchmark.executorch_worker`.

`external_engines` starts it, in ExecuTorch's environment.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grandopt.errors import MeasurementError, first_line
from grandopt.measurement.wire.codec import Asked, Request
from grandopt.measurement.worker.pipe import serve
from grandopt.signature import Signature


@dataclass(frozen=True)
class LoweredProgram:
    """The `note` says why the batch is not dynamic; None where it is."""

    note: str | None


@dataclass(frozen=True)
class LowerProgram(Request[LoweredProgram], kind="lower"):
    """Lower the exported `program` into `folder`; `signature` is in its JSON form."""

    program: Path
    signature: dict[str, Any]
    folder: Path


def answer(asked: Asked) -> LoweredProgram:
    """Lower one program."""
    request = asked.read(LowerProgram)
    try:
        from grandopt.compiler.backends import executorch

        signature = Signature.from_json(request.signature)
        return LoweredProgram(executorch.lower(request.program, signature, request.folder))
    except ImportError as error:
        raise MeasurementError(f"ExecuTorch cannot be imported there: {first_line(error)}") from error


if __name__ == "__main__":
    serve(answer)
