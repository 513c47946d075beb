"""The JSON of a `.pt2` program, checked field by field and built anew as torch's own records.

What torch's reader is given is built here: every text has to fit the rule of its field, a field without a
rule is refused, and what a program does not need (metadata, guards, where its code came from) is left out.
"""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from enum import IntEnum
from typing import Any

from torch._export.serde import schema

from grandopt import limits
from grandopt.compiler.checkpoints.exported.rules import RULES, parsed, untrusted
from grandopt.errors import CheckpointError

DROPPED: dict[tuple[str, str], Any] = {
    ("Node", "metadata"): {},
    ("GraphModule", "metadata"): {},
    ("GraphModule", "treespec_namedtuple_fields"): {},
    ("ExportedProgram", "guards_code"): [],
}


def program(document: Any, where: str) -> schema.ExportedProgram:
    """The program in a JSON document whose operators and guards were checked; `where` names it in errors.

    Raises UntrustedError naming a text that its field may not hold, CheckpointError for what is no program.
    """
    return _Builder(where).build(schema.ExportedProgram, document)


def payload(data: bytes, where: str) -> schema.PayloadConfig:
    """The table of tensors in the JSON text `data`; raises like `program`."""
    return _Builder(where).build(schema.PayloadConfig, parsed(data, where))


class _Builder:
    """Builds records of torch's schema; `where` names the document in errors."""

    def __init__(self, where: str) -> None:
        self._where = where

    def build(self, kind: Any, value: Any, place: tuple[str, str] = ("", ""), depth: int = 0) -> Any:
        """`value` as a `kind`; `place` is the record and the field that it stands in."""
        if depth > limits.DEPTH:
            raise CheckpointError(f"{self._where}: is nested more than {limits.DEPTH} levels deep")
        origin = typing.get_origin(kind)
        if origin is typing.Annotated:
            return self.build(typing.get_args(kind)[0], value, place, depth)
        if origin in (typing.Union, types.UnionType):
            return None if value is None else self.build(typing.get_args(kind)[0], value, place, depth)
        if origin is list:
            inner = typing.get_args(kind)[0]
            return [self.build(inner, item, place, depth + 1) for item in self._a(list, value, place)]
        if origin is dict:
            inner = typing.get_args(kind)[1]
            pairs = self._a(dict, value, place).items()
            return {
                self._text((*place, "key"), key): self.build(inner, item, place, depth + 1)
                for key, item in pairs
            }
        if dataclasses.is_dataclass(kind):
            return self._record(kind, self._a(dict, value, place), place, depth)
        return self._plain(kind, value, place)

    def _record(self, kind: Any, value: dict[str, Any], place: tuple[str, str], depth: int) -> Any:
        name, hints = kind.__name__, _hints(kind)
        if name in ("CustomObjArgument", "TokenArgument"):
            raise untrusted(self._where, f"an object of a class of its own ({name})")
        if name == "Device":
            return schema.Device(type="cpu", index=None)
        union = hasattr(kind, "create")
        if union and (len(value) != 1 or next(iter(value)) not in hints):
            raise self._wrong(place, f"a {name}", value)
        built = {}
        for field, hint in hints.items():
            if field not in value:
                continue
            if (name, field) in DROPPED:
                built[field] = DROPPED[name, field].copy()
            else:
                built[field] = self.build(hint, value[field], (name, field), depth + 1)
        try:
            return kind.create(**built) if union else kind(**built)
        except TypeError as error:
            raise CheckpointError(f"{self._where}: {name} is incomplete: {error}") from error

    def _plain(self, kind: Any, value: Any, place: tuple[str, str]) -> Any:
        if kind is str:
            return self._text(place, value)
        if kind is float and (type(value) in (int, float) or value in ("Infinity", "-Infinity", "NaN")):
            try:
                return float(value)
            except OverflowError as error:
                raise self._wrong(place, "a number", value) from error
        if issubclass(kind, IntEnum):
            if type(value) is not int or value not in tuple(kind):
                raise self._wrong(place, f"a {kind.__name__}", value)
            return kind(value)
        if kind in (int, bool) and type(value) is kind:
            if abs(value) >= 1 << 63:
                raise self._wrong(place, "a number of 64 bits", value)
            return value
        raise self._wrong(place, f"a {kind.__name__}", value)

    def _a(self, kind: type[Any], value: Any, place: tuple[str, str]) -> Any:
        if not isinstance(value, kind):
            raise self._wrong(place, f"a {kind.__name__}", value)
        return value

    def _wrong(self, place: tuple[str, str], expected: str, value: Any) -> CheckpointError:
        at = ".".join(part for part in place if part) or "the document"
        shown = type(value).__name__ if isinstance(value, dict | list) else f"{value!r:.60}"
        return CheckpointError(f"{self._where}: is damaged: {at} should be {expected}, got {shown}")

    def _text(self, place: tuple[str, ...], value: Any) -> str:
        if not isinstance(value, str):
            raise self._wrong((place[0], place[1]), "a text", value)
        rule = RULES.get(place)
        if rule is None:
            raise untrusted(self._where, f"the field {'.'.join(place)}, which is not known here")
        problem = rule(value)
        if problem is not None:
            raise untrusted(self._where, problem)
        return value


@functools.cache
def _hints(kind: Any) -> dict[str, Any]:
    hints = typing.get_type_hints(kind, vars(schema))
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}
