"""Does a network answer from its inputs alone? Found by calling it twice and looking at what it has kept.

Looked at are its tensors and attributes, not only its answers: what is kept may change them late, or by
little. Archives are read instead (`scripted.effects`).
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from grandopt.compiler.capture.agreement import difference
from grandopt.compiler.program import FORWARD_ERRORS, evaluate
from grandopt.errors import SignatureError

DEEPEST = 4
"""How far containers in containers are looked into."""

_OWN = frozenset(vars(torch.nn.Module()))
"""What every module holds beside its author's attributes."""

_REMEDY = "take it as an input and give the next one as an output, and declare the two with 'state'"


def require_steady(module: torch.nn.Module, example: Sequence[torch.Tensor]) -> None:
    """Raise SignatureError for a network that keeps something between calls, or samples; it says which.

    The network has run on `example` before, so that what it makes once, at its first call, is there.
    """
    before = dict(_marks(module))
    first = evaluate(module, example)
    after = dict(_marks(module))
    for name in (name for name in after if not _alike(before.get(name), after[name])):
        if name in dict(_tensors(module)):
            raise SignatureError(f"forward writes buffer {name!r} at each call: it keeps state; {_REMEDY}")
        if _reads(module, name, example, first):
            raise SignatureError(
                f"forward changes attribute {name!r} at each call: it keeps state; {_REMEDY}"
            )
    if difference(first, evaluate(module, example)) is None:
        return
    with _seeded(0):
        one = evaluate(module, example)
    with _seeded(0):
        other = evaluate(module, example)
    if difference(one, other) is None:
        raise SignatureError(
            "the network draws random numbers, so one observation has many answers; give the network without "
            "sampling: its mean or arg max (often `deterministic=True`)"
        )
    raise SignatureError(
        f"the network answers equal inputs differently: it keeps something between calls outside its buffers "
        f"and attributes, or has a random source of its own; {_REMEDY}"
    )


def _tensors(module: torch.nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    yield from module.named_parameters(remove_duplicate=False)
    yield from module.named_buffers(remove_duplicate=False)


def _marks(module: torch.nn.Module) -> Iterator[tuple[str, Any]]:
    """All that a module holds, by name, each as something that differs once it was changed."""
    for name, parameter in module.named_parameters(remove_duplicate=False):
        yield name, (parameter, _version(parameter))
    for name, buffer in module.named_buffers(remove_duplicate=False):
        yield name, (buffer, _version(buffer), _content(buffer))
    for prefix, part in module.named_modules():
        for name, value in vars(part).items():
            if name not in _OWN:
                yield f"{prefix}.{name}".lstrip("."), _mark(value)


def _version(tensor: torch.Tensor) -> int:
    """How often a tensor was written to; those made in inference mode do not count it."""
    return 0 if tensor.is_inference() else tensor._version


def _content(tensor: torch.Tensor) -> bytes:
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_meta:
        return b""
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def _mark(value: object, depth: int = 0) -> Any:
    match value:
        case torch.Tensor():
            return (value, _version(value))
        case np.ndarray():
            return (value, value.tobytes())
        case bool() | int() | float() | complex() | str() | bytes() | None:
            return repr(value)
        case torch.Generator():
            return _content(value.get_state())
        case list() | tuple() | deque() if depth < DEEPEST:
            return [_mark(item, depth + 1) for item in value]
        case Mapping() if depth < DEEPEST:
            return [(repr(key), _mark(item, depth + 1)) for key, item in value.items()]
        case _:
            return (value,)


def _alike(before: Any, after: Any) -> bool:
    """Whether two marks are of the same thing: the same object where it is none that marks spell out."""
    if isinstance(before, tuple | list) and isinstance(after, tuple | list):
        return len(before) == len(after) and all(map(_alike, before, after))
    if isinstance(before, str | bytes | int) and isinstance(after, str | bytes | int):
        return before == after
    return before is after


def _reads(
    module: torch.nn.Module, name: str, example: Sequence[torch.Tensor], expected: tuple[torch.Tensor, ...]
) -> bool:
    """Whether the answer depends on an attribute: whether it changes when something else stands there."""
    prefix, _, attribute = name.rpartition(".")
    part = module.get_submodule(prefix)
    kept = vars(part)[attribute]
    vars(part)[attribute] = object()
    try:
        return difference(expected, evaluate(module, example)) is not None
    except FORWARD_ERRORS:
        return True
    finally:
        vars(part)[attribute] = kept


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Within the block the usual sources of random numbers begin anew; afterwards they go on as before."""
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)
