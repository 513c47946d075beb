"""Artifacts that are computed in worker processes, and who computes what."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest

from grandopt.artifacts.store import Store
from grandopt.compiler.build import Candidate, build
from grandopt.config.engines import NativeOptions
from grandopt.errors import ArtifactError, ConfigError
from grandopt.reason import ReasonCode
from grandopt.runtime.engine.engine import Engine
from grandopt.runtime.loader import load, same_again
from tests.runtime.engine.agents import line
from tests.small_agents import Policy, draw, expected, program


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = Store(tmp_path_factory.mktemp("store"))
    return build(program(Policy), Candidate("float32", NativeOptions()), store).path


def test_an_artifact_is_computed_in_processes(folder: Path) -> None:
    async def main() -> None:
        async with Engine() as engine:
            engine.load(folder, "policy", workers="processes", concurrency=1)
            batch = draw(program(Policy), 20)
            answers = await asyncio.gather(*(engine.infer("policy", row) for row in batch[0]))
            np.testing.assert_allclose(np.stack(answers), expected(program(Policy), batch)[0], rtol=1e-5)
            await engine.replace("policy", folder)
            again = await engine.infer("policy", batch[0])
            np.testing.assert_array_equal(again, np.stack(answers))
            stats = engine.stats().agents["policy"]
            assert stats.batches is not None
            assert stats.batches.workers == "processes"
            assert stats.choice is not None
            assert stats.choice.reason.code is ReasonCode.SET_BY_HAND

    asyncio.run(main())


def test_a_small_artifact_is_computed_inline_and_says_why(folder: Path) -> None:
    async def main() -> None:
        async with Engine() as engine:
            engine.load(folder, "policy", workers="auto")
            choice = engine.stats().agents["policy"].choice
            assert choice is not None
            assert choice.kind == "inline"
            assert choice.evidence.call_ns is not None
            assert choice.evidence.thread_hop_ns is not None

    asyncio.run(main())


def test_an_agent_that_is_only_in_memory_cannot_be_made_elsewhere() -> None:
    async def main() -> None:
        async with Engine() as engine:
            with pytest.raises(ConfigError, match="only in this one's memory"):
                engine.add("line", line(), workers="processes")
            assert engine.agents == ()

    asyncio.run(main())


def test_a_worker_that_starts_later_refuses_another_build_in_the_place_of_the_first(folder: Path) -> None:
    first = load(folder)
    first.close()
    assert first.remake is not None
    first.remake().close()
    with pytest.raises(ArtifactError, match="another build"):
        same_again(folder, "the first one's", trust=False, threads=None)
