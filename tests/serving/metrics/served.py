"""A data plane that has answered requests, and refused some."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np

from grandopt.runtime.engine.engine import Engine
from grandopt.serving.plane.plane import DataPlane
from grandopt.serving.protocol.errors import ProtocolError
from grandopt.serving.repository.repository import Repository
from tests.fakes import FakeExecutor
from tests.runtime.engine.agents import LINE, line
from tests.serving.agents import answered, asking, serve


def run(body: Callable[[DataPlane], Awaitable[Any]], **changes: Any) -> Any:
    """`body` beside the agents "gate" and "broken": the first answered 100 requests, and was asked 3 times
    for what it does not have; the second raised twice."""

    async def main(folder: Path) -> Any:
        engine = Engine()
        await engine.initialize("standard", **changes)
        async with engine:
            repository = Repository(folder, engine, mode="explicit")
            await repository.start()
            plane = DataPlane(engine, repository)
            serve(repository, "gate", line())
            serve(repository, "broken", FakeExecutor(LINE, _fails_later()))
            await _ask(plane)
            return await body(plane)

    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(main(Path(folder)))


def _fails_later() -> Callable[[Any], Any]:
    """Answers zeros and NaN alone, as what measures it asks, and raises for numbers."""

    def answer(inputs: Any) -> Any:
        if (inputs[0] == 7).any():
            raise ValueError("broken on purpose")
        return (inputs[0],)

    return answer


async def _ask(plane: DataPlane) -> None:
    for number in range(100):
        await answered(plane, asking("gate", x=np.full((1, 4), number, np.float32)))
    sevens = np.full((1, 4), 7, np.float32)
    for refused in [asking("broken", x=sevens)] * 2 + [asking("gate", other=sevens)] * 3:
        try:
            await answered(plane, refused)
        except ProtocolError:
            continue
