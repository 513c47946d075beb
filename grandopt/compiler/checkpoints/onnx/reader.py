"""ONNX files, as exporters of PyTorch, JAX and TensorFlow, and game engines, write them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from grandopt import limits
from grandopt.compiler.checkpoints import files, weights
from grandopt.compiler.checkpoints.base import Checkpoint
from grandopt.compiler.checkpoints.exported.program import runnable
from grandopt.compiler.checkpoints.exported.quietly import EXPORT_ERRORS
from grandopt.compiler.checkpoints.onnx import contract, document, independent, stated
from grandopt.compiler.checkpoints.onnx.batching import batched
from grandopt.compiler.checkpoints.onnx.call import OperatorError
from grandopt.compiler.checkpoints.onnx.document import Dim, ValueInfo
from grandopt.compiler.checkpoints.onnx.network import OnnxNetwork
from grandopt.compiler.checkpoints.onnx.plan import Plan, plan
from grandopt.compiler.checkpoints.onnx.readings import Input, readings, said
from grandopt.compiler.checkpoints.onnx.tensors import Constants, dtype
from grandopt.compiler.checkpoints.settings import drawn, refuse, require_bounded
from grandopt.compiler.checkpoints.vetting.first_call import first_call
from grandopt.config.schema import AgentConfig
from grandopt.errors import CheckpointError, SignatureError, named_line
from grandopt.signature import TensorSpec

FORMAT = "onnx"


@dataclass(frozen=True)
class _File:
    path: Path
    content: bytes
    model: document.Model

    def plan(self, outputs: tuple[str, ...] = ()) -> tuple[Plan, Constants]:
        constants = Constants(self.path, len(self.content))
        return plan(self.model, constants, outputs), constants


def load(name: str, agent: AgentConfig) -> Checkpoint:
    """The graph with its inputs and outputs by the names that the file has for them, and a dynamic batch.

    `inputs` says sizes that the file leaves open, `outputs` which of its outputs are kept, `state` which
    inputs are recurrent state; without the last two, what a file of grandopt says of its agent counts. Raises
    CheckpointError for a damaged file, operators and dtypes that are not computed here, a batch that is built
    in and cannot be undone, NaN, and settings that do not apply.
    """
    path = files.checkpoint_path(agent)
    refuse(agent, path, "an ONNX file", ("key", "network", "network_args"), "which brings its own network")
    refuse(agent, path, "an ONNX file", ("stepwise",), "which is one step already, or whole sequences")
    refuse(agent, path, "an ONNX file", ("vecnormalize",), "statistics belong to an SB3 zip")
    file = _open(path)
    try:
        return _loaded(name, agent, file)
    except (OperatorError, SignatureError) as error:
        text = str(error)
        raise CheckpointError(text if text.startswith(str(path)) else f"{path}: {text}") from error


def _loaded(name: str, agent: AgentConfig, file: _File) -> Checkpoint:
    path = file.path
    graph = file.model.graph
    chosen = contract.chosen_outputs(graph.outputs, agent)
    made, constants = file.plan(chosen)
    inputs = _inputs(made, agent, path)
    dtypes = [
        str(dtype(info.kind, f"{path}: input {info.name!r}")).removeprefix("torch.") for info in made.inputs
    ]
    require_bounded(_own_specs(inputs, dtypes), str(path))

    def network(unrolled: bool) -> OnnxNetwork:
        return OnnxNetwork(made, constants.again(), unrolled=unrolled)

    own = network(False).eval()
    weights.require_finite(own.named_parameters(), str(path))
    weights.require_numbers(own.named_buffers(), str(path))
    kept = [place for place, info in enumerate(made.outputs) if not own.is_constant(place)]
    if not kept:
        raise CheckpointError(f"{path}: no output depends on an input")
    _try(own, inputs, dtypes, path, trust=agent.trust)
    options = readings(inputs, [made.outputs[place].shape for place in kept], str(path))
    found = batched(network, inputs, dtypes, options, kept, path)
    names = tuple(made.outputs[place].name for place in kept)
    infos = {info.name: info for info in made.outputs}
    said = None
    if not agent.state and not agent.outputs:
        said = stated.told(file.model.metadata, [info.name for info in made.inputs], names, str(path))
    state = () if said is not None else contract.states(made.inputs, names, agent, infos, path)
    checked = independent.checked(path, made, own, _values(inputs, dtypes), chosen)
    return Checkpoint(
        name=name,
        module=runnable(found.program),
        inputs=found.specs if said is None else said.completed(found.specs, str(path)),
        source=weights.source(path, FORMAT, **_details(file, found.reading.words(), names, checked)),
        contract=contract.contract(names, state) if said is None else said.contract,
        output_names=names,
        output_roles=contract.roles(names)
        if said is None
        else tuple(spec.role for spec in said.signature.outputs),
        exported=found.program,
    )


def describe(path: Path) -> dict[str, Any]:
    """Who wrote the file, what it takes and gives, its operators, metadata and tensors."""
    file = _open(path)
    graph = file.model.graph
    constants = Constants(path, len(file.content))
    tensors = {item.name: constants.tensor(item) for item in graph.constants}
    return {
        "format": FORMAT,
        "producer": file.model.producer,
        "opset": dict(file.model.opsets),
        "inputs": [_described(info) for info in graph.inputs if info.name not in tensors],
        "outputs": [_described(info) for info in graph.outputs],
        "operators": dict(sorted(Counter(node.op for node in graph.nodes).items())),
        "metadata": dict(file.model.metadata),
        **weights.listed(tensors),
    }


def _open(path: Path) -> _File:
    content = files.content(path)
    return _File(path, content, document.model(content, str(path)))


def _described(info: ValueInfo) -> dict[str, Any]:
    kind = None if info.kind is None else str(dtype(info.kind, info.name)).removeprefix("torch.")
    return {"name": info.name, "shape": None if info.shape is None else list(info.shape), "dtype": kind}


def _inputs(made: Plan, agent: AgentConfig, path: Path) -> list[Input]:
    """The inputs with what the configuration says of them; raises CheckpointError for names that are none."""
    if not made.inputs:
        raise CheckpointError(f"{path}: the graph takes no inputs")
    configured = {item.name: item for item in agent.inputs}
    strange = [name for name in configured if name not in {info.name for info in made.inputs}]
    if strange:
        names = ", ".join(info.name for info in made.inputs)
        raise CheckpointError(f"{path}: 'inputs' names {strange[0]!r}, which is none; the file takes {names}")
    found = []
    for info in made.inputs:
        if info.kind is None:
            raise CheckpointError(f"{path}: input {info.name!r} is no dense tensor")
        config, state = configured.get(info.name), agent.state.get(info.name)
        if info.shape is None and config is None:
            raise CheckpointError(
                f"{path}: the file does not say the shape of input {info.name!r}; add "
                f"`inputs: [{{name: {info.name}, shape: [...]}}]` without the batch dimension"
            )
        shape: tuple[Dim, ...] = (None, *config.shape) if info.shape is None and config else info.shape or ()
        axis = state.batch_axis if state is not None and state.batch_axis else None
        found.append(
            said(
                {name: item.shape for name, item in configured.items()},
                Input(info.name, shape, axis),
                str(path),
            )
        )
    return found


def _own_specs(inputs: list[Input], dtypes: list[str]) -> list[TensorSpec]:
    """The inputs in the shapes that the file has, a dynamic batch being 1."""
    return [
        TensorSpec(item.name, tuple(size if isinstance(size, int) else 1 for size in item.shape), kind)
        for item, kind in zip(inputs, dtypes, strict=True)
    ]


def _values(inputs: list[Input], dtypes: list[str]) -> list[torch.Tensor]:
    """One drawn value of each input in the shape that the file has."""
    return [value[0] for value in drawn(_own_specs(inputs, dtypes), 1, seed=2)]


def _try(network: OnnxNetwork, inputs: list[Input], dtypes: list[str], path: Path, *, trust: bool) -> None:
    """Follow the graph once without numbers, for the sizes between its nodes, and once with them."""
    values = _values(inputs, dtypes)
    try:
        with FakeTensorMode(allow_non_fake_inputs=True) as fake, torch.no_grad():
            network(*(fake.from_tensor(value) for value in values))
        first_call(lambda: network(*values), path, trust=trust)
    except OperatorError:
        raise
    except EXPORT_ERRORS as error:
        raise CheckpointError(f"{path}: the graph does not run on its inputs: {named_line(error)}") from error


def _details(file: _File, batch: str, names: tuple[str, ...], checked: str) -> dict[str, Any]:
    """What a report says about the file, JSON-able."""
    left_out = [info.name for info in file.model.graph.outputs if info.name not in names]
    said: dict[str, Any] = {"producer": file.model.producer, "opset": dict(file.model.opsets), "batch": batch}
    if left_out:
        said["left_out"] = f"outputs that are constant or not chosen ({', '.join(left_out)})"
    if file.model.metadata:
        said["metadata"] = {
            limits.shortened(Path(key)): limits.shortened(Path(value))
            for key, value in file.model.metadata.items()
        }
    return {**said, "compared_with": checked}
