"""The C functions that a header carries with it: those that its text calls, and what these call."""

from __future__ import annotations

import functools
import re
from importlib import resources

FILES = (("plain", "scalar.h"), ("render", "mathematics.h"))
"""Where they are written, `v_` before each name. Of a name that both have, the first counts."""

_NAME = re.compile(r"\bv_(\w+)")
_FIRST = re.compile(r"INLINE \w+ v_(\w+)\(")


def functions(text: str) -> str:
    """The functions that `text` calls as `v_NAME`, in an order in which C can read them.

    Each is written once, however many headers are included together.
    """
    known = _known()
    ordered: dict[str, None] = {}

    def need(name: str) -> None:
        if name in ordered or name not in known:
            return
        for other in _NAME.findall(known[name]):
            if other != name:
                need(other)
        ordered[name] = None

    for name in _NAME.findall(text):
        need(name)
    return "\n".join(
        f"#ifndef GRANDOPT_{name.upper()}\n#define GRANDOPT_{name.upper()}\n{known[name]}\n#endif"
        for name in ordered
    )


def named(text: str) -> str:
    """C text with the names that functions have in a header: `grandopt_NAME` for `v_NAME`."""
    return _NAME.sub(r"grandopt_\1", text)


@functools.cache
def _known() -> dict[str, str]:
    """Every function by its name, as text over plain numbers."""
    known: dict[str, str] = {}
    for folder, file in FILES:
        source = resources.files(f"grandopt.compiler.backends.native.{folder}").joinpath(file)
        for text in _definitions(source.read_text(encoding="utf-8")):
            found = _FIRST.match(text)
            if found is not None:
                known.setdefault(found[1], _scalar(text))
    return known


def _definitions(text: str) -> list[str]:
    """The functions of a file: from INLINE to the closing brace of the same line or at a line's start."""
    found, lines = [], iter(text.splitlines())
    for line in lines:
        if not line.startswith("INLINE"):
            continue
        body = [line]
        while not body[-1].endswith("}") or (len(body) > 1 and body[-1] != "}"):
            body.append(next(lines))
        found.append("\n".join(body))
    return found


def _scalar(text: str) -> str:
    """A function of vectors as one of numbers, without comments."""
    text = re.sub(r"\s*/\*.*?\*/", "", text, flags=re.DOTALL)
    text = re.sub(r"\n\s*ROUNDED\(\w+\);", "", text)
    text = re.sub(r"\bv_set1\(([^()]*)\)", r"(\1)", text)
    text = re.sub(r"\bvf\b", "float", text)
    text = re.sub(r"\bvm\b", "int", text)
    return text.replace("INLINE", "static", 1)
