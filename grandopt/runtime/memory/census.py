"""Counts the objects of this process by type."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import FunctionType
from typing import Any


@dataclass(frozen=True)
class Census:
    """Objects and their bytes by type name, and the tensors of torch among them.

    Bytes are what the objects say of themselves: those of a NumPy array include its memory where it owns it;
    `tensor_bytes` is the memory of the tensors on the CPU, shared memory once, and not among `bytes`.
    """

    types: Mapping[str, tuple[int, int]]
    tensors: int
    tensor_bytes: int

    @property
    def objects(self) -> int:
        return sum(count for count, _ in self.types.values())

    @property
    def bytes(self) -> int:
        return sum(size for _, size in self.types.values())


def take_census() -> Census:
    """Count everything that is tracked by the garbage collector or can be reached from that or from modules.

    This also finds arrays, numbers and strings, and frozen objects that a module leads to; not what only the
    local variables of running functions hold. It looks at every object: a few seconds per million of them,
    during which the GIL is held. For on demand, not for every reading.
    """
    # All of them are held until the end: the place of one that dies would be given to another.
    held: list[Any] = gc.get_objects()
    seen = {id(item) for item in held}
    frontier: list[Any] = [*held, sys.modules]
    seen.add(id(held))
    while frontier:
        found = gc.get_referents(*frontier)
        frontier = []
        for item in found:
            if id(item) not in seen:
                seen.add(id(item))
                frontier.append(item)
        del found
        held += frontier
    return _counted(held)


def _counted(items: Iterable[Any]) -> Census:
    torch = sys.modules.get("torch")
    tensor: type | None = getattr(torch, "Tensor", None)
    types: dict[type, tuple[int, int]] = {}
    storages: dict[int, int] = {}
    tensors = 0
    for item in items:
        kind = type(item)
        count, size = types.get(kind, (0, 0))
        types[kind] = (count + 1, size + _size(item, kind))
        if tensor is not None and issubclass(kind, tensor):
            tensors += 1
            storages.update(_storage(item))
    names: dict[str, tuple[int, int]] = {}
    for kind, (count, size) in types.items():
        name = _name(kind)
        before = names.get(name, (0, 0))
        names[name] = (before[0] + count, before[1] + size)
    return Census(names, tensors, sum(storages.values()))


def _size(item: Any, kind: type) -> int:
    """`sys.getsizeof`, but without running code of a class written in Python."""
    if isinstance(kind.__sizeof__, FunctionType):
        return object.__sizeof__(item)
    return sys.getsizeof(item, 0)


def _storage(tensor: Any) -> dict[int, int]:
    """Address and bytes of a tensor's memory; nothing for tensors without memory of the CPU."""
    try:
        storage = tensor.untyped_storage()
        if storage.device.type != "cpu":  # also those of torch's tracer, which only say that they are there
            return {}
        return {storage.data_ptr(): storage.nbytes()}
    except (RuntimeError, NotImplementedError, AttributeError, TypeError):  # sparse, fake, half-made
        return {}


def _name(kind: type) -> str:
    module = kind.__module__
    return kind.__qualname__ if module == "builtins" else f"{module}.{kind.__qualname__}"
