"""The user's own network: imported, called, and filled with the weights of a checkpoint."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch

from grandopt.compiler.checkpoints import dtypes, weights
from grandopt.compiler.checkpoints.base import Checkpoint
from grandopt.compiler.checkpoints.module import wrappers
from grandopt.compiler.checkpoints.settings import (
    EXAMPLE_BATCH,
    configured_inputs,
    described,
    drawn,
    outputs_of,
)
from grandopt.compiler.checkpoints.stateful.inside import with_state_outside
from grandopt.compiler.checkpoints.stateful.recurrence import recurrent
from grandopt.compiler.checkpoints.vetting.foreign import current_folder_importable, foreign_code
from grandopt.compiler.checkpoints.weight_files import plain
from grandopt.config.schema import AgentConfig
from grandopt.errors import CheckpointError, SignatureError
from grandopt.signature import TensorSpec


def instantiate(
    agent: AgentConfig, path: Path, tensors: Mapping[str, torch.Tensor] | None = None
) -> torch.nn.Module:
    """The module that `network: module:callable` makes when called with `network_args`.

    Raises CheckpointError when none is configured (it says which plain stack `tensors` spell), or it cannot
    be imported, found or called, or returns something else.
    """
    if agent.network is None:
        said = plain.spelling(tensors or {})
        word = str(said.get("network")).partition(":")[0]
        made = f"`network: {word}:{plain.HIDDEN},{plain.OUTPUT}` makes"
        proposed = f"; its keys spell {said['spells']}, which {made} of them" if said else ""
        raise CheckpointError(
            f"{path}: holds weights but no network; add to this agent in grandopt.yaml the line "
            f"`network: my_module:MyNetwork` (a callable that makes it) and, if it takes arguments, "
            f"`network_args: {{name: value}}`{proposed}"
        )
    module_name, _, callable_name = agent.network.partition(":")
    with current_folder_importable():
        with foreign_code(f"network {agent.network!r}: module {module_name!r} cannot be imported"):
            module = importlib.import_module(module_name)
        target = getattr(module, callable_name, None)
        if target is None:
            raise CheckpointError(
                f"network {agent.network!r}: module {module_name!r} ({module.__file__}) has no "
                f"{callable_name!r}"
            )
        if not callable(target):
            raise CheckpointError(f"network {agent.network!r}: {callable_name!r} cannot be called")
        arguments = ", ".join(f"{key}={value!r}" for key, value in agent.network_args.items())
        with foreign_code(f"network {agent.network!r}: calling {callable_name}({arguments}) failed"):
            network = target(**agent.network_args)
    if not isinstance(network, torch.nn.Module):
        raise CheckpointError(
            f"network {agent.network!r}: must return a torch.nn.Module, got {type(network).__name__}"
        )
    return network


def fit(network: torch.nn.Module, tensors: Mapping[str, torch.Tensor], where: str) -> None:
    """Load `tensors` into `network`, in their own dtypes (see `dtypes.as_in`).

    Every key and shape must match, wrappers in the names aside.

    Raises CheckpointError naming the first missing, unexpected and wrong-shaped key, and how many there
    are of each.
    """
    wanted = network.state_dict()
    tensors = wrappers.matched(tensors, wanted)
    missing = [key for key in wanted if key not in tensors]
    unexpected = [key for key in tensors if key not in wanted]
    misshapen = [key for key in wanted if key in tensors and wanted[key].shape != tensors[key].shape]
    findings = []
    if missing:
        findings.append(f"{len(missing)} missing (first {missing[0]!r} {list(wanted[missing[0]].shape)})")
    if unexpected:
        first = unexpected[0]
        findings.append(f"{len(unexpected)} unexpected (first {first!r} {list(tensors[first].shape)})")
    if misshapen:
        first = misshapen[0]
        findings.append(
            f"{len(misshapen)} of another shape (first {first!r}: file {list(tensors[first].shape)}, "
            f"network {list(wanted[first].shape)})"
        )
    if findings:
        raise CheckpointError(f"{where}: the weights do not fit the network: {'; '.join(findings)}")
    dtypes.as_in(network, tensors)
    network.load_state_dict(dict(tensors))


def loaded(
    name: str,
    agent: AgentConfig,
    path: Path,
    tensors: Mapping[str, torch.Tensor],
    where: str,
    file_format: str,
) -> Checkpoint:
    """The checkpoint of the configured network with the weights `tensors`.

    It runs in the dtypes of the weights. Half weights may also have been stored so to save space: where the
    network takes the inputs as declared only in float32, it is a network in float32. Raises like
    `instantiate`, `fit` and `assembled`.
    """
    asked = plain.wanted(agent.network)
    if asked is not None:
        found = plain.spelled(tensors, where, ordered=file_format != "safetensors")
        found, agent = plain.configured(found, asked, agent, where)
        return _plain(name, agent, path, found, asked, file_format)
    network = instantiate(agent, path, tensors)
    stored = dtypes.any_narrow(tensors) and any(item.dtype for item in agent.inputs)
    try:
        fit(network, tensors, where)
        return assembled(name, agent, path, network, file_format)
    except (CheckpointError, SignatureError):
        if not stored:
            raise
    network = instantiate(agent, path, tensors)
    fit(network, dtypes.widened(tensors), where)
    return assembled(name, agent, path, network, file_format)


def _plain(
    name: str,
    agent: AgentConfig,
    path: Path,
    found: plain.Spelled,
    asked: plain.Wanted,
    file_format: str,
) -> Checkpoint:
    """The checkpoint of a network that its weights spell."""
    activations = (asked.hidden, asked.output)
    checkpoint = assembled(name, agent, path, found.built(*activations), file_format)
    left_out = {"left_out": ", ".join(found.left_out)} if found.left_out else {}
    source = checkpoint.source.noting(network=plain.in_words(found, *activations), **left_out)
    return replace(checkpoint, source=source)


def assembled(
    name: str, agent: AgentConfig, path: Path, network: torch.nn.Module, file_format: str
) -> Checkpoint:
    """The checkpoint of a module that takes the configured inputs, after one trial call with them.

    Raises SignatureError when its recurrent state is not as configured, and CheckpointError for weights with
    NaN or inf, or when the trial call fails or returns no tensors.
    """
    weights.require_sane(network, str(path))
    weights.ready(network)
    source = weights.source(path, file_format)

    def attempt(module: torch.nn.Module, inputs: tuple[TensorSpec, ...]) -> Checkpoint:
        return _tried(Checkpoint(name=name, module=module, inputs=inputs, source=source), agent, path)

    tensors = (*network.parameters(), *network.buffers())
    return dtypes.first_that_runs(
        network, tensors, lambda dtype: configured_inputs(agent, path, dtype=dtype), attempt
    )


def _tried(checkpoint: Checkpoint, agent: AgentConfig, path: Path) -> Checkpoint:
    """The checkpoint after one trial call, with its recurrent state where one is declared."""
    with foreign_code(f"{path}: the network fails"):
        outside = with_state_outside(checkpoint, agent, str(path))
    if outside.contract.state:
        return outside
    if agent.state or agent.outputs or agent.stepwise:
        return recurrent(checkpoint, agent)
    inputs = checkpoint.inputs
    shapes = described(inputs)
    with foreign_code(f"{path}: the network does not take {shapes}"), torch.no_grad():
        result = checkpoint.module(*drawn(inputs, EXAMPLE_BATCH, seed=0))
    outputs_of(result, path)
    return checkpoint
