"""Messages of gRPC services as tables: which field has which number and type.

Written in a notation of one line for a message, `1 name string, 2 shape int64*, 3 of {string: Part}`: a star
stands for several, braces for a map, and `name?choice` for one of which only one may be there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

SCALARS = {
    "double": 1,
    "float": 2,
    "int64": 3,
    "uint64": 4,
    "int32": 5,
    "bool": 8,
    "string": 9,
    "bytes": 12,
    "uint32": 13,
}
"""Their numbers among the types of protocol buffers."""

_FIELD = re.compile(
    r"(?P<number>\d+) (?P<name>\w+)(\?(?P<choice>\w+))? "
    r"(\{(?P<key>\w+): (?P<value>[\w.]+)\}|(?P<type>[\w.]+)(?P<repeated>\*?))"
)


@dataclass(frozen=True)
class Field:
    """One field: `type` is a scalar's, or the name of a message or an enumeration.

    `key` is the type of a map's keys, for a map; `choice` the group of which one alone may be there.
    """

    number: int
    name: str
    type: str
    repeated: bool = False
    key: str = ""
    choice: str = ""


@dataclass(frozen=True)
class Message:
    """A message by its name inside the package, such as `ModelMetadataResponse.TensorMetadata`."""

    name: str
    fields: tuple[Field, ...]

    @cached_property
    def by_name(self) -> dict[str, Field]:
        return {one.name: one for one in self.fields}

    @cached_property
    def by_number(self) -> dict[int, Field]:
        return {one.number: one for one in self.fields}


@dataclass(frozen=True)
class Call:
    """A call of a service, and whether either side is a stream of messages."""

    name: str
    request: str
    response: str
    streams_in: bool = False
    streams_out: bool = False


@dataclass(frozen=True)
class Schema:
    """The messages, enumerations and calls of one package, in one file of that name."""

    file: str
    package: str
    lines: Mapping[str, str]
    enumerations: Mapping[str, Mapping[str, int]]
    service: str = ""
    calls: tuple[Call, ...] = ()

    @cached_property
    def messages(self) -> dict[str, Message]:
        return {name: Message(name, tuple(_fields(line))) for name, line in self.lines.items()}


def _fields(line: str) -> list[Field]:
    found = [_FIELD.fullmatch(part) for part in re.split(r", (?=\d)", line)] if line else []
    return [
        Field(
            int(one["number"]),
            one["name"],
            one["type"] or one["value"],
            bool(one["repeated"]),
            one["key"] or "",
            one["choice"] or "",
        )
        for one in found
        if one is not None
    ]
