"""Seeded damage to a file: the same number gives the same damage on every machine."""

from __future__ import annotations

import contextlib
import io
import json
import pickletools
import struct
import zipfile
import zlib
from collections.abc import Callable
from random import Random
from typing import Any

import yaml

LENGTHS = (0, 1, 0x7F, 0xFF, 0xFFFF, 0x7FFF_FFFF, 0xFFFF_FFFF, 1 << 40, (1 << 63) - 1, (1 << 64) - 1)
ODD_TEXTS = (
    "",
    "\x00",
    "\ud800",
    "é\u202e",
    "../x",
    "x" * 5000,
    "__import__('os')",
    "9" * 5000,
    '"',
    "%s{0}",
)
ODD_VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 10**18, 10**30, 1e308, float("nan"), float("-inf"), [], {}, [[[[[]]]]], *ODD_TEXTS,
    {"a": {"b": [1, {"c": None}]}}, [10**9, 10**9],
)  # fmt: skip

ODD_LINES = (
    "x: &a [*a]", "? [1, 2]\n: 3", "seed: 2001-99-99", "seed: 2001-01-01", "seed: 1_0:99:99", "<<: *none",
    "!!python/object/apply:os.system [x]", "seed: " + "9" * 5000, "- " * 500, "a: " + "[" * 2000, "=: 1",
    "seed: !!binary x", "seed: .inf", "profile: !!set {a}", "threads: 0o99", "\x07: 1", "a: !!float x",
    "%YAML 9.9", "--- \n---", "seed: 1e999", "!!timestamp x: 1", "agents: !!omap [a: 1]", 'output: "\\0"',
)  # fmt: skip


def mutated(data: bytes, random: Random) -> bytes:
    """`data` with one to three pieces of damage of the kinds that its format can have."""
    kinds: list[Callable[[bytes, Random], bytes]] = [flipped, cut, spliced, lengthened, written_over]
    if data.startswith(b"PK"):
        kinds += [zip_member, zip_member, zip_member, zip_names, zip_header]
    elif data[:1] == b"\x80":
        kinds += [pickle_opcode] * 3
    elif data[:1] == b"{":
        kinds += [json_value] * 4
    elif data.isascii() and b"\n" in data and b"\x00" not in data:
        kinds += [yaml_value] * 4
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        data = random.choice(kinds)(data, random)
    return data


def flipped(data: bytes, random: Random) -> bytes:
    """A few bits the other way round."""
    changed = bytearray(data)
    for _ in range(random.randint(1, 8) if changed else 0):
        changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)
    return bytes(changed)


def cut(data: bytes, random: Random) -> bytes:
    """The beginning alone."""
    return data[: random.randrange(len(data) + 1)]


def spliced(data: bytes, random: Random) -> bytes:
    """A piece of the file once more, at another place."""
    if len(data) < 2:
        return data
    begin, to = random.randrange(len(data)), random.randrange(len(data))
    piece = data[begin : begin + random.randint(1, 64)]
    return data[:to] + piece + data[to + (len(piece) if random.random() < 0.5 else 0) :]


def lengthened(data: bytes, random: Random) -> bytes:
    """A number of 1 to 8 bytes that may be a length, at any place."""
    size = random.choice((1, 2, 4, 8))
    number = random.choice(LENGTHS) & ((1 << 8 * size) - 1)
    place = random.randrange(max(1, len(data) - size))
    return data[:place] + number.to_bytes(size, random.choice(("little", "big"))) + data[place + size :]


def written_over(data: bytes, random: Random) -> bytes:
    """A run of random bytes."""
    place, size = random.randrange(max(1, len(data))), random.randint(1, 32)
    return data[:place] + random.randbytes(size) + data[place + size :]


def _members(data: bytes) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return {name: archive.read(name) for name in archive.namelist()}
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, OSError, ValueError, EOFError, KeyError,
            zlib.error, struct.error, OverflowError, IndexError):  # fmt: skip
        return {}


def _zipped(members: dict[str, bytes], random: Random) -> bytes:
    buffer = io.BytesIO()
    method = zipfile.ZIP_DEFLATED if random.random() < 0.3 else zipfile.ZIP_STORED
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content, method)
    return buffer.getvalue()


def zip_member(data: bytes, random: Random) -> bytes:
    """One member damaged, with a checksum that fits."""
    members = _members(data)
    if not members:
        return flipped(data, random)
    name = random.choice(sorted(members))
    members[name] = mutated(members[name], random)
    return _zipped(members, random)


def zip_names(data: bytes, random: Random) -> bytes:
    """One member missing, or under another name, or with the content of another."""
    members = _members(data)
    if not members:
        return cut(data, random)
    name = random.choice(sorted(members))
    content = members.pop(name)
    match random.randrange(4):
        case 0:
            members[name.swapcase()] = content
        case 1:
            members[f"{name}{random.choice(('.so', '/x', '.json', '.pkl'))}"] = content
        case 2 if members:
            members[name] = members[random.choice(sorted(members))]
    return _zipped(members, random)


def zip_header(data: bytes, random: Random) -> bytes:
    """A field of one of the headers: flags, method, sizes, lengths of names, offsets."""
    signature = random.choice((b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"))
    places = [place for place in range(len(data)) if data.startswith(signature, place)]
    if not places:
        return flipped(data, random)
    place = random.choice(places) + random.randrange(4, 46)
    return data[:place] + struct.pack("<H", random.choice(LENGTHS) & 0xFFFF) + data[place + 2 :]


def pickle_opcode(data: bytes, random: Random) -> bytes:
    """One opcode replaced, left out or doubled."""
    places: list[int] = []
    with contextlib.suppress(ValueError, IndexError, OverflowError, TypeError):
        places += [place for _, _, place in pickletools.genops(data) if place is not None]
    if len(places) < 3:
        return flipped(data, random)
    index = random.randrange(len(places) - 1)
    begin, end = places[index], places[index + 1]
    code = random.choice(pickletools.opcodes).code.encode("latin-1")
    match random.randrange(4):
        case 0:
            return data[:begin] + code + data[begin + 1 :]
        case 1:
            return data[:begin] + data[end:]
        case 2:
            return data[:end] + data[begin:]
    return data[:begin] + code + data[begin:]


def json_value(data: bytes, random: Random) -> bytes:
    """One value of a JSON document replaced, left out, or under another name."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return flipped(data, random)
    changed = _changed(document, random)
    return json.dumps(changed).encode("utf-8", "surrogatepass")


def yaml_value(data: bytes, random: Random) -> bytes:
    """One value of a YAML document replaced, or a line of a kind that YAML has and JSON has not."""
    lines = data.decode("utf-8", "replace").splitlines()
    odd = ODD_LINES
    if random.random() < 0.5:
        place = random.randrange(len(lines) + 1)
        indent = " " * random.choice((0, 0, 2, 4))
        return "\n".join([*lines[:place], indent + random.choice(odd), *lines[place:]]).encode()
    try:
        document = yaml.safe_load(data)
    except (yaml.YAMLError, ValueError, RecursionError, TypeError, LookupError, AttributeError):
        return flipped(data, random)
    return yaml.safe_dump(_changed(document, random), allow_unicode=True).encode("utf-8", "surrogatepass")


def _changed(document: Any, random: Random) -> Any:
    places: list[tuple[Any, Any]] = []
    pending = [document]
    while pending:
        item = pending.pop()
        if isinstance(item, dict | list):
            places += [(item, key) for key in (item if isinstance(item, dict) else range(len(item)))]
            pending += item.values() if isinstance(item, dict) else item
    if not places:
        return random.choice(ODD_VALUES)
    holder, key = random.choice(places)
    match random.randrange(4):
        case 0:
            del holder[key]
        case 1 if isinstance(holder, dict):
            holder[random.choice(ODD_TEXTS)] = holder.pop(key)
        case _:
            holder[key] = random.choice(ODD_VALUES)
    return document
