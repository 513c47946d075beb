"""How deep JSON is nested."""

from __future__ import annotations

import re

_BRACKETS = b"[]{}"
_OTHERS = bytes(byte for byte in range(256) if byte not in _BRACKETS)
_TEXTS = re.compile(rb'"(?:[^"\\]|\\.)*+"', re.DOTALL)


def deeper(text: bytes, most: int) -> bool:
    """Whether lists and objects in a JSON text are nested more than `most` deep.

    Of a text that is no JSON it says anything; the parser refuses that.
    """
    if text.count(b"[") + text.count(b"{") <= most:
        return False
    brackets = _TEXTS.sub(b"", text).translate(None, _OTHERS)
    for _ in range(most):
        if not brackets:
            return False
        brackets = brackets.replace(b"[]", b"").replace(b"{}", b"")
    return bool(brackets)
