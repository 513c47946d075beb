"""A run in an empty folder, and a small agent for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
import torch

from grandopt.compiler.checkpoints.module.memory import from_module
from grandopt.config.load import Overrides, resolve
from grandopt.config.schema import AgentConfig, FileConfig
from grandopt.workflows.events import Event
from grandopt.workflows.job import Run, running
from grandopt.workflows.open_agents import OpenedAgent
from tests.small_agents import EXAMPLES, Policy

MakeRun = Callable[[list[Event]], AbstractContextManager[Run]]


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """Starts a run over the same folder each time; its events go into the list."""

    @contextmanager
    def make(events: list[Event]) -> Iterator[Run]:
        config = AgentConfig(checkpoint=Path("policy"))
        wanted = Overrides(engines=("torchscript",), precisions=("float32",), output=tmp_path)
        job = resolve(FileConfig(), {"policy": config}, wanted)
        with running(job, tmp_path / "store", events.append) as run:
            yield run

    return make


def opened(kind: type[torch.nn.Module] = Policy) -> OpenedAgent:
    """The agent, its weights the same at each call."""
    with torch.random.fork_rng():
        torch.manual_seed(7)
        module = kind()
    checkpoint = from_module("policy", module, EXAMPLES[Policy])
    return OpenedAgent("policy", AgentConfig(checkpoint=Path("policy")), checkpoint)
