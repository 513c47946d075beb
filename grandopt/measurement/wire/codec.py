"""Requests and answers as lines of JSON: one way to write them, and one strict way to read them.

A line is an object: of a request, its kind and its fields; of an answer, its fields, or `error` alone, which
is the worker's refusal. A frozen dataclass stands for each on both sides. Numbers, texts, truth values and
None are themselves, a tuple is a list, a path and a member of a StrEnum are their texts, a dataclass within
another is an object. Where a field may have one of two types, the other is None.

Reading is strict: a field that is missing, one field too many, or a value of another type is an error that
names its place.
"""

from __future__ import annotations

import json
import types
from dataclasses import dataclass, fields, is_dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from grandopt.errors import GrandoptError, MeasurementError

AnswerT = TypeVar("AnswerT")
RequestT = TypeVar("RequestT", bound="Request[Any]")


class Request(Generic[AnswerT]):
    """What a worker is asked for; `Request[Answer]` says what it answers.

    A kind of request is declared as a frozen dataclass `class Measure(Request[Timings], kind="measure")`.
    """

    kind: ClassVar[str]
    answer_type: ClassVar[type[Any]]

    def __init_subclass__(cls, kind: str) -> None:
        super().__init_subclass__()
        cls.kind = kind
        (cls.answer_type,) = get_args(cls.__orig_bases__[0])  # type: ignore[attr-defined]

    def misfit(self, answer: AnswerT) -> str | None:
        """Why an answer that can be read is none to this request; None where it is one."""
        return None


@dataclass(frozen=True)
class Done:
    """The answer to a request after which there is nothing to say."""


@dataclass(frozen=True)
class RefusedRequest:
    """The worker could not do what it was asked for, in its own words; it can be asked again."""

    reason: str


class _UnfitError(Exception):
    """A value that is not what its place asks for."""


def request_line(request: Request[Any]) -> bytes:
    """A request for the wire."""
    return json.dumps({"kind": request.kind, **_plain(request)}).encode() + b"\n"


def answer_line(answer: object) -> bytes:
    """An answer, or a RefusedRequest, for the wire."""
    plain = {"error": answer.reason} if isinstance(answer, RefusedRequest) else _plain(answer)
    return json.dumps(plain).encode() + b"\n"


@dataclass(frozen=True)
class Asked:
    """A request as it came; its kind says how it is to be read."""

    kind: str
    fields: dict[str, Any]

    def read(self, as_: type[RequestT]) -> RequestT:
        """The request, of the class of its kind; raises MeasurementError where it is not exactly that."""
        if self.kind != as_.kind:
            raise self.unknown()
        try:
            found: RequestT = _value(as_, self.fields, "")
        except _UnfitError as error:
            raise MeasurementError(f"the request {self.kind!r} cannot be read: {error}") from error
        return found

    def unknown(self) -> MeasurementError:
        """The error for a kind that the worker does not know."""
        return MeasurementError(f"unknown kind of job {self.kind!r}")


def asked(line: bytes) -> Asked:
    """The request in a line that `request_line` wrote."""
    given = json.loads(line)
    return Asked(given.pop("kind"), given)


def read_answer(request: Request[AnswerT], line: bytes) -> AnswerT | RefusedRequest:
    """The answer to a request, or the worker's refusal; raises `unreadable` for what is neither."""
    try:
        given = json.loads(line)
    except ValueError as error:
        raise unreadable(request, f"it did not answer in JSON: {line[:80]!r}") from error
    if not isinstance(given, dict):
        raise unreadable(request, f"it did not answer with a JSON object: {line[:80]!r}")
    if "error" in given:
        return RefusedRequest(str(given["error"]))
    try:
        answer: AnswerT = _value(request.answer_type, given, "")
    except _UnfitError as error:
        raise unreadable(request, str(error)) from error
    problem = request.misfit(answer)
    if problem is not None:
        raise unreadable(request, problem)
    return answer


def unreadable(request: Request[Any], problem: str) -> MeasurementError:
    """The error for whatever a worker answered that does not fit its request."""
    return MeasurementError(f"the worker's answer to {request.kind!r} cannot be read: {problem}")


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _value(wanted: Any, given: Any, place: str) -> Any:
    """What is given, as the type that is wanted; raises _UnfitError with the place where it does not fit."""
    if wanted is Any or (wanted in (int, str, bool, type(None)) and type(given) is wanted):
        return given
    if wanted is float and type(given) in (int, float):
        return float(given)
    if wanted is Path and type(given) is str:
        return Path(given)
    if isinstance(wanted, type) and issubclass(wanted, StrEnum) and given in list(wanted):
        return wanted(given)
    if is_dataclass(wanted) and isinstance(given, dict):
        return _record(wanted, given, place)
    origin, arguments = get_origin(wanted), get_args(wanted)
    if origin is Literal and given in arguments:
        return given
    if origin is tuple and isinstance(given, list):
        return _items(arguments, given, place)
    if origin is dict and isinstance(given, dict):
        return {key: _value(arguments[1], item, f"{place}[{key!r}]") for key, item in given.items()}
    if origin in (Union, types.UnionType):
        if given is None and type(None) in arguments:
            return None
        (only,) = (argument for argument in arguments if argument is not type(None))
        return _value(only, given, place)
    name = getattr(wanted, "__name__", str(wanted)) if origin is None else str(wanted)
    raise _UnfitError(f"{place or 'it'} is {_shown(given)} instead of {name}")


def _record(wanted: Any, given: dict[str, Any], place: str) -> Any:
    expected = _types(wanted)
    where = f"{place}." if place else ""
    for name in expected:
        if name not in given:
            raise _UnfitError(f"{where}{name} is missing")
    for name in given:
        if name not in expected:
            raise _UnfitError(f"{where}{name} is not known")
    values = {name: _value(kind, given[name], where + name) for name, kind in expected.items()}
    try:
        return wanted(**values)
    except GrandoptError as error:
        raise _UnfitError(f"{where}{error}") from error


def _items(kinds: tuple[Any, ...], given: list[Any], place: str) -> tuple[Any, ...]:
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        kinds = kinds[:1] * len(given)
    if len(kinds) != len(given):
        raise _UnfitError(f"{place} holds {len(given)} values instead of {len(kinds)}")
    return tuple(
        _value(kind, item, f"{place}[{number}]")
        for number, (kind, item) in enumerate(zip(kinds, given, strict=True))
    )


@cache
def _types(wanted: Any) -> dict[str, Any]:
    hints = get_type_hints(wanted)
    return {field.name: hints[field.name] for field in fields(wanted)}


def _shown(given: Any) -> str:
    text = repr(given)
    return text if len(text) <= 80 else f"{text[:80]}…"
