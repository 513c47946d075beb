"""Strict checks of plain data from a JSON file, each refusal naming the field.

Written out instead of left to a library of models: a process that loads an agent reads one manifest, and
importing such a library costs more time and memory than everything else that loading does.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Any

from grandopt.errors import ArtifactError


def fields_of(kind: Any, data: Any) -> dict[str, Any]:
    """`data` as the keyword arguments of the dataclass `kind`, after a check of its names.

    Raises ArtifactError when it is no object, lacks a field without a default, or has an unknown one.
    """
    if not isinstance(data, Mapping):
        raise ArtifactError(f"must be an object, is {shown(data)}")
    known = {field.name: field for field in fields(kind)}
    for name in data:
        if name not in known:
            raise ArtifactError(f"field {name}: is unknown; known are {', '.join(known)}")
    for name, field in known.items():
        if name not in data and field.default is MISSING and field.default_factory is MISSING:
            raise ArtifactError(f"field {name}: is missing")
    return dict(data)


def text(name: str, value: Any, allowed: Collection[str] = ()) -> None:
    """Raise ArtifactError unless `value` is a string, and one of `allowed` where there are any."""
    if not isinstance(value, str):
        raise ArtifactError(f"field {name}: must be a string, is {shown(value)}")
    if allowed and value not in allowed:
        raise ArtifactError(f"field {name}: must be one of {', '.join(allowed)}, is {shown(value)}")


def whole(name: str, value: Any, least: int) -> None:
    """Raise ArtifactError unless `value` is a whole number of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise ArtifactError(f"field {name}: must be a whole number, is {shown(value)}")
    if value < least:
        raise ArtifactError(f"field {name}: must be at least {least}, is {value}")


def flag(name: str, value: Any) -> None:
    """Raise ArtifactError unless `value` is true or false."""
    if not isinstance(value, bool):
        raise ArtifactError(f"field {name}: must be true or false, is {shown(value)}")


def table(name: str, value: Any) -> None:
    """Raise ArtifactError unless `value` is an object: names → anything."""
    if not isinstance(value, dict):
        raise ArtifactError(f"field {name}: must be an object, is {shown(value)}")
    for key in value:
        text(f"{name}, name of an entry", key)


def texts(name: str, value: Any) -> tuple[str, ...]:
    """A list of strings as a tuple; raises ArtifactError for anything else."""
    for index, item in enumerate(items(name, value)):
        text(f"{name}.{index}", item)
    return tuple(value)


def items(name: str, value: Any) -> Sequence[Any]:
    """`value`, which must be a list or tuple; raises ArtifactError for anything else."""
    if not isinstance(value, list | tuple):
        raise ArtifactError(f"field {name}: must be a list, is {shown(value)}")
    return value


def shown(value: Any) -> str:
    """A value in a message: short, on one line."""
    said = repr(value)
    return said if len(said) <= 60 else f"{said[:59]}…"


def plain(value: Any) -> Any:
    """`value` as JSON can say it: lists for tuples, null for a number that is not finite.

    Raises TypeError for what has no such form.
    """
    if isinstance(value, Mapping):
        return {_name(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    raise TypeError(f"{type(value).__name__} {shown(value)} has no form in JSON")


def _name(key: Any) -> str:
    if isinstance(key, str | int) and not isinstance(key, bool):
        return str(key)
    raise TypeError(f"{shown(key)} cannot be a name in JSON")
