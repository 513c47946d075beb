"""Where the batch of a file may be: by a name, by a number, or nowhere."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from grandopt.compiler.checkpoints.onnx.document import Dim
from grandopt.errors import CheckpointError

MOST = 16
"""Readings that are tried."""

Shape = tuple[Dim, ...]


@dataclass(frozen=True)
class Reading:
    """One way to see a batch in a file.

    `axes` are where each input has it, None where the input has none. `built_in` is its size where the file
    fixes it. A file that is `looped` is followed for one row at a time, and its operators then made to take
    all rows at once; of any other the inputs simply get more rows. `whole` is the size of what may have
    been a batch, where all of it is one observation.
    """

    axes: tuple[int | None, ...]
    built_in: int | None
    looped: bool = False
    whole: int | None = None

    @property
    def single(self) -> bool:
        """Whether the file takes one observation, without a batch."""
        return all(axis is None for axis in self.axes)

    def words(self) -> str:
        """What a report says of it."""
        if self.whole is not None:
            return (
                f"{self.whole} fixed: no row could be taken alone, so one observation is all {self.whole} of "
                f"them; any number of such is taken, and each gives the same answer"
            )
        if self.single:
            return "none in the file; one was put in front, and each row gives the same answer"
        if self.built_in is None:
            return "dynamic batch from the file"
        return f"{self.built_in} in the file, made dynamic: each row gives the same answer"


@dataclass(frozen=True)
class Input:
    """An input as the file has it, and the axis of the batch where that was said."""

    name: str
    shape: Shape
    batch_axis: int | None = None


def readings(inputs: Sequence[Input], outputs: Sequence[Shape | None], where: str) -> list[Reading]:
    """All readings, the likeliest first; raises CheckpointError for sizes that nobody says.

    `outputs` are the shapes that the file states; a number that none of them has is no batch.
    """
    dynamic = [item for item in inputs if any(not isinstance(size, int) for size in item.shape)]
    if dynamic:
        return [_named(inputs, dynamic[0], where)]
    return list(itertools.islice(_numbered(inputs, outputs), MOST))


def _named(inputs: Sequence[Input], first: Input, where: str) -> Reading:
    """The reading by the name of a size, or by the one that has none."""
    places = [place for place, size in enumerate(first.shape) if not isinstance(size, int)]
    label = first.shape[places[0] if first.batch_axis is None else first.batch_axis]
    axes: list[int | None] = []
    for item in inputs:
        found = [place for place, size in enumerate(item.shape) if not isinstance(size, int)]
        own = [place for place in found if item.shape[place] == label]
        axis = item.batch_axis if item.batch_axis is not None else next(iter(own or found), None)
        for place in found:
            if place != axis:
                raise CheckpointError(
                    f"{where}: dimension {place} of input {item.name!r} is dynamic "
                    f"({item.shape[place] or 'no name'}), as is its batch (dimension {axis}); say the shape "
                    f"of one observation (`inputs: [{{name: {item.name}, shape: [...]}}]`, or --input)"
                )
        if axis is None:
            axis = next((place for place, size in enumerate(item.shape) if size == 1), None)
        if axis is None:
            raise CheckpointError(
                f"{where}: input {item.name!r} {list(item.shape)} has no batch, and input {first.name!r} has "
                f"one; export it with a batch in every input"
            )
        axes.append(axis)
    return Reading(tuple(axes), None)


def _numbered(inputs: Sequence[Input], outputs: Sequence[Shape | None]) -> Iterator[Reading]:
    """By a number that all inputs share, in front if they can have it there; then as one observation."""
    shape = inputs[0].shape
    size = shape[inputs[0].batch_axis or 0] if shape else None
    places = [_places(item, size) for item in inputs]
    usual = isinstance(size, int) and all(places) and (size == 1 or len(shape) > 1)
    usual = usual and any(stated is None or size in stated for stated in outputs)
    if usual:
        assert isinstance(size, int)
        for axes in itertools.islice(itertools.product(*places), MOST - 3):
            yield Reading(axes, size)
    if usual and size == 1:
        yield Reading(tuple(own[0] for own in places), 1, looped=True)
    none = (None,) * len(inputs)
    whole = size if usual and isinstance(size, int) and size > 1 else None
    yield Reading(none, None, whole=whole)
    yield Reading(none, None, looped=True, whole=whole)


def _places(item: Input, size: Dim) -> list[int]:
    if item.batch_axis is not None:
        return [item.batch_axis]
    return [place for place, own in enumerate(item.shape) if own == size]


def row_shape(item: Input, axis: int | None) -> tuple[int, ...]:
    """The shape of one observation."""
    return tuple(size for place, size in enumerate(item.shape) if place != axis and isinstance(size, int))


def said(inputs: Mapping[str, tuple[int, ...]], item: Input, where: str) -> Input:
    """The input with the sizes that the configuration says, which leave out the batch."""
    wanted = inputs.get(item.name)
    if wanted is None:
        return item
    fits = [
        axis
        for axis in range(len(item.shape))
        if len(wanted) == len(item.shape) - 1
        and all(
            not isinstance(size, int) or size == want
            for size, want in zip((*item.shape[:axis], *item.shape[axis + 1 :]), wanted, strict=True)
        )
    ]
    if not all(isinstance(size, int) for size in item.shape):
        fits = [axis for axis in fits if not isinstance(item.shape[axis], int)]
    if not fits:
        raise CheckpointError(
            f"{where}: 'inputs' says {list(wanted)} for {item.name!r}, and the file {list(item.shape)}, "
            f"batch included"
        )
    axis = fits[0] if item.batch_axis is None else item.batch_axis
    return Input(item.name, (*wanted[:axis], item.shape[axis], *wanted[axis:]), axis)
