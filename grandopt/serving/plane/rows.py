"""Requests that came together and ask the same of different numbers, answered together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter_ns
from typing import NamedTuple

import numpy as np

from grandopt.errors import GrandoptError
from grandopt.serving.plane.model import Model
from grandopt.serving.plane.outputs import OutputKind
from grandopt.serving.protocol.datatypes import DTYPES
from grandopt.serving.protocol.errors import ProtocolError, refused
from grandopt.serving.protocol.messages import InferRequest, OutputRequest
from grandopt.signature import FITS, Array

_now = perf_counter_ns


class RowsAnswered(NamedTuple):
    """The answers to the first `rows` of some requests: for each output, what it is, and [rows, *shape].

    `refusal` is what the next request is refused with, if it is. Where that is the first of all, there are no
    `outputs`.
    """

    model: str
    version: str
    rows: int
    outputs: tuple[tuple[OutputKind, Array], ...]
    refusal: ProtocolError | None


def infer_rows(
    model: Model, request: InferRequest, data: Sequence[Array], began: int, over: Callable[[], bool]
) -> RowsAnswered | None:
    """The answers to requests of one row each, computed here and now, as far as that goes until it is `over`.

    All are `request` with their own numbers: `data` has one array [n, *shape] for each of its inputs, with
    the shape of its own one row left out. None where they are to be asked one by one, whatever the reason;
    nothing is counted then.
    """
    arrays, places = _arrays(model, request, data), _wanted(model, request)
    if arrays is None or places is None:
        return None
    counts, checked = model.counts, _now()
    try:
        found = model.agent.rows_at_once(arrays, over)
    except GrandoptError:
        return None  # whoever asks for the first of them alone is told
    if found is None:
        return None
    ended, rows = _now(), len(found.outputs[0]) if found.outputs else 0
    kinds = model.outputs.kinds
    outputs = tuple((kinds[place], found.outputs[place]) for place in places if rows)
    if any(one.dtype != DTYPES[kind.datatype] or one.shape[1:] != kind.shape for kind, one in outputs):
        return None  # not what was declared: each is written as it is
    counts.last_ns = began
    counts.success += rows
    counts.rows += rows
    # Each of them took as long as all together.
    counts.input_ns += rows * (checked - began)
    counts.once_ns += rows * (ended - checked)
    counts.request_ns += rows * (_now() - began)
    refusal = None
    if found.refusal is not None:
        refusal = refused(found.refusal)
        counts.failed(refusal, _now() - began)
    served = model.served
    return RowsAnswered(served.name, served.version, rows, outputs, refusal)


def _arrays(model: Model, request: InferRequest, data: Sequence[Array]) -> tuple[Array, ...] | None:
    """The agent's inputs [n, *shape] in calling order; None where a request does not fit as it is."""
    kinds, given = model.inputs.kinds, request.inputs
    places = {tensor.name: place for place, tensor in enumerate(given)}
    if request.parameters or len(given) != len(kinds) or len(places) != len(kinds):
        return None
    arrays = []
    for kind in kinds:
        place = places.get(kind.name)
        if place is None:
            return None
        tensor, array = given[place], data[place]
        if tensor.datatype != kind.datatype or tensor.shape != (1, *kind.shape) or tensor.region is not None:
            return None
        if array.dtype == bool:
            array = array.view(np.uint8) != 0  # a byte of the protocol may be any
        arrays.append(array if array.flags.num & FITS == FITS else np.require(array, None, ("C", "A")))
    return tuple(arrays)


def _wanted(model: Model, request: InferRequest) -> Sequence[int] | None:
    """Which outputs are asked for, in that order; None where one is no plain tensor, or not the agent's."""
    names = [kind.name for kind in model.outputs.kinds]
    if not request.outputs:
        return range(len(names)) or None
    found = [names.index(one.name) for one in request.outputs if one.name in names and _plain(one)]
    return found if len(set(found)) == len(request.outputs) else None


def _plain(one: OutputRequest) -> bool:
    return not one.classification and one.region is None
