"""Agents behind a data plane, without artifacts where none are needed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np

from grandopt.runtime.engine.engine import Engine
from grandopt.runtime.engine.version import given
from grandopt.runtime.executors.base import Executor
from grandopt.serving.plane.plane import DataPlane
from grandopt.serving.protocol.datatypes import datatype_of
from grandopt.serving.protocol.messages import InferRequest, InferResponse, InputTensor
from grandopt.serving.repository.repository import Repository
from grandopt.serving.repository.served import Served
from grandopt.signature import Array


def serve(repository: Repository, name: str, executor: Executor, version: str = "1", **changes: Any) -> None:
    """Serve an executor in memory as if it had been loaded from the repository's folder."""
    engine = repository._engine
    made = given(executor)
    engine.add(name, made, **changes)
    repository.served[name] = Served(name, version, made.origin.digest, "fake", made, engine.served(name))
    for watcher in repository.watchers:
        watcher(name)


@asynccontextmanager
async def plane_of(
    folder: Path, profile: str = "aggressive", regions: Any = None, **agents: Executor
) -> AsyncIterator[DataPlane]:
    """A data plane that serves these agents."""
    engine = Engine()
    await engine.initialize(profile, monitoring=False, adaptation=False, memory=False)
    repository = Repository(folder, engine, mode="explicit")
    await repository.start()
    plane = DataPlane(engine, repository, regions)
    for name, executor in agents.items():
        serve(repository, name, executor)
    try:
        yield plane
    finally:
        await repository.stop()
        await engine.shutdown()


def tensor(name: str, array: Array) -> InputTensor:
    """An array as an input."""
    return InputTensor(name, datatype_of(array.dtype.name), array.shape, array)


def asking(model: str, *outputs: Any, **inputs: Array) -> InferRequest:
    """A request of these inputs."""
    tensors = tuple(tensor(name, np.asarray(array)) for name, array in inputs.items())
    return InferRequest(model, "", "", {}, tensors, tuple(outputs))


async def answered(plane: DataPlane, request: InferRequest) -> InferResponse:
    """The response, at once or later."""
    response = plane.infer(request)
    return response if isinstance(response, InferResponse) else await response
