"""Which format a file has, by its content, and the loader for it.

Importing torch takes seconds and 200 MB. What can be refused without it is refused before.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from grandopt import npy
from grandopt.compiler.checkpoints import files, folder
from grandopt.compiler.checkpoints.frameworks import folders
from grandopt.compiler.checkpoints.frameworks.flax import packed
from grandopt.compiler.checkpoints.onnx import wire
from grandopt.compiler.checkpoints.vetting import zip_archive
from grandopt.config.schema import AgentConfig
from grandopt.errors import CheckpointError, SignatureError, UnknownFormatError, UntrustedError

if TYPE_CHECKING:
    from grandopt.compiler.checkpoints.base import Checkpoint

NetworkFormat = Literal["torch", "torchscript", "exported", "safetensors", "numpy", "onnx", "flax", "folder"]
Format = Literal["sb3", NetworkFormat]
"""What the bytes say. "torch" is what torch.save writes, and any pickle: a state dict or a whole module;
"folder" is one that is an agent as a whole."""

FRAMEWORKS_OWN = ("torch", "flax", "folder")
"""The formats of training checkpoints."""

HEAD = 4096
"""Bytes that tell what a file is."""

PICKLE_MAGIC = b"\x80"
LONGEST_SAFETENSORS_HEADER = 100_000_000
"""The limit of the safetensors format, bytes."""


def load(name: str, agent: AgentConfig) -> Checkpoint:
    """The agent `name` from the file that `agent.checkpoint` names, whatever its format.

    Raises CheckpointError when there is no such file or it is not an agent, when the configuration lacks
    something or says what does not apply, and for weights with NaN or inf; UntrustedError when the file
    would have to be unpickled and `agent.trust` is not set.
    """
    path = files.checkpoint_path(agent)
    found = detect(path)
    if found not in FRAMEWORKS_OWN:
        _refuse_frameworks_own(agent, path)
    if agent.fix and found not in ("torchscript", "torch"):
        _refuse_fix(path)
    if agent.method and found != "torchscript":
        raise CheckpointError(
            f"{path}: 'method' cannot be used with anything but a TorchScript archive; remove it"
        )
    if found == "sb3":
        from grandopt.compiler.checkpoints.sb3 import agent as sb3

        return sb3.load(name, agent)
    from grandopt.compiler.checkpoints.sb3 import beside

    checkpoint = _with_outputs(name, agent, path, found)
    return replace(checkpoint, statistics=(*checkpoint.statistics, *beside.unused(path)))


def _with_outputs(name: str, agent: AgentConfig, path: Path, found: NetworkFormat) -> Checkpoint:
    """The agent with the outputs that the configuration chooses, or in the order in which it names them."""
    if not agent.outputs or found == "onnx":
        return _load_network(name, agent, path, found)
    from grandopt.compiler.checkpoints.chosen_outputs import with_outputs

    try:
        whole = _load_network(name, agent.model_copy(update={"outputs": ()}), path, found)
    except (CheckpointError, SignatureError):  # `state` may need the names; what else there is shows below
        whole = None
    chosen = None if whole is None else with_outputs(whole, agent.outputs, path)
    return chosen or _load_network(name, agent, path, found)


def _load_network(name: str, agent: AgentConfig, path: Path, found: NetworkFormat) -> Checkpoint:
    """The agent of a file that is no SB3 zip."""
    match found:
        case "torchscript":
            from grandopt.compiler.checkpoints.torchscript import script as torchscript

            return torchscript.load(name, agent)
        case "exported":
            from grandopt.compiler.checkpoints.exported import program as exported

            return exported.load(name, agent)
        case "safetensors":
            from grandopt.compiler.checkpoints.weight_files import safetensors_file

            return safetensors_file.load(name, agent)
        case "numpy":
            from grandopt.compiler.checkpoints.weight_files import numpy_file

            return numpy_file.load(name, agent)
        case "onnx":
            from grandopt.compiler.checkpoints.onnx import reader as onnx

            return onnx.load(name, agent)
        case "flax" | "folder":
            from grandopt.compiler.checkpoints.frameworks import alone

            return alone.load(name, agent, path)
        case "torch":
            return _load_torch(name, agent, path)


def _load_torch(name: str, agent: AgentConfig, path: Path) -> Checkpoint:
    import torch

    from grandopt.compiler.checkpoints.frameworks import detection
    from grandopt.compiler.checkpoints.weight_files import pickled, state_dict

    content, unread, refused = _torch_content(path, trust=agent.trust)
    framework = detection.chosen(agent, path, content)
    if framework is not None:
        checkpoint = detection.load(name, agent, path, content, framework)
        noted = {"not_read": list(unread)} if unread else {}
        return replace(checkpoint, source=checkpoint.source.noting(**noted))
    if refused is not None:
        raise refused
    _refuse_frameworks_own(agent, path)
    if agent.fix:
        _refuse_fix(path)
    if isinstance(content, torch.nn.Module):
        return pickled.load(name, agent, content)
    return state_dict.load(name, agent, content)


def _torch_content(path: Path, *, trust: bool) -> tuple[Any, tuple[str, ...], UntrustedError | None]:
    """What a torch file holds, with the keys of what was not read and the refusal, where it would need trust.

    A framework may read its checkpoint all the same: weights do not need what lies beside them.
    """
    from grandopt.compiler.checkpoints.frameworks.d3rlpy import file as d3rlpy_file
    from grandopt.compiler.checkpoints.weight_files import torch_file

    content = d3rlpy_file.content(path)
    if content is not None:
        return content, (), None
    try:
        return torch_file.read(path, trust=trust), (), None
    except UntrustedError as refused:
        try:
            found = torch_file.read_plain_entries(path)
        except CheckpointError:
            found = None
        return (None, (), refused) if found is None else (*found, refused)


def _refuse_frameworks_own(agent: AgentConfig, path: Path) -> None:
    """Raise CheckpointError for a setting that only a framework's checkpoint has a use for."""
    for field in ("framework", "activation", "statistics", "bounds", "distribution"):
        value = getattr(agent, field)
        if value is not None and (field, value) != ("framework", "none"):
            raise CheckpointError(
                f"{path}: {field!r} cannot be used with a file that is no training checkpoint of a known "
                f"framework; remove it"
            )


def _refuse_fix(path: Path) -> None:
    raise CheckpointError(
        f"{path}: 'fix' cannot be used with anything but a TorchScript archive, or a training checkpoint "
        f"that asks for it; remove it"
    )


def describe(path: Path, *, trust: bool = False) -> dict[str, Any]:
    """What is in the file, JSON-able: always `path`, `format`, `size` (bytes) and `sha256`.

    By format also `tensors` (name, shape, dtype) and `parameters`, `state_dicts` with their `key`, or the
    algorithm, spaces and layers of an SB3 zip. A pickle that would have to be trusted is described as far
    as that goes without (`refused` says why). Raises CheckpointError when the file is none or damaged,
    UntrustedError when opening it could run code and `trust` is not set.
    """
    found = preflight(path, trust=trust, to_run=False)
    match found:
        case "sb3":
            from grandopt.compiler.checkpoints.sb3 import agent as sb3

            facts = sb3.describe(path)
        case "torchscript":
            from grandopt.compiler.checkpoints.torchscript import script as torchscript

            facts = torchscript.describe(path, trust=trust)
        case "exported":
            from grandopt.compiler.checkpoints.exported import program as exported

            facts = exported.describe(path, trust=trust)
        case "safetensors":
            from grandopt.compiler.checkpoints.weight_files import safetensors_file

            facts = safetensors_file.describe(path)
        case "numpy":
            from grandopt.compiler.checkpoints.weight_files import numpy_file

            facts = numpy_file.describe(path)
        case "onnx":
            from grandopt.compiler.checkpoints.onnx import reader as onnx

            facts = onnx.describe(path)
        case "flax" | "folder":
            from grandopt.compiler.checkpoints.frameworks import alone

            facts = alone.describe(path)
        case "torch":
            facts = _describe_torch(path, trust=trust)
    return {"path": str(path), "size": folder.size(path), "sha256": folder.sha256(path), **facts}


def preflight(path: Path, *, trust: bool, to_run: bool) -> Format:
    """The format of the file at `path`, refused if that shows without torch.

    Raises what `detect` raises; without `trust` also UntrustedError for a program or an archive that does
    more than compute or, if it is `to_run`, may never end. The reader of a format checks again what it reads.
    """
    found = detect(path)
    match None if trust else found:
        case "torchscript":
            from grandopt.compiler.checkpoints.torchscript import archive as torchscript_archive

            torchscript_archive.vetted(files.content(path), str(path), to_run=to_run)
        case "exported":
            from grandopt.compiler.checkpoints.exported import members as exported_members

            exported_members.vetted(path)
        case "onnx":
            from grandopt.compiler.checkpoints.onnx import document as onnx_document

            onnx_document.model(files.content(path), str(path))
    return found


def _describe_torch(path: Path, *, trust: bool) -> dict[str, Any]:
    import torch

    from grandopt.compiler.checkpoints.frameworks import detection
    from grandopt.compiler.checkpoints.weight_files import pickled, state_dict

    content, unread, refused = _torch_content(path, trust=trust)
    said = detection.describe(path, content)
    if said is not None and "format" in said:
        return {**said, "not_read": list(unread)} if unread else said
    if refused is not None:
        return pickled.describe_refused(path, refused)
    if isinstance(content, torch.nn.Module):
        return pickled.describe(content)
    return {**state_dict.describe(path, content), **(said or {})}


def detect(path: Path) -> Format:
    """The format of the file or folder at `path`, by what is in it; the suffix is not looked at.

    Raises CheckpointError for a missing file, a folder that is no agent, an empty file or a damaged zip,
    UnknownFormatError for bytes that are none of the known formats.
    """
    if folders.is_agent(path):
        return "folder"
    head, size = files.head(path, HEAD)
    if size == 0:
        raise CheckpointError(f"{path}: is empty (0 bytes)")
    if head.startswith(zip_archive.MAGIC):
        return _detect_zip(path)
    if head.startswith(PICKLE_MAGIC):
        return "torch"
    if head.startswith(npy.MAGIC):
        return "numpy"
    header = int.from_bytes(head[:8], "little")
    if head[8:9] == b"{" and header <= LONGEST_SAFETENSORS_HEADER:
        return "safetensors"
    if wire.is_model(head, size, path):
        return "onnx"
    if packed.is_tree(head):
        return "flax"
    raise UnknownFormatError(
        f"{path}: is none of the formats known here (a torch file, safetensors, NumPy's, TorchScript, .pt2, "
        f"ONNX, Flax, or a Stable-Baselines3 zip); it begins with {head[:8]!r}"
    )


def _detect_zip(path: Path) -> Format:
    names = zip_archive.opened(path).names
    if {"data", "policy.pth"} <= set(names):
        return "sb3"
    inner = {name.partition("/")[2] for name in names}
    if "serialized_exported_program.json" in names or "archive_format" in inner:
        return "exported"
    if "data.pkl" in inner:
        return "torchscript" if "constants.pkl" in inner else "torch"
    if names and all(name.endswith(".npy") for name in names):
        return "numpy"
    shown = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
    raise UnknownFormatError(
        f"{path}: is a zip, but neither a torch file nor a Stable-Baselines3 agent (which holds 'data' and "
        f"'policy.pth'); it holds {shown or 'nothing'}"
    )
