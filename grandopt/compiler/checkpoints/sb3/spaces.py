"""Observation and action spaces, from the text that SB3 leaves of them in the zip.

A space stands there as a JSON object of its attributes ("low": "[-1. -1.]", "shape": [2]). The members of
a Dict space stand in one string, as gym or gymnasium print them: "{'a': Box(-1.0, 1.0, (3,), float32)}".
NumPy prints at most 1000 elements of an array and "..." for the rest, and up to 8 decimals, so bounds are
exact to about 1e-8.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from reprlib import repr as shown
from typing import Any

from grandopt import limits
from grandopt.errors import CheckpointError

NUMBER = re.compile(r"[-+]?(?:inf|nan|\d+\.?\d*(?:e[-+]?\d+)?|\.\d+(?:e[-+]?\d+)?)", re.IGNORECASE)
CLASS_NAME = re.compile(r"<class '(?:\w+\.)*spaces\.(?:\w+\.)*(\w+)'>")
PRINTED = re.compile(r"(\w+)\((.*)\)", re.DOTALL)
LONGEST_NUMBER, LONGEST_NAME = 12, 500
"""Digits of a size, and characters of a name."""

LITERAL_ERRORS = (ValueError, SyntaxError, TypeError, MemoryError, RecursionError)
"""What ast.literal_eval raises on text that is no literal."""

OPENING, CLOSING = "([{", ")]}"


@dataclass(frozen=True)
class Box:
    """Numbers of `dtype` within `low` … `high`: one value for all, one per element, or None if unknown."""

    shape: tuple[int, ...]
    dtype: str
    low: float | tuple[float, ...] | None
    high: float | tuple[float, ...] | None

    @property
    def is_image(self) -> bool:
        """Whether SB3 takes it for an image: three dimensions of uint8 from 0 to 255."""
        return len(self.shape) == 3 and self.dtype == "uint8" and self.low == 0 and self.high == 255


@dataclass(frozen=True)
class Discrete:
    """One of the numbers 0 … n - 1."""

    n: int


@dataclass(frozen=True)
class MultiDiscrete:
    """Several numbers, the i-th one of 0 … nvec[i] - 1."""

    nvec: tuple[int, ...]


@dataclass(frozen=True)
class MultiBinary:
    """Bits of the given shape."""

    shape: tuple[int, ...]


@dataclass(frozen=True)
class Dict:
    """Named spaces, in the order in which SB3 joins their features."""

    spaces: Mapping[str, Simple]


Simple = Box | Discrete | MultiDiscrete | MultiBinary
Space = Simple | Dict


def parse(data: Any, what: str) -> Space:
    """The space that a JSON object of the zip describes; `what` names it in errors.

    Raises CheckpointError for a kind of space that SB3 has no policies for, or an attribute that is
    missing or cannot be read.
    """
    if not isinstance(data, Mapping):
        raise CheckpointError(f"{what}: is not in the zip's text (got {shown(data)})")
    said = str(data.get(":type:"))[:LONGEST_NAME]
    match = CLASS_NAME.fullmatch(said)
    kind = match.group(1) if match else said
    match kind:
        case "Box":
            shape = _shape(data.get("_shape", data.get("shape")), what)
            low, high = (_bound(data, side, shape, what) for side in ("low", "high"))
            return Box(shape, str(data.get("dtype")), low, high)
        case "Discrete":
            return _discrete(data.get("n"), data.get("start"), what)
        case "MultiDiscrete":
            return _multi_discrete(data.get("nvec"), data.get("start"), what)
        case "MultiBinary":
            return MultiBinary(_binary_shape(data.get("n"), what))
        case "Dict":
            return Dict(_members(data.get("spaces"), what))
    raise CheckpointError(
        f"{what}: spaces of the kind {kind} are not supported; SB3's policies take Box, Discrete, "
        f"MultiDiscrete, MultiBinary and Dict"
    )


def _members(text: Any, what: str) -> dict[str, Simple]:
    if not isinstance(text, str):
        raise CheckpointError(f"{what}: the members of the Dict space are not in the zip's text")
    inner = text.strip()
    for prefix in ("OrderedDict(", "Dict(", "dict("):
        if inner.startswith(prefix) and inner.endswith(")"):
            inner = inner[len(prefix) : -1].strip()
    if inner[:1] not in tuple(OPENING) or inner[-1:] not in tuple(CLOSING):
        raise CheckpointError(f"{what}: cannot read the members of the Dict space: {text[:80]!r}")
    members: dict[str, Simple] = {}
    pairs_in_brackets = inner.startswith("[")
    for item in split(inner[1:-1], ","):
        if pairs_in_brackets:
            pair = split(item.strip().removeprefix("(").removesuffix(")"), ",", 1)
        else:
            pair = split(item, ":", 1)
        try:
            key, space = pair
            name = ast.literal_eval(key.strip()[:LONGEST_NAME])
        except LITERAL_ERRORS as error:
            raise CheckpointError(f"{what}: cannot read {item.strip()[:80]!r} of the Dict space") from error
        members[str(name)] = printed(space.strip(), f"{what}[{name!r}]")
    if not members:
        raise CheckpointError(f"{what}: the Dict space has no members")
    return members


def printed(text: str, what: str) -> Simple:
    """The space in a printed form, such as "Box(0, 255, (3, 84, 84), uint8)" or "Discrete(4)"."""
    match = PRINTED.fullmatch(text)
    kind, arguments = (match.group(1), list(split(match.group(2), ","))) if match else (text, [])
    named = dict(argument.strip().split("=", 1) for argument in arguments if "=" in argument)
    plain = [argument.strip() for argument in arguments if "=" not in argument and argument.strip()]
    match kind:
        case "Box" if len(plain) == 4:
            shape = _shape(plain[2], what)
            low, high = (_numbers(text, math.prod(shape)) for text in plain[:2])
            return Box(shape, plain[3], low, high)
        case "Box" if plain and all(part.strip("(), ").isdecimal() for part in plain):
            # gym before 0.18 printed the shape only; without the dtype an image cannot be told
            shape = tuple(int(part.strip("(), ")) for part in plain)
            if len(shape) == 3:
                raise CheckpointError(f"{what}: {text} does not say whether it is an image")
            return Box(shape, "float32", None, None)
        case "Discrete":
            return _discrete(plain[0] if plain else None, named.get("start"), what)
        case "MultiDiscrete":
            return _multi_discrete(plain[0] if plain else None, named.get("start"), what)
        case "MultiBinary":
            return MultiBinary(_binary_shape(", ".join(plain), what))
    raise CheckpointError(f"{what}: cannot read the space {text[:80]!r}")


def split(text: str, separator: str, limit: int = -1) -> Iterator[str]:
    """`text` split at `separator`, but not inside brackets or quotes; empty parts at the end are dropped."""
    depth, quote, begin = 0, "", 0
    for index, character in enumerate(text):
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character in OPENING:
            depth += 1
        elif character in CLOSING:
            depth -= 1
        elif character == separator and depth == 0 and limit != 0:
            yield text[begin:index]
            begin, limit = index + 1, limit - 1
    if text[begin:].strip():
        yield text[begin:]


def _shape(value: Any, what: str) -> tuple[int, ...]:
    sizes = value
    if isinstance(value, str):
        found = re.findall(r"\d+", value)
        sizes = [int(number) if len(number) <= LONGEST_NUMBER else 0 for number in found]
    if not isinstance(sizes, list) or not all(type(size) is int and size > 0 for size in sizes):
        raise CheckpointError(f"{what}: has no readable shape (got {shown(value)})")
    if math.prod(sizes) > limits.INPUT_ELEMENTS:
        raise CheckpointError(
            f"{what}: has {math.prod(sizes):,} elements; at most {limits.INPUT_ELEMENTS:,} are read"
        )
    return tuple(sizes)


def _bound(data: Mapping[str, Any], side: str, shape: tuple[int, ...], what: str) -> Any:
    """One bound of a Box; `low_repr`, where gymnasium left one, is short when the array was cut."""
    value = data.get(side)
    if isinstance(value, float) or (isinstance(value, int) and abs(value) < 1 << 64):
        return float(value)
    bound = _numbers(str(value), math.prod(shape))
    if bound is None:
        bound = _numbers(str(data.get(f"{side}_repr")), math.prod(shape))
    return bound


def _numbers(text: str, elements: int) -> float | tuple[float, ...] | None:
    """The numbers in a printed array; one for all where all are equal; None where they are not all there.

    Of a cut array ("[0 0 ... 0 0]") the visible elements, about a thousand at most, must be equal.
    """
    found = tuple(float(number) for number in NUMBER.findall(text.replace("...", " ")))
    if found and len(set(found)) == 1 and (len(found) in (1, elements) or "..." in text):
        return found[0]
    return found if len(found) == elements and "..." not in text else None


def _whole(value: Any, what: str) -> int:
    text = str(value).strip()
    if not text.isascii() or not text.isdecimal() or len(text) > LONGEST_NUMBER or int(text) < 1:
        raise CheckpointError(f"{what}: has no readable size (got {shown(value)})")
    if int(text) > limits.CHOICES:
        raise CheckpointError(f"{what}: has {int(text):,} values; at most {limits.CHOICES:,} are read")
    return int(text)


def _discrete(n: Any, start: Any, what: str) -> Discrete:
    _require_zero(start, what)
    return Discrete(_whole(n, what))


def _multi_discrete(nvec: Any, start: Any, what: str) -> MultiDiscrete:
    _require_zero(start, what)
    text = str(nvec)
    if text.count("[") > 1 or "..." in text:
        raise CheckpointError(f"{what}: a MultiDiscrete space must be one row of sizes, got {text}")
    sizes = tuple(_whole(number, what) for number in re.findall(r"\d+", text))
    if not sizes:
        raise CheckpointError(f"{what}: has no readable sizes (got {shown(nvec)})")
    if sum(sizes) > limits.CHOICES:
        raise CheckpointError(f"{what}: has {sum(sizes):,} values; at most {limits.CHOICES:,} are read")
    return MultiDiscrete(sizes)


def _require_zero(start: Any, what: str) -> None:
    if any(float(number) != 0 for number in NUMBER.findall(str(start or 0))):
        raise CheckpointError(f"{what}: begins at {start}; SB3's policies count from 0")


def _binary_shape(n: Any, what: str) -> tuple[int, ...]:
    sizes = re.findall(r"\d+", str(n))
    if not sizes:
        raise CheckpointError(f"{what}: has no readable size (got {shown(n)})")
    return _shape([_whole(size, what) for size in sizes], what)
