"""TorchScript archives: run as they are; capture makes an exported program of them where that holds."""

from __future__ import annotations

import io
import re
import warnings
from pathlib import Path
from typing import Any

import torch

from grandopt.compiler.checkpoints import dtypes, files, weights
from grandopt.compiler.checkpoints.base import Checkpoint
from grandopt.compiler.checkpoints.settings import (
    EXAMPLE_BATCH,
    configured_inputs,
    described,
    drawn,
    outputs_of,
    refuse,
)
from grandopt.compiler.checkpoints.stateful.recurrence import recurrent
from grandopt.compiler.checkpoints.torchscript import archive as torchscript_archive
from grandopt.compiler.checkpoints.torchscript import graph as torchscript_graph
from grandopt.compiler.checkpoints.vetting import tree
from grandopt.compiler.checkpoints.vetting.first_call import first_call
from grandopt.compiler.program import FORWARD_ERRORS
from grandopt.compiler.scripted.forward import (
    defaults,
    input_names,
    other_methods,
    require_answers_alone,
)
from grandopt.config.schema import AgentConfig
from grandopt.errors import CaptureError, CheckpointError, first_line
from grandopt.signature import TensorSpec

FORMAT = "torchscript"

OPENING_ERRORS = (RuntimeError, ValueError, OSError, IndexError, TypeError, MemoryError)
"""What torch.jit.load is seen to raise on damaged archives."""


ELSEWHERE = re.compile(r"Could not run '([\w:.]+)' with arguments from the 'CPU' backend")
"""What torch says of an operator without a kernel for the CPU, such as the fused cell of a GRU."""


def load(name: str, agent: AgentConfig) -> Checkpoint:
    """The archive as a ScriptModule in eval mode.

    Raises CheckpointError for a damaged archive, for one that keeps state or draws random numbers, for inputs
    that are not configured or do not fit, and for NaN. `source.details` names what of it is left out.
    """
    path = files.checkpoint_path(agent)
    fields = ("key", "network", "network_args")
    refuse(agent, path, "a TorchScript archive", fields, "which brings its own network")
    refuse(agent, path, "a TorchScript archive", ("vecnormalize",), "statistics belong to an SB3 zip")
    module = _open(path, trust=agent.trust, to_run=True)
    names = required(module, str(path), len(agent.inputs))
    weights.require_sane(module, str(path))
    frozen = constants(module)
    weights.require_numbers(frozen, str(path))

    def attempt(network: torch.nn.Module, inputs: tuple[TensorSpec, ...]) -> Checkpoint:
        return _tried(name, agent, path, network, module, inputs)

    tensors = (*module.parameters(), *module.buffers(), *(tensor for _, tensor in frozen))
    return dtypes.first_that_runs(
        module, tensors, lambda dtype: configured_inputs(agent, path, names, dtype), attempt
    )


def _tried(
    name: str,
    agent: AgentConfig,
    path: Path,
    network: torch.nn.Module,
    archive: torch.jit.ScriptModule,
    inputs: tuple[TensorSpec, ...],
) -> Checkpoint:
    """The checkpoint of the archive, or of `network` with it inside, after a trial call."""
    if not (agent.state or agent.outputs or agent.stepwise):  # else `recurrent` tries it, as it is declared
        _trial(network, inputs, path, trust=agent.trust)
    checkpoint = Checkpoint(
        name=name,
        module=_scripted(network, inputs),
        inputs=inputs,
        source=weights.source(path, FORMAT, **_left_out(archive, len(inputs))),
    )
    return recurrent(checkpoint, agent)


def _scripted(network: torch.nn.Module, inputs: tuple[TensorSpec, ...]) -> torch.jit.ScriptModule:
    """An archive as it is; one with another boundary around it as an archive again."""
    if isinstance(network, torch.jit.ScriptModule):
        return network
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        traced: torch.jit.ScriptModule = torch.jit.trace(
            network, drawn(inputs, EXAMPLE_BATCH, seed=0), check_trace=False
        )
    return traced.eval()


def required(module: torch.jit.ScriptModule, where: str, given: int = 0) -> tuple[str, ...]:
    """The names of the tensors that `forward` takes, optional ones up to `given`.

    Raises CheckpointError, `where` in front, for an archive that is no agent as it is (see
    `scripted.forward`).
    """
    try:
        names = input_names(module, given)
        require_answers_alone(module, len(names))
    except (CheckpointError, CaptureError) as error:
        raise CheckpointError(f"{where}: {error}") from error
    return names


def describe(path: Path, *, trust: bool = False) -> dict[str, Any]:
    """The inputs that the archive's `forward` names, its weights, and the constants frozen into its graph."""
    module = _open(path, trust=trust, to_run=False)
    return {
        "format": FORMAT,
        "inputs": list(_names(module, path)),
        **weights.listed({**module.state_dict(), **dict(constants(module))}),
    }


def _names(module: torch.jit.ScriptModule, path: Path) -> tuple[str, ...]:
    try:
        return input_names(module)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error


def _left_out(module: torch.jit.ScriptModule, given: int) -> dict[str, str]:
    """What the archive has beside the call that becomes the artifact, in words."""
    kept, methods = defaults(module, given), other_methods(module)
    said = {}
    if kept:
        said["defaults"] = ", ".join(f"{name}={value}" for name, value in kept.items())
    if methods:
        said["left_out"] = f"the archive's other methods ({', '.join(methods)})"
    return said


def constants(module: torch.jit.ScriptModule) -> list[tuple[str, torch.Tensor]]:
    """The tensors frozen into the graph of `forward`, as (name in the graph, tensor)."""
    if not hasattr(module, "forward"):
        return []
    graph: Any = module.inlined_graph  # torch's stubs leave the search methods of graphs out
    return [
        (f"constant {node.output().debugName()}", node.t("value"))
        for node in graph.findAllNodes("prim::Constant", recurse=True)
        if node.hasAttribute("value") and node.kindOf("value") == "t"
    ]


def reopened(module: torch.jit.ScriptModule) -> torch.jit.ScriptModule:
    """A copy of a module in memory, as its archive would be read; the module itself stays as it is.

    Raises CheckpointError when torch cannot save it.
    """
    buffer = io.BytesIO()
    try:
        torch.jit.save(module, buffer)
    except RuntimeError as error:
        raise CheckpointError(f"the ScriptModule cannot be saved: {first_line(error)}") from error
    return _read(buffer.getvalue())


def _open(path: Path, *, trust: bool, to_run: bool) -> torch.jit.ScriptModule:
    data = files.content(path)
    vetted = None if trust else torchscript_archive.vetted(data, str(path), to_run=to_run)
    try:
        module = _read(data if vetted is None else vetted.data)
    except OPENING_ERRORS as error:
        raise CheckpointError(f"{path}: is a damaged TorchScript archive: {first_line(error)}") from error
    if vetted is not None:
        torchscript_graph.require_allowed(module, str(path))
        found = [*module.state_dict().values(), *(tensor for _, tensor in constants(module))]
        tree.require_bounded(found, vetted.held, str(path))
    return module


def _read(content: bytes) -> torch.jit.ScriptModule:
    module = torch.jit.load(io.BytesIO(content), map_location="cpu")
    _to_cpu(module)
    module.eval()
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    return module


def _to_cpu(module: torch.jit.ScriptModule) -> None:
    """Replace the devices that tracing on a GPU left as constants in the archive's code."""
    for part in module.modules():
        inner: Any = getattr(part, "_c", None)  # there is no public way to the graphs of all methods
        for name in () if inner is None else inner._method_names():
            for node in inner._get_method(name).graph.findAllNodes("prim::Constant", recurse=True):
                if node.output().type().kind() == "DeviceObjType" and node.hasAttribute("value"):
                    node.s_("value", "cpu")


def _trial(module: torch.nn.Module, inputs: tuple[TensorSpec, ...], path: Path, *, trust: bool) -> None:
    try:
        result = first_call(lambda: module(*drawn(inputs, EXAMPLE_BATCH, seed=0)), path, trust=trust)
    except FORWARD_ERRORS as error:
        raise CheckpointError(f"{path}: {_why(module, inputs, error)}") from error
    outputs_of(result, path)


def _why(module: torch.nn.Module, inputs: tuple[TensorSpec, ...], error: Exception) -> str:
    """Why the network does not take a batch of its inputs: the batch, if it takes them otherwise."""
    cause = first_line(error)
    elsewhere = ELSEWHERE.search(cause)
    if elsewhere is not None:
        return (
            f"the archive calls {elsewhere[1]}, which no CPU has: it was traced on a GPU; trace the network "
            f"again with network and example on the CPU"
        )
    single = drawn(inputs, 1, seed=0)
    first, *others = drawn(inputs, EXAMPLE_BATCH, seed=0)
    if others and _takes(module, (first, *(value.transpose(0, 1) for value in others if value.dim() > 1))):
        names = ", ".join(spec.name for spec in inputs[1:])
        return (
            f"the network takes {names} with the batch in the second dimension ({cause}); export it with the "
            f"batch in front of every input and output"
        )
    if _takes(module, single):
        return (
            f"the network takes a batch of 1 but not of {EXAMPLE_BATCH} ({cause}); its batch size is "
            f"built in; export it for any batch"
        )
    if _takes(module, tuple(value[0] for value in single)):
        return (
            f"the network takes single observations, without a batch dimension, and no batch of them "
            f"({cause}); export it with the batch in front of every input and output"
        )
    return f"the network does not take {described(inputs)}: {cause}"


def _takes(module: torch.nn.Module, values: tuple[torch.Tensor, ...]) -> bool:
    try:
        with torch.no_grad():
            module(*values)
    except FORWARD_ERRORS:
        return False
    return True
