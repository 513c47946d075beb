"""The program that writes models of LiteRT and MNN: `python -m grandopt.workflows.benchmark.graph_worker`.

`graph_engines` starts it, in the engine's environment.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from grandopt.compiler.backends.portable.graph import Graph
from grandopt.errors import BuildError, EngineError, MeasurementError, first_line
from grandopt.measurement.wire.codec import Asked, Request
from grandopt.measurement.worker.pipe import serve
from grandopt.runtime.executors.prepared import SIGNATURE, PreparedExecutor
from grandopt.signature import Array, Signature

WRITING_ERRORS = (RuntimeError, ValueError, TypeError, LookupError, AttributeError, OverflowError, OSError)


@dataclass(frozen=True)
class WrittenModels:
    """`refusal` says why there are none; None where they were written."""

    refusal: str | None


@dataclass(frozen=True)
class WriteModels(Request[WrittenModels], kind="write models"):
    """Write the `graph` as models of an engine, one for each of `batches`, into the new `folder`.

    `signature` is in its JSON form.
    """

    engine: str
    precision: str
    graph: Path
    signature: dict[str, Any]
    batches: tuple[int, ...]
    folder: Path


def answer(asked: Asked) -> WrittenModels:
    """Write the models of one engine and precision."""
    request = asked.read(WriteModels)
    request.folder.mkdir()
    (request.folder / SIGNATURE).write_text(json.dumps(request.signature), encoding="utf-8")
    graph = Graph.load(request.graph)
    try:
        match request.engine:
            case "litert":
                return _litert(request, graph)
            case _:
                return _mnn(request, graph)
    except ImportError as error:
        raise MeasurementError(f"{request.engine} cannot be imported there: {first_line(error)}") from error
    except EngineError as error:
        return WrittenModels(f"{error}")
    except WRITING_ERRORS as error:
        raise BuildError(f"{request.engine} failed: {first_line(error)}") from error


def _litert(request: WriteModels, graph: Graph) -> WrittenModels:
    from grandopt.compiler.backends import litert
    from grandopt.runtime.executors.litert import SUFFIX

    if request.precision != "float32" and not litert.quantizes(graph):
        few = f"no weight has {litert.QUANTIZED_FROM} numbers or more, LiteRT's own limit for int8"
        return WrittenModels(few)
    for batch in request.batches:
        content = litert.write(graph, batch, request.precision)
        (request.folder / f"{batch}{SUFFIX}").write_bytes(content)
    return WrittenModels(None)


def _mnn(request: WriteModels, graph: Graph) -> WrittenModels:
    from grandopt.compiler.backends import mnn
    from grandopt.runtime.executors.mnn import FASTER, SUFFIX, load

    for batch in request.batches:
        mnn.write(graph, batch, request.folder / f"{batch}{SUFFIX}")
    if request.precision == "float32":
        return WrittenModels(None)
    signature = Signature.from_json(request.signature)
    before = _answers(load(request.folder), signature)
    (request.folder / FASTER).touch()
    if all(map(np.array_equal, before, _answers(load(request.folder), signature))):
        return WrittenModels("asked for low precision, MNN computes the same float32 on this CPU")
    return WrittenModels(None)


def _answers(executor: PreparedExecutor, signature: Signature) -> tuple[Array, ...]:
    generator = np.random.default_rng(0)
    return executor.run([generator.random((1, *spec.shape)).astype(spec.dtype) for spec in signature.inputs])


if __name__ == "__main__":
    serve(answer)
