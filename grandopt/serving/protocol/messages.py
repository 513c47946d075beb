"""Inference as all transports know it: what is asked, and what is answered.

Named tuples: they are made for each request, and a frozen dataclass costs several times as much.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from grandopt.signature import Array

Parameter = bool | int | float | str
"""What a parameter of the protocol can be."""

NO_PARAMETERS: Mapping[str, Parameter] = MappingProxyType({})


class Region(NamedTuple):
    """A part of shared memory that a client has registered: `byte_size` bytes from `offset` in `name`."""

    name: str
    byte_size: int
    offset: int = 0


class InputTensor(NamedTuple):
    """One input: `data` has the dtype of `datatype` and exactly `shape`; None where `region` holds it.

    `datatype` is the protocol's name, such as FP32. An array may be a view of the request's bytes, which
    lives as long as the request.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: Array | None
    region: Region | None = None


class OutputRequest(NamedTuple):
    """One output that is wanted.

    `classification` above 0 asks for that many best classes instead of the tensor. `binary` is for HTTP:
    whether it comes as bytes after the JSON text.
    """

    name: str
    classification: int = 0
    region: Region | None = None
    binary: bool = False


class InferRequest(NamedTuple):
    """One request: `version` is empty for whichever is served, `outputs` is empty for all."""

    model: str
    version: str
    id: str
    parameters: Mapping[str, Parameter]
    inputs: tuple[InputTensor, ...]
    outputs: tuple[OutputRequest, ...] = ()


class OutputTensor(NamedTuple):
    """One output: `data` [*shape] of the dtype of `datatype`, of objects (bytes) for BYTES.

    None where it was written to `region`, of which `byte_size` bytes are used.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: Array | None
    region: Region | None = None


class InferResponse(NamedTuple):
    """The answer: outputs in the order in which they were asked for, or the model's."""

    model: str
    version: str
    id: str
    parameters: Mapping[str, Parameter]
    outputs: tuple[OutputTensor, ...]
