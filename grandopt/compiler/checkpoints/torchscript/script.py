"""TorchScript archives: run as they are; capture makes an exported program of them where that holds."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch

from grandopt.compiler.checkpoints import dtypes, files, weights
from grandopt.compiler.checkpoints.base import Checkpoint
from grandopt.compiler.checkpoints.settings import refuse
from grandopt.compiler.checkpoints.torchscript import archive as torchscript_archive
from grandopt.compiler.checkpoints.torchscript import graph as torchscript_graph
from grandopt.compiler.checkpoints.torchscript.agent import RESETS, as_agent
from grandopt.compiler.checkpoints.torchscript.called import called, facts, left_out
from grandopt.compiler.checkpoints.vetting import tree
from grandopt.compiler.scripted.methods import as_forward
from grandopt.config.schema import AgentConfig
from grandopt.errors import CheckpointError, first_line
from grandopt.signature import TensorSpec

FORMAT = "torchscript"

OPENING_ERRORS = (RuntimeError, ValueError, OSError, IndexError, TypeError, MemoryError)
"""What torch.jit.load is seen to raise on damaged archives."""


def load(name: str, agent: AgentConfig) -> Checkpoint:
    """The archive as a ScriptModule in eval mode.

    Raises CheckpointError for a damaged archive, for one that draws random numbers or keeps what cannot be
    laid open, for inputs that are not configured or do not fit, and for NaN. `source.details` names what of
    it is left out, what it keeps in itself, and a batch of 1 that is built in.
    """
    path = files.checkpoint_path(agent)
    fields = ("key", "network", "network_args")
    refuse(agent, path, "a TorchScript archive", fields, "which brings its own network")
    refuse(agent, path, "a TorchScript archive", ("vecnormalize",), "statistics belong to an SB3 zip")
    opened = _open(path, trust=agent.trust, to_run=True)
    module = _with_method(opened, agent.method, path)
    archive = called(module, str(path), [item.name for item in agent.inputs], agent.fix, reopened)
    weights.require_sane(module, str(path))
    frozen = constants(module)
    weights.require_numbers(frozen, str(path))
    said = archive.left_out()
    if agent.method is not None:
        said = {**said, "method": agent.method, **left_out(opened, agent.method)}
    source = weights.source(path, FORMAT, **said)

    def attempt(network: torch.nn.Module, inputs: tuple[TensorSpec, ...]) -> Checkpoint:
        return as_agent(Checkpoint(name, network, inputs, source), archive, agent, path)

    tensors = (*module.parameters(), *module.buffers(), *(tensor for _, tensor in frozen))
    return dtypes.first_that_runs(module, tensors, lambda dtype: archive.inputs(agent, path, dtype), attempt)


def describe(path: Path, *, trust: bool = False) -> dict[str, Any]:
    """The inputs that the archive's `forward` names, its weights, and the constants frozen into its graph.

    Where there is any, also what it keeps between calls (`state`), arguments that can be fixed (`flags`), and
    its other methods (`methods`), which may be all that it has.
    """
    module = _open(path, trust=trust, to_run=False)
    return {
        "format": FORMAT,
        **facts(module, str(path)),
        **weights.listed({**module.state_dict(), **dict(constants(module))}),
    }


def _with_method(module: torch.jit.ScriptModule, method: str | None, path: Path) -> torch.jit.ScriptModule:
    """The archive as it is called: its `forward`, or the method that is chosen in its place."""
    if method is None:
        return module
    try:
        return as_forward(module, method, RESETS)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error


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
