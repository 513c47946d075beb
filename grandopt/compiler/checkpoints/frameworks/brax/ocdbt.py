"""The key-value store that Orbax keeps arrays in: OCDBT of TensorStore, as its documentation lays it out.

`manifest.ocdbt` says where the root of a B+tree lies: in which file of the folder, from which byte, how long.
The nodes of the tree lead to further nodes, and the leaves to the values, which stand in them or in a file.
All numbers are varints unless their width is given. Every file is in memory already: no other is opened.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import zstandard

from grandopt import limits
from grandopt.errors import CheckpointError

MANIFEST = "manifest.ocdbt"
MANIFEST_MAGIC, NODE_MAGIC = 0x0CDB3A2A, 0x0CDB20DE
HEADER = struct.Struct(">I")
LENGTH = struct.Struct("<Q")
CHECKSUM = struct.Struct("<I")

TREE_BYTES = 8 * limits.MIB
"""What all nodes may come to, each as often as it is led to, packed and inflated; that of an agent has a few
hundred bytes for each of its arrays."""

LONGEST_VARINT = 10
UUID_BYTES = 16
SINGLE_MANIFEST = 0
"""The kind of a manifest that is one file; others are numbered, for many processes that write at once."""

CASTAGNOLI = 0x82F63B78
"""The polynomial of CRC-32C, its bits reversed."""


def entries(contents: Mapping[str, bytes], where: str) -> dict[str, memoryview]:
    """Every key of the store with its value, from the files of its folder by their relative names.

    Raises CheckpointError, which `where` begins, for a store that is damaged, of a kind that is not known, or
    beyond the limits.
    """
    store = _Store(contents, where)
    return dict(store.entries())


@dataclass(frozen=True)
class _Place:
    """Where something lies: the file's name, the folder that names in it are relative to, and which bytes."""

    file: str
    folder: str
    offset: int
    length: int


class _Store:
    """One store, walked once."""

    def __init__(self, contents: Mapping[str, bytes], where: str) -> None:
        self._contents = contents
        self._where = where
        self._left = TREE_BYTES

    def damaged(self, what: str) -> CheckpointError:
        """The error for a store that is none."""
        return CheckpointError(f"{self._where}: its store of arrays is damaged: {what}")

    def entries(self) -> Iterator[tuple[str, memoryview]]:
        """Keys and values in the order of the tree."""
        root = self._root()
        pending = [] if root is None else [(*root, b"")]
        nodes = keys = 0
        while pending:
            place, height, prefix = pending.pop()
            nodes += 1
            body = self._body(self._bytes(place), NODE_MAGIC, place.file)
            if body.byte() != height:
                raise self.damaged(f"a node of {place.file} is not of the height that led to it")
            files = body.files(place.folder)
            count = body.count()
            keys += count
            if max(nodes, keys) > limits.MEMBERS:
                raise CheckpointError(f"{self._where}: its store holds more than {limits.MEMBERS:,} entries")
            if height == 0:
                yield from self._leaf(body, files, count, prefix)
            else:
                pending += self._children(body, files, count, prefix, height)

    def _root(self) -> tuple[_Place, int] | None:
        """The root of the newest version and its height; None for a store without entries."""
        if MANIFEST not in self._contents:
            raise self.damaged(f"{MANIFEST!r} is missing")
        body = self._body(memoryview(self._contents[MANIFEST]), MANIFEST_MAGIC, MANIFEST)
        body.take(UUID_BYTES)
        kind = body.number()
        if kind != SINGLE_MANIFEST:
            raise CheckpointError(f"{self._where}: its manifest is of kind {kind}; only single ones are read")
        body.numbers(2)  # the largest value in a leaf, the largest node
        body.take(1)  # the arity of the tree of versions
        if body.number() != 0:
            body.take(4)  # the level of compression
        files = body.files("")
        count = body.count()
        if count == 0:
            return None
        body.numbers(count)  # generations, the newest last
        heights = body.take(count)
        ids, offsets, lengths = (body.numbers(count) for _ in range(3))
        return body.place(files, ids[-1], offsets[-1], lengths[-1]), heights[-1]

    def _leaf(
        self, body: _Body, files: list[tuple[str, str]], count: int, prefix: bytes
    ) -> Iterator[tuple[str, memoryview]]:
        keys = body.keys(count)
        lengths = body.numbers(count)
        outside = [kind != 0 for kind in body.numbers(count)]
        ids, offsets = (iter(body.numbers(sum(outside))) for _ in range(2))
        for key, length, elsewhere in zip(keys, lengths, outside, strict=True):
            if elsewhere:
                value = self._bytes(body.place(files, next(ids), next(offsets), length))
            else:
                value = body.take(length)
            yield str(prefix + key, "utf-8", "replace"), value

    def _children(
        self, body: _Body, files: list[tuple[str, str]], count: int, prefix: bytes, height: int
    ) -> Iterator[tuple[_Place, int, bytes]]:
        prefixes, suffixes = body.key_lengths(count)
        shared = body.numbers(count)
        keys = body.joined(prefixes, suffixes)
        ids, offsets, lengths = (body.numbers(count) for _ in range(3))
        for index in range(count):
            place = body.place(files, ids[index], offsets[index], lengths[index])
            yield place, height - 1, prefix + keys[index][: shared[index]]

    def _bytes(self, place: _Place) -> memoryview:
        """The bytes of the place, which must be in a file of the folder."""
        content = self._contents.get(place.file)
        if content is None:
            raise self.damaged(f"{place.file!r:.80} is missing from the folder")
        if place.offset + place.length > len(content):
            raise self.damaged(f"{place.file} ends before byte {place.offset + place.length:,}")
        return memoryview(content)[place.offset : place.offset + place.length]

    def _body(self, data: memoryview, magic: int, name: str) -> _Body:
        """What stands between the header and the checksum of a manifest or node, inflated."""
        fixed = HEADER.size + LENGTH.size
        if len(data) < fixed + CHECKSUM.size or HEADER.unpack_from(data)[0] != magic:
            raise self.damaged(f"{name} does not begin like one of its files")
        if LENGTH.unpack_from(data, HEADER.size)[0] != len(data):
            raise self.damaged(f"{name} does not have the length that it states")
        self._spend(len(data))
        if crc32c(data[: -CHECKSUM.size]) != CHECKSUM.unpack(data[-CHECKSUM.size :])[0]:
            raise self.damaged(f"{name} does not have the checksum that it states")
        body = _Body(data[fixed : -CHECKSUM.size], self)
        version, compression = body.numbers(2)
        if version != 0 or compression not in (0, 1):
            raise CheckpointError(f"{self._where}: {name} is of version {version}, which is not known here")
        if compression == 0:
            return body
        content = inflated(body.rest(), self._left, f"{self._where}: {name}")
        self._spend(len(content))
        return _Body(content, self)

    def _spend(self, count: int) -> None:
        self._left -= count
        if self._left < 0:
            raise CheckpointError(
                f"{self._where}: the table of its arrays comes to more than {TREE_BYTES:,} bytes"
            )


class _Body:
    """The fields of a manifest or node, read from front to back."""

    def __init__(self, data: memoryview, store: _Store) -> None:
        self._data = data
        self._place = 0
        self._store = store

    def take(self, length: int) -> memoryview:
        """The next bytes."""
        if length > len(self._data) - self._place:
            raise self._store.damaged("a node ends too early")
        taken = self._data[self._place : self._place + length]
        self._place += length
        return taken

    def rest(self) -> memoryview:
        """All bytes that are left."""
        return self._data[self._place :]

    def byte(self) -> int:
        """The next byte."""
        return self.take(1)[0]

    def number(self) -> int:
        """The next varint."""
        value = 0
        for index in range(LONGEST_VARINT):
            byte = self.byte()
            value |= (byte & 0x7F) << (7 * index)
            if byte < 0x80:
                return value
        raise self._store.damaged("a number has no end")

    def count(self) -> int:
        """The next varint, of which many fields follow."""
        count = self.number()
        if count > len(self.rest()):
            raise self._store.damaged(f"{count:,} entries are said to follow")
        return count

    def numbers(self, count: int) -> list[int]:
        """So many varints."""
        return [self.number() for _ in range(count)]

    def key_lengths(self, count: int) -> tuple[list[int], list[int]]:
        """Of each key, how many bytes it shares with the one before it, and how many follow."""
        return [0, *self.numbers(max(count - 1, 0))][:count], self.numbers(count)

    def joined(self, prefixes: list[int], suffixes: list[int]) -> list[bytes]:
        """The keys of those lengths."""
        keys: list[bytes] = []
        for shared, own in zip(prefixes, suffixes, strict=True):
            before = keys[-1] if keys else b""
            if shared + own > limits.LONGEST_SHOWN * 4 or shared > len(before):
                raise self._store.damaged(f"a key has {shared + own:,} bytes")
            keys.append(before[:shared] + bytes(self.take(own)))
        return keys

    def keys(self, count: int) -> list[bytes]:
        """So many keys, each written as what differs from the one before."""
        return self.joined(*self.key_lengths(count))

    def files(self, folder: str) -> list[tuple[str, str]]:
        """The table of files: the name of each, and the folder that what is in it is relative to."""
        count = self.count()
        prefixes, suffixes = self.key_lengths(count)
        bases = self.numbers(count)
        paths = self.joined(prefixes, suffixes)
        return [
            (folder + str(path, "utf-8", "replace"), folder + str(path[:base], "utf-8", "replace"))
            for path, base in zip(paths, bases, strict=True)
        ]

    def place(self, files: list[tuple[str, str]], number: int, offset: int, length: int) -> _Place:
        """The place in the file of that number in the table."""
        if number >= len(files):
            raise self._store.damaged(f"it names file {number} of {len(files)}")
        return _Place(*files[number], offset, length)


def inflated(data: memoryview | bytes, most: int, where: str) -> memoryview:
    """What a Zstandard frame holds; raises CheckpointError where that is damaged or above `most` bytes."""
    try:
        with zstandard.ZstdDecompressor(max_window_size=limits.INFLATED_BYTES).stream_reader(data) as stream:
            content = stream.read(most + 1)
    except (zstandard.ZstdError, MemoryError) as error:
        raise CheckpointError(f"{where}: is damaged: {error}") from error
    if len(content) > most:
        raise CheckpointError(f"{where}: inflates to more than {most:,} bytes; it is not read")
    return memoryview(content)


def crc32c(data: memoryview) -> int:
    """The checksum that the store's files end with."""
    value = 0xFFFFFFFF
    for byte in data:
        value = TABLE[(value ^ byte) & 0xFF] ^ (value >> 8)
    return value ^ 0xFFFFFFFF


def _table() -> tuple[int, ...]:
    found = []
    for value in range(256):
        for _ in range(8):
            value = (value >> 1) ^ (CASTAGNOLI if value & 1 else 0)
        found.append(value)
    return tuple(found)


TABLE = _table()
"""Of each byte, its part in the checksum."""
