"""Which format a file has, by its content, and the loader for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from grandopt.compiler.checkpoints import zip_archive
from grandopt.compiler.checkpoints.base import Checkpoint
from grandopt.compiler.checkpoints.settings import checkpoint_path
from grandopt.config.schema import AgentConfig
from grandopt.errors import CheckpointError, UntrustedError

Format = Literal["sb3", "torch", "torchscript", "exported", "safetensors"]
"""What the bytes say. "torch" is what torch.save writes, and any pickle: a state dict or a whole module."""

PICKLE_MAGIC = b"\x80"
LONGEST_SAFETENSORS_HEADER = 100_000_000
"""The limit of the safetensors format, bytes."""


def load(name: str, agent: AgentConfig) -> Checkpoint:
    """The agent `name` from the file that `agent.checkpoint` names, whatever its format.

    Raises CheckpointError when there is no such file or it is not an agent, when the configuration lacks
    something or says what does not apply, and for weights with NaN or inf; UntrustedError when the file
    would have to be unpickled and `agent.trust` is not set.
    """
    path = checkpoint_path(agent)
    match detect(path):
        case "sb3":
            from grandopt.compiler.checkpoints.sb3 import agent as sb3

            return sb3.load(name, agent)
        case "torchscript":
            from grandopt.compiler.checkpoints import torchscript

            return torchscript.load(name, agent)
        case "exported":
            from grandopt.compiler.checkpoints import exported

            return exported.load(name, agent)
        case "safetensors":
            from grandopt.compiler.checkpoints import safetensors_file

            return safetensors_file.load(name, agent)
        case "torch":
            return _load_torch(name, agent, path)


def _load_torch(name: str, agent: AgentConfig, path: Path) -> Checkpoint:
    import torch

    from grandopt.compiler.checkpoints import pickled, state_dict, torch_file

    content = torch_file.read(path, trust=agent.trust)
    if isinstance(content, torch.nn.Module):
        return pickled.load(name, agent, content)
    return state_dict.load(name, agent, content)


def describe(path: Path, *, trust: bool = False) -> dict[str, Any]:
    """What is in the file, JSON-able: always `path`, `format`, `size` (bytes) and `sha256`.

    By format also `tensors` (name, shape, dtype) and `parameters`, `state_dicts` with their `key`, or the
    algorithm, spaces and layers of an SB3 zip. A pickle that would have to be trusted is described as far
    as that goes without (`refused` says why). Raises CheckpointError when the file is none or damaged.
    """
    found = detect(path)
    match found:
        case "sb3":
            from grandopt.compiler.checkpoints.sb3 import agent as sb3

            facts = sb3.describe(path)
        case "torchscript":
            from grandopt.compiler.checkpoints import torchscript

            facts = torchscript.describe(path)
        case "exported":
            from grandopt.compiler.checkpoints import exported

            facts = exported.describe(path, trust=trust)
        case "safetensors":
            from grandopt.compiler.checkpoints import safetensors_file

            facts = safetensors_file.describe(path)
        case "torch":
            facts = _describe_torch(path, trust=trust)
    from grandopt.compiler.checkpoints import weights

    return {"path": str(path), "size": path.stat().st_size, "sha256": weights.sha256(path), **facts}


def _describe_torch(path: Path, *, trust: bool) -> dict[str, Any]:
    import torch

    from grandopt.compiler.checkpoints import pickled, state_dict, torch_file

    try:
        content = torch_file.read(path, trust=trust)
    except UntrustedError as error:
        return pickled.describe_refused(path, error)
    if isinstance(content, torch.nn.Module):
        return pickled.describe(content)
    return state_dict.describe(path, content)


def detect(path: Path) -> Format:
    """The format of the file at `path`, by what is in it; the suffix is not looked at.

    Raises CheckpointError for a missing file, a folder, an empty file, a damaged zip, or bytes that are
    none of the known formats.
    """
    if path.is_dir():
        raise CheckpointError(f"{path}: is a folder; give the path of a checkpoint file in it")
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(16)
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: no such file") from error
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from error
    if size == 0:
        raise CheckpointError(f"{path}: is empty (0 bytes)")
    if head.startswith(zip_archive.MAGIC):
        return _detect_zip(path)
    if head.startswith(PICKLE_MAGIC):
        return "torch"
    header = int.from_bytes(head[:8], "little")
    if head[8:9] == b"{" and header <= LONGEST_SAFETENSORS_HEADER:
        return "safetensors"
    raise CheckpointError(
        f"{path}: is none of the formats known here (a torch file, safetensors, TorchScript, .pt2, or a "
        f"Stable-Baselines3 zip); it begins with {head[:8]!r}"
    )


def _detect_zip(path: Path) -> Format:
    names = zip_archive.names(path)
    if {"data", "policy.pth"} <= set(names):
        return "sb3"
    inner = {name.partition("/")[2] for name in names}
    if "serialized_exported_program.json" in names or "archive_format" in inner:
        return "exported"
    if "data.pkl" in inner:
        return "torchscript" if "constants.pkl" in inner else "torch"
    shown = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
    raise CheckpointError(
        f"{path}: is a zip, but neither a torch file nor a Stable-Baselines3 agent (which holds 'data' and "
        f"'policy.pth'); it holds {shown or 'nothing'}"
    )
