"""What a shared library asks others for: the dynamic symbols of an ELF file."""

from __future__ import annotations

import struct

from grandopt.errors import ArtifactError

HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
SECTION = struct.Struct("<IIQQQQIIQQ")
SYMBOL = struct.Struct("<IBBHQQ")
DYNAMIC_SYMBOLS = 11
"""The type of the section with them (SHT_DYNSYM of the ELF specification)."""
GLOBAL = 1
"""How strongly a symbol binds (STB_GLOBAL): a weak one may stay without a definition."""


def undefined(content: bytes) -> tuple[str, ...]:
    """The names that a library needs from others, sorted, without weak ones, which may be missing.

    Raises ArtifactError where the bytes are no 64-bit little-endian ELF file, or one that contradicts itself.
    """
    try:
        return tuple(sorted(_undefined(content)))
    except (struct.error, ValueError, IndexError) as error:
        raise ArtifactError(f"the shared library is damaged ({error}); build the artifact again") from error


def _undefined(content: bytes) -> set[str]:
    ident, *_, sections_at, _, _, _, _, size, count, _ = HEADER.unpack_from(content)
    if ident[:6] != b"\x7fELF\x02\x01" or size != SECTION.size:
        raise ValueError("no ELF file of 64 bits")
    sections = [SECTION.unpack_from(content, sections_at + i * size) for i in range(count)]
    found: set[str] = set()
    for _, kind, _, _, start, length, link, *_ in sections:
        if kind == DYNAMIC_SYMBOLS:
            names = sections[link][4]
            for at in range(start, start + length - length % SYMBOL.size, SYMBOL.size):
                name, info, _, section, _, _ = SYMBOL.unpack_from(content, at)
                if section == 0 and info >> 4 == GLOBAL:
                    first = names + name
                    found.add(content[first : content.index(b"\0", first)].decode("ascii"))
    return found
