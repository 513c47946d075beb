"""The code in a TorchScript archive, read before torch compiles it.

torch.jit.load runs code of the file by itself: `__setstate__` of every object in it, and whatever stands
where a class or the head of a function needs a value. So the code is taken apart here first, as far as is
needed to know which operators are called, and where. What torch writes is a small part of its language: text
in double quotes, ASCII, no comments. Anything beyond that is refused, so that nobody reads it otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from grandopt.compiler.checkpoints.vetting import operators

TOKEN = re.compile(
    r"(?P<space>[ \t]+)|(?P<line>\n)|(?P<name>[A-Za-z_]\w*)|(?P<number>\.?\d[\w.]*(?:(?<=[eE])[+-]\w+)?)|"
    r'(?P<text>"(?:[^"\\\n]|\\[^\n])*")|(?P<sign>->|[()\[\]{}:,.=+\-*/%<>!&|^~@;])',
    re.ASCII,
)

FUNCTIONS = """
    annotate unchecked_cast uninitialized isinstance int float complex bool str len print getattr hasattr
    range enumerate zip reversed tuple list dict sorted min max abs all any divmod ord chr hex oct bin round
    sum
"""
"""What the language has for functions of its own."""

OPENING = "__setstate__"
CLASSES = ("quantized", "rnn")
"""Namespaces of torch's own classes in C++ that hold packed weights; others may do anything when made."""

METHODS = ("unpack",)
"""Methods of those classes."""

LOOPS = ("while", "for")


class StrangeCodeError(Exception):
    """What the code holds that needs trust, as the rest of a sentence that begins with "it"."""


@dataclass(frozen=True)
class Token:
    """One word or sign; `indent` is the column of the first of a line, None for the others."""

    kind: str
    text: str
    indent: int | None = None


@dataclass
class ScriptFunction:
    """A function: the words of its head (arguments and their defaults) and of its body."""

    name: str
    indent: int
    head: list[Token] = field(default_factory=list)
    body: list[Token] = field(default_factory=list)


def require_plain(sources: Sequence[str]) -> bool:
    """Whether any of the sources loops without an end in sight (`while`).

    Raises StrangeCodeError naming the first operator that is not among those that only compute, anything but
    the packing of weights where code runs as the archive is opened, and code that torch would not write.
    """
    functions: list[ScriptFunction] = []
    outside: list[Token] = []
    for source in sources:
        _split(list(_tokens(source)), functions, outside)
    own = {function.name for function in functions}
    for tokens in (outside, *(function.head for function in functions)):
        _require_no_calls(tokens)
    for function in functions:
        known = own | _assigned(function.body)
        for call in _calls(function.body):
            _require_allowed(call, known)
    _require_quiet_opening(functions)
    every = [outside, *(part for function in functions for part in (function.head, function.body))]
    for tokens in every:
        _require_known_classes(tokens)
    return any(token.text == "while" for function in functions for token in function.body)


def _tokens(source: str) -> Iterator[Token]:
    place, depth, fresh, column, before = 0, 0, True, 0, ""
    while place < len(source):
        match = TOKEN.match(source, place)
        if match is None:
            raise StrangeCodeError(f"holds code with {source[place]!r} in it, which torch does not write")
        kind, text = str(match.lastgroup), match.group()
        place = match.end()
        if kind == "line":
            fresh, column = depth == 0, 0
        elif kind == "space":
            column = len(text)
        else:
            if kind == "text" and before in ("name", "text", "number"):
                raise StrangeCodeError(
                    f"holds the text {text[:40]} with a prefix, which torch does not write"
                )
            yield Token(kind, text, column if fresh else None)
            fresh = False
            if kind == "sign":
                depth += (text in "([{") - (text in ")]}")
        before = kind


def _split(tokens: list[Token], functions: list[ScriptFunction], outside: list[Token]) -> None:
    """Sort the words of one source into functions and what stands outside of them."""
    function: ScriptFunction | None = None
    index = 0
    while index < len(tokens):
        token = tokens[index]
        if function is not None and token.indent is not None and token.indent <= function.indent:
            function = None
        if token.text == "def" and token.indent is not None:
            if index + 1 == len(tokens) or tokens[index + 1].kind != "name":
                raise StrangeCodeError("holds a function without a name")
            if function is not None:
                raise StrangeCodeError(f"holds a function inside of {function.name!r}")
            function = ScriptFunction(tokens[index + 1].text, token.indent)
            functions.append(function)
            index = _head(tokens, index + 2, function)
            continue
        (outside if function is None else function.body).append(token)
        index += 1


def _head(tokens: list[Token], index: int, function: ScriptFunction) -> int:
    """Collect the head of a function, up to the colon that ends it; the index after that."""
    depth = 0
    for place in range(index, len(tokens)):
        token = tokens[place]
        if token.kind == "sign":
            depth += (token.text in "([{") - (token.text in ")]}")
        if token.text == ":" and depth == 0:
            return place + 1
        function.head.append(token)
    raise StrangeCodeError(f"holds the function {function.name!r} without an end")


def _require_no_calls(tokens: Sequence[Token]) -> None:
    """Refuse what computes where a value is taken as the archive is opened."""
    for place, token in enumerate(tokens):
        if token.text != "(" or place == 0:
            continue
        before = tokens[place - 1]
        named = before.kind == "name" and before.text not in ("annotate", "in", "return", "not", "and", "or")
        declares = place > 1 and tokens[place - 2].text == "class"
        if (named and not declares) or before.text in (")", "]", "}"):
            raise StrangeCodeError(f"calls {before.text!r} where a class or a function is defined")


@dataclass(frozen=True)
class _Call:
    """A dotted name that is called or stands for a function; `bound` if it is looked up in a value."""

    parts: tuple[str, ...]
    bound: bool
    called: bool


def _calls(tokens: Sequence[Token]) -> Iterator[_Call]:
    """Every dotted name that is called, or that begins with "torch" or "ops"."""
    place = 0
    while place < len(tokens):
        if tokens[place].kind != "name":
            place += 1
            continue
        bound = place > 0 and tokens[place - 1].text == "."
        parts = [tokens[place].text]
        place += 1
        while place + 1 < len(tokens) and tokens[place].text == "." and tokens[place + 1].kind == "name":
            parts.append(tokens[place + 1].text)
            place += 2
        called = place < len(tokens) and tokens[place].text == "("
        if called or (not bound and parts[0] in ("torch", "ops")):
            yield _Call(tuple(parts), bound, called)


def _assigned(tokens: Sequence[Token]) -> set[str]:
    """The variables: torch calls a function of the archive by way of one."""
    return {token.text for token, after in pairwise(tokens) if token.indent is not None and after.text == "="}


def _require_allowed(call: _Call, own: set[str]) -> None:
    """Refuse a call of anything but allowed operators, the language's functions and those of the archive."""
    first, last = call.parts[0], call.parts[-1]
    if not call.bound and first == "torch":
        _require_operator("aten", call.parts[1] if len(call.parts) > 1 else "")
    elif not call.bound and first == "ops":
        _require_operator(*(call.parts[1:3] if len(call.parts) > 2 else ("", "")))
    elif not call.bound and first == "__torch__":
        return
    elif call.bound or len(call.parts) > 1:
        if last not in own and last not in METHODS and not operators.allowed("aten", last):
            raise StrangeCodeError(f"calls the method {last!r}, which is not among those that only compute")
    elif first not in own and first not in KEYWORDS and first not in FUNCTIONS.split():
        raise StrangeCodeError(f"calls the function {first!r}, which is not among those that only compute")


KEYWORDS = frozenset(
    {"and", "or", "not", "if", "else", "elif", "in", "is", "return", "while", "for", "assert"}
)


def _require_operator(namespace: str, name: str) -> None:
    if not operators.allowed(namespace, name):
        raise StrangeCodeError(
            f"calls the operator '{namespace}::{name}', which is not among those that only compute"
        )


def _require_quiet_opening(functions: Sequence[ScriptFunction]) -> None:
    """Hold what runs as the archive is opened to the packing of weights, without loops."""
    reached, pending = [], [function for function in functions if function.name == OPENING]
    names: set[str] = {OPENING}
    while pending:
        function = pending.pop()
        reached.append(function)
        named = {token.text for token in function.body if token.kind == "name"} - names
        names |= named
        pending += [other for other in functions if other.name in named]
    for function in reached:
        for token in function.body:
            if token.text in LOOPS:
                raise StrangeCodeError(f"loops in {function.name!r}, which runs as it is opened")
        for call in _calls(function.body):
            _require_packing(call, function)


UNRAVELLING = """
    __getitem__ __contains__ __is__ __isnot__ __not__ len eq ne lt gt le ge format append list add Int Float
    Bool is_contiguous dtype numel size dim
"""
"""What takes no more time or memory than its arguments did."""


def _require_packing(call: _Call, function: ScriptFunction) -> None:
    parts = call.parts
    if not call.bound and parts[:2] == ("ops", "quantized"):
        fits = parts[2:3] and parts[2] in operators.PREPACK
    elif not call.bound and parts[:2] == ("ops", "prim"):
        fits = True
    elif not call.bound and parts[0] == "torch":
        fits = len(parts) == 2 and parts[1] in UNRAVELLING.split()
    elif not call.bound and len(parts) == 1:
        fits = parts[0] in KEYWORDS or parts[0] in FUNCTIONS.split()
    else:
        fits = parts[-1] in PACKING_METHODS
    if not fits:
        raise StrangeCodeError(f"calls {'.'.join(parts)!r} in {function.name!r}, which runs as it is opened")


PACKING_METHODS = frozenset({"set_weight_bias", "_weight_bias", "__setstate__", "unpack", "RuntimeError"})


def _require_known_classes(tokens: Sequence[Token]) -> None:
    texts = [token.text for token in tokens]
    for place, text in enumerate(texts):
        if text == "classes" and texts[place - 3 : place] == [".", "torch", "."]:
            namespace = texts[place + 2] if place + 2 < len(texts) else ""
            require_class(namespace)


def require_class(namespace: str) -> None:
    """Raise StrangeCodeError unless the classes of this namespace only hold packed weights."""
    if namespace not in CLASSES:
        raise StrangeCodeError(f"holds an object of a class in C++ ('torch.classes.{namespace}')")
