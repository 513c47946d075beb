"""The object in a torch file, walked within the limits.

A pickle of two kilobytes can hold a list of lists that share their members, forty levels deep: finite in
memory, and without end for whoever walks it path by path. A tensor of a few bytes can have strides of zero
and a shape of gigabytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch

from grandopt import limits
from grandopt.errors import CheckpointError

CONTAINERS = (Mapping, list, tuple, set, frozenset)


def require_bounded(content: Any, held: int, where: str) -> None:
    """Raise CheckpointError when `content`, from a file that holds `held` bytes, exceeds the limits.

    Those are on depth, on the number of values, on the bytes that tensors claim beside those in the file, and
    on the bytes that they come to with each of their names counted.
    """
    storages: dict[int, int] = {}
    viewed = unheld = 0
    for tensor in _tensors(content, where):
        if tensor.layout != torch.strided or tensor.device.type != "cpu":
            continue
        size = tensor.numel() * tensor.element_size()
        storage = tensor.untyped_storage()
        storages[storage._cdata] = storage.nbytes()
        viewed += size
        unheld += max(0, size - storage.nbytes())
    unheld += max(0, sum(storages.values()) - held)
    if unheld > limits.INFLATED_BYTES:
        raise CheckpointError(
            f"{where}: its tensors claim {unheld:,} bytes more than the {held:,} that it holds; at most "
            f"{limits.INFLATED_BYTES:,} are made up"
        )
    most = limits.REPETITION * held + limits.INFLATED_BYTES
    if viewed > most:
        raise CheckpointError(
            f"{where}: its tensors come to {viewed:,} bytes, each name counted; at most {most:,} are read "
            f"from {held:,} bytes"
        )


def _tensors(content: Any, where: str) -> Iterator[torch.Tensor]:
    """Every tensor, as often as a container holds it; no container is looked into twice."""
    seen: set[int] = set()
    count = 0
    pending = [(content, 0)]
    while pending:
        item, depth = pending.pop()
        count += 1
        if count > limits.VALUES:
            raise CheckpointError(f"{where}: holds more than {limits.VALUES:,} values")
        if isinstance(item, torch.Tensor):
            yield item
        elif isinstance(item, CONTAINERS) and id(item) not in seen:
            if depth == limits.DEPTH:
                raise CheckpointError(f"{where}: holds containers more than {limits.DEPTH} levels deep")
            seen.add(id(item))
            values = item.values() if isinstance(item, Mapping) else item
            pending.extend((value, depth + 1) for value in values)
