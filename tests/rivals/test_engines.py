"""LiteRT and MNN with models of our own writing, in environments of their own (GRANDOPT_RIVAL names them)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch

from grandopt.compiler.backends.portable.translate import translate
from grandopt.config.external_engines import LIBRARIES
from grandopt.measurement.interpreter import Interpreter, interpreter
from grandopt.measurement.process.remote import RemoteExecutor
from grandopt.measurement.process.worker_process import WorkerProcess
from grandopt.measurement.subject import Subject
from grandopt.signature import Contract, Signature, TensorSpec
from grandopt.workflows.benchmark.graph_engines import WORKER
from grandopt.workflows.benchmark.graph_worker import WriteModels
from tests.rivals.environments import python
from tests.rivals.networks import NETWORKS, exported

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=["litert", "mnn"])
def environment(request: pytest.FixtureRequest) -> Iterator[tuple[str, Interpreter]]:
    with interpreter(python(request.param), LIBRARIES[request.param]) as found:
        yield request.param, found


@pytest.mark.parametrize("name", NETWORKS)
def test_a_model_answers_like_the_network(
    name: str, environment: tuple[str, Interpreter], tmp_path: Path
) -> None:
    engine, there = environment
    network, shapes = NETWORKS[name]()
    translate(exported(network, shapes)).save(tmp_path / "graph.npz")
    with torch.no_grad():
        example = network(*(torch.zeros((1, *shape)) for shape in shapes))
    outputs = example if isinstance(example, tuple) else (example,)
    signature = Signature(
        tuple(TensorSpec(f"in{place}", shape) for place, shape in enumerate(shapes)),
        tuple(TensorSpec(f"out{place}", tuple(value.shape[1:])) for place, value in enumerate(outputs)),
    )
    folder = tmp_path / "models"
    request = WriteModels(engine, "float32", tmp_path / "graph.npz", signature.to_json(), (1, 4), folder)
    with closing(WorkerProcess(1, WORKER, there)) as worker:
        assert worker.ask(request, 100.0).refusal is None
    subject = Subject(engine, folder, loader=f"grandopt.runtime.executors.{engine}:load", interpreter=there)
    with closing(RemoteExecutor(subject, signature, Contract(), threads=1, timeout_s=100.0)) as executor:
        for batch in (1, 4, 3):  # a model each for two of them, and rows
            generator = torch.Generator().manual_seed(batch)
            inputs = [torch.randn((batch, *shape), generator=generator) for shape in shapes]
            with torch.no_grad():
                wanted = network(*inputs)
            found = executor.run([value.numpy() for value in inputs])
            for one, other in zip(found, wanted if isinstance(wanted, tuple) else (wanted,), strict=True):
                np.testing.assert_allclose(one, other.numpy(), rtol=1e-4, atol=1e-5)
