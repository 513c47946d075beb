"""PyTorch state dicts (`.pt`, `.pth`), also nested inside a training checkpoint."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from grandopt.compiler.checkpoints import files, weights
from grandopt.compiler.checkpoints.base import Checkpoint
from grandopt.compiler.checkpoints.left_out import left_out
from grandopt.compiler.checkpoints.module.wrappers import plain_name
from grandopt.compiler.checkpoints.settings import refuse
from grandopt.compiler.checkpoints.weight_files import network, plain, torch_file
from grandopt.config.schema import AgentConfig
from grandopt.errors import CheckpointError

FORMAT = "state_dict"
MAX_NAMED = 12
"""An error lists at most so many keys or places."""


def load(name: str, agent: AgentConfig, content: Any = None, file_format: str = FORMAT) -> Checkpoint:
    """The configured network with the weights found at `key` (or at the top of the file).

    Statistics that lie beside them in the file are named as left out.

    `content` is what the file, of the format `file_format`, holds where it has been read already. Raises
    CheckpointError when the key leads nowhere or to something else than a state dict, when the network cannot
    be made, when the weights do not fit it or hold NaN or inf, and UntrustedError when the file would have to
    be unpickled.
    """
    path = files.checkpoint_path(agent)
    refuse(agent, path, "a state dict", ("vecnormalize",), "observation statistics belong to an SB3 zip")
    if content is None:
        content = torch_file.read(path, trust=agent.trust)
    tensors = tensors_at(content, agent.key, path)
    where = str(path) if agent.key is None else f"{path} at {agent.key}"
    weights.require_finite(tensors.items(), where)
    checkpoint = network.loaded(name, agent, path, tensors, where, file_format)
    return replace(checkpoint, statistics=left_out(content, agent.key))


def describe(path: Path, content: Any = None) -> dict[str, Any]:
    """Every state dict in the file: where it sits (`key`, "" for the top), its tensors and parameters."""
    if content is None:
        content = torch_file.read(path)
    found = list(places(content))
    if not found:
        raise CheckpointError(f"{path}: holds no state dict: its top is {_kind(content)}")
    return {
        "format": FORMAT,
        "parameters": sum(tensor.numel() for _, tensors in found for tensor in tensors.values()),
        "state_dicts": [
            {"key": key, **plain.proposal(tensors, key), **weights.listed(tensors)} for key, tensors in found
        ],
    }


def tensors_at(content: Any, key: str | None, path: Path) -> Mapping[str, torch.Tensor]:
    """The state dict at the dotted `key` ("actors.0"), or the part of one whose names begin with it.

    Raises CheckpointError naming the keys there are.
    """
    target = content if key is None else _follow(content, key, path)
    if is_state_dict(target):
        tensors: Mapping[str, torch.Tensor] = target
        return tensors
    at = "its top" if key is None else f"key {key!r}"
    others = _listing([place for place, _ in places(content)])
    advice = f"set `key` to one of: {others}" if others else "there is none anywhere in the file"
    raise CheckpointError(f"{path}: {at} is {_kind(target)}, not a state dict; {advice}")


def _follow(content: Any, key: str, path: Path) -> Any:
    here, walked, rest = content, "", key.split(".")
    while rest:
        part = rest[0]
        found, step = _step(here, part)
        if not found:
            tensors = _part(here, ".".join(rest))
            if tensors:
                return tensors
            at = f"under {walked!r}" if walked else "at the top"
            raise CheckpointError(
                f"{path}: key {key!r}: there is no {part!r} {at}, which holds "
                f"{_listing(_keys(here)) or _kind(here)}"
            )
        here, walked, rest = step, f"{walked}.{part}" if walked else part, rest[1:]
    return here


def _part(here: Any, prefix: str) -> dict[str, torch.Tensor]:
    """The tensors of a state dict whose names, wrappers in them aside, begin with `prefix`; without it."""
    if not is_state_dict(here):
        return {}
    found = {name if name.startswith(f"{prefix}.") else plain_name(name): name for name in here}
    start = f"{prefix}."
    return {name.removeprefix(start): here[full] for name, full in found.items() if name.startswith(start)}


def _step(here: Any, part: str) -> tuple[bool, Any]:
    if isinstance(here, Mapping):
        for key, value in here.items():
            if str(key) == part:
                return True, value
    elif isinstance(here, list | tuple) and part.isdecimal() and int(part) < len(here):
        return True, here[int(part)]
    return False, None


def _keys(here: Any) -> list[str]:
    if isinstance(here, Mapping):
        return [str(key) for key in here]
    return [str(index) for index in range(len(here))] if isinstance(here, list | tuple) else []


def is_state_dict(value: Any) -> bool:
    """Whether `value` maps names to tensors, and to nothing else."""
    return (
        isinstance(value, Mapping)
        and len(value) > 0
        and all(isinstance(key, str) for key in value)
        and all(isinstance(item, torch.Tensor) for item in value.values())
    )


def places(content: Any) -> Iterator[tuple[str, Mapping[str, torch.Tensor]]]:
    """Every state dict inside `content` with its dotted key; the states of optimizers are none.

    One that sits in several places is named by the first.
    """
    seen: set[int] = set()
    pending: list[tuple[str, Any]] = [("", content)]
    while pending:
        prefix, item = pending.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        if is_state_dict(item):
            yield prefix, item
            continue
        if isinstance(item, Mapping):
            inner = [] if {"state", "param_groups"} <= item.keys() else list(item.items())
        else:
            inner = list(enumerate(item)) if isinstance(item, list | tuple) else []
        pending += [(f"{prefix}.{key}" if prefix else str(key), value) for key, value in reversed(inner)]


def _kind(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"a dict with the keys {_listing(_keys(value))}" if value else "an empty dict"
    if isinstance(value, list | tuple):
        return f"a {type(value).__name__} of {len(value)}"
    return f"a {type(value).__name__}"


def _listing(keys: list[str]) -> str:
    return ", ".join(keys[:MAX_NAMED]) + (f", … ({len(keys)} in all)" if len(keys) > MAX_NAMED else "")
