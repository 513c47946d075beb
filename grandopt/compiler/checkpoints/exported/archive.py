"""The program that is built from the members of a `.pt2`.

torch's own reader unpickles some members, loads shared objects, and finds members whatever the case of their
names and their suffix. It is given none of this: the program and its tensors are read here, and put together
by the part of torch that takes them apart from any archive.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch._export.serde import schema
from torch._export.serde.serialize import _SERIALIZE_TO_TORCH_DTYPE, ExportedProgramDeserializer

from grandopt.compiler.checkpoints.exported import document as exported_document
from grandopt.compiler.checkpoints.exported import members as exported_members
from grandopt.compiler.checkpoints.vetting import tree, zip_archive
from grandopt.compiler.checkpoints.weight_files import torch_file
from grandopt.errors import CheckpointError, UntrustedError

Tensors = Mapping[str, torch.Tensor]

WEIGHTS, CONSTANTS = "data/weights/", "data/constants/"
WEIGHTS_TABLE = f"{WEIGHTS}model_weights_config.json"
CONSTANTS_TABLE = f"{CONSTANTS}model_constants_config.json"

OLD_WEIGHTS = ("serialized_state_dict.pt", "serialized_state_dict.json")
OLD_CONSTANTS = ("serialized_constants.pt", "serialized_constants.json")
"""The same as torch wrote it before 2.8."""


@dataclass(frozen=True)
class _Content:
    """A program and its tensors, as far as they could be checked without putting them together."""

    program: schema.ExportedProgram
    weights: Tensors
    constants: Tensors


def read(path: Path) -> torch.export.ExportedProgram:
    """The program in the `.pt2` at `path`; nothing in the file is run.

    Raises UntrustedError naming the first thing in it that could run code, or that a program does not need,
    and CheckpointError for a damaged file. What torch raises on a program that makes no sense is not
    translated here.
    """
    members = exported_members.vetted(path)
    content = _old(members) if members.old else _present(members)
    return ExportedProgramDeserializer().deserialize(
        content.program, dict(content.weights), dict(content.constants), None
    )


def _present(members: exported_members.Members) -> _Content:
    archive, root = members.archive, members.root
    _vet(archive, f"{root}data/sample_inputs/model.pt")
    return _Content(
        exported_document.program(members.document, members.where),
        _tensors(archive, root, WEIGHTS, WEIGHTS_TABLE),
        _tensors(archive, root, CONSTANTS, CONSTANTS_TABLE),
    )


def _old(members: exported_members.Members) -> _Content:
    archive = members.archive
    _vet(archive, "serialized_example_inputs.pt")
    return _Content(
        exported_document.program(members.document, members.where),
        *(
            _pickled(archive, next((name for name in names if name in archive.names), names[0]))
            for names in (OLD_WEIGHTS, OLD_CONSTANTS)
        ),
    )


def _vet(archive: zip_archive.ZipArchive, member: str) -> None:
    """Refuse example inputs that would have to be unpickled; they are not used.

    A program that was saved without any has an empty member.
    """
    content = archive.read(member) if member in archive.names else b""
    if content:
        torch_file.from_bytes(content, f"{archive.where} ({member})")


def _pickled(archive: zip_archive.ZipArchive, member: str) -> Tensors:
    where = f"{archive.where} ({member})"
    content = torch_file.from_bytes(archive.read(member), where)
    if not isinstance(content, Mapping) or not all(
        isinstance(item, torch.Tensor) for item in content.values()
    ):
        raise CheckpointError(f"{where}: is no table of tensors")
    return {str(name): tensor.detach() for name, tensor in content.items()}


def _tensors(archive: zip_archive.ZipArchive, root: str, folder: str, table: str) -> Tensors:
    """The tensors that a table describes, each over the bytes of its own member; those of one share them."""
    if f"{root}{folder}model.pt" in archive.names:
        return _pickled(archive, f"{root}{folder}model.pt")
    where = f"{archive.where} ({table})"
    config = exported_document.payload(archive.read(f"{root}{table}"), where).config
    held: dict[str, bytearray] = {}
    tensors: dict[str, torch.Tensor] = {}
    for name, meta in config.items():
        if meta.use_pickle:
            raise UntrustedError(
                f"{where}: {name!r} is a tensor that must be unpickled; pass --trust (or `trust: true`) only "
                f"if you know who made it"
            )
        if meta.tensor_meta is None:
            raise CheckpointError(f"{where}: {name!r} has no shape")
        if meta.path_name not in held:
            held[meta.path_name] = bytearray(archive.read(f"{root}{folder}{meta.path_name}"))
        tensor = _tensor(held[meta.path_name], meta.tensor_meta, f"{where}: {name!r}")
        tensors[name] = torch.nn.Parameter(tensor, requires_grad=False) if meta.is_param else tensor
    tree.require_bounded(tensors, sum(map(len, held.values())), where)
    return tensors


def _tensor(data: bytearray, meta: schema.TensorMeta, where: str) -> torch.Tensor:
    dtype = _SERIALIZE_TO_TORCH_DTYPE.get(meta.dtype)
    if dtype is None or meta.layout != schema.Layout.Strided:
        raise CheckpointError(f"{where}: has a dtype or a layout that is not read")
    sizes, strides = ([_whole(size, where) for size in row] for row in (meta.sizes, meta.strides))
    offset = _whole(meta.storage_offset, where)
    if len(sizes) != len(strides):
        raise CheckpointError(f"{where}: has {len(sizes)} sizes and {len(strides)} strides")
    if math.prod(sizes) == 0:
        return torch.empty(sizes, dtype=dtype)
    last = offset + sum((size - 1) * stride for size, stride in zip(sizes, strides, strict=True))
    if (last + 1) * dtype.itemsize > len(data) or len(data) % dtype.itemsize:
        raise CheckpointError(f"{where}: its shape {sizes} does not fit its {len(data)} bytes")
    return torch.frombuffer(data, dtype=dtype).as_strided(sizes, strides, offset)


def _whole(size: schema.SymInt, where: str) -> int:
    value: Any = size.value
    if size.type != "as_int" or value < 0:
        raise CheckpointError(f"{where}: has a size that is no number")
    return int(value)
