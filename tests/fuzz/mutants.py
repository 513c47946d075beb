"""Artifacts that somebody or something has changed: seeded mutations of whole artifact folders."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from grandopt.artifacts.manifest import UNCOVERED

ODD: tuple[Any, ...] = (
    0, 1, -1, -5, 7, 64, 2**31, 2**63, 10**30, 1.5, 1e300, float("nan"), float("inf"), "", "x", "\ud800",
    "\0", "environ", "printf", "float64", "int8", "../../etc/passwd", True, False, None, [], {}, [1], [[]],
    [0, 0, 0], ["x"], {"x": 1}, {"": None}, "x" * 5000, list(range(300)),
)  # fmt: skip


class Mutant(NamedTuple):
    """A changed artifact; `sealed` says that its digest was computed anew, or taken away."""

    folder: Path
    base: str
    change: str
    sealed: bool


def mutant(number: int, bases: dict[str, Path], into: Path) -> Mutant:
    """Mutation `number`, the same at each call; always of an artifact of `bases`."""
    draw = random.Random(number)
    base = draw.choice(sorted(bases))
    folder = into / f"{number:05d}"
    shutil.copytree(bases[base], folder)
    kind = draw.choice(("manifest",) * 6 + ("text", "payload", "payload"))
    if kind == "manifest":
        change, sealed = _changed_manifest(draw, folder)
        return Mutant(folder, base, change, sealed)
    if kind == "text":
        return Mutant(folder, base, _changed_text(draw, folder / "manifest.json"), False)
    other = bases[draw.choice(sorted(bases))]
    return Mutant(folder, base, _changed_payload(draw, folder, other), False)


def sealed(data: dict[str, Any]) -> dict[str, Any]:
    """The manifest with a digest that fits it, as somebody who knows how it is computed writes it."""
    core = {name: value for name, value in data.items() if name not in {*UNCOVERED, "digest"}}
    return {**data, "digest": hashlib.sha256(json.dumps(core, sort_keys=True).encode()).hexdigest()}


def _changed_manifest(draw: random.Random, folder: Path) -> tuple[str, bool]:
    path = folder / "manifest.json"
    data = json.loads(path.read_text())
    changes = [_changed_field(draw, data) for _ in range(draw.choice((1, 1, 1, 2, 5)))]
    match draw.choice(("as it is", "sealed", "earlier")):
        case "sealed":
            data, mark = sealed(data), True
        case "earlier":  # pretends to be from before digests were stated
            data.pop("digest", None)
            data["format_version"], mark = 1, True
        case _:
            mark = False
    path.write_text(json.dumps(data))
    return "; ".join(changes), mark


def _changed_field(draw: random.Random, data: dict[str, Any]) -> str:
    places = list(_places(data, ()))
    # As often as the numbers of the evidence: what an engine is told.
    weighty = [place for place in places if place[0] in ("options", "signature", "payload", "contract")]
    place = draw.choice(weighty if weighty and draw.random() < 0.8 else places)
    holder: Any = data
    for step in place[:-1]:
        holder = holder[step]
    name = place[-1]
    before = holder[name]
    match draw.choice(("odd", "odd", "near", "gone", "deep", "twice")):
        case "near" if isinstance(before, int) and not isinstance(before, bool):
            holder[name] = draw.choice(
                (before - 1, before + 1, before * 2, before // 2, before + 64, -before)
            )
        case "near" if isinstance(before, str):
            holder[name] = before[: len(before) // 2] + draw.choice("ab0_/") + before[len(before) // 2 :]
        case "gone":
            del holder[name]
            return f"{place} gone"
        case "deep":
            nested: Any = before
            for _ in range(draw.choice((1, 3, 400))):
                nested = [nested]
            holder[name] = nested
            return f"{place} nested"
        case "twice" if isinstance(before, list) and before:
            holder[name] = before + before
        case _:
            holder[name] = copy.deepcopy(draw.choice(ODD))
    return f"{place}: {before!r:.60} -> {holder[name]!r:.60}"


def _places(value: Any, at: tuple[Any, ...]) -> Any:
    items: Any = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    for name, item in items:
        yield (*at, name)
        yield from _places(item, (*at, name))


def _changed_text(draw: random.Random, path: Path) -> str:
    content = bytearray(path.read_bytes())
    match draw.choice(("cut", "bits", "insert", "swapped lines", "empty")):
        case "cut":
            del content[draw.randrange(len(content)) :]
        case "bits":
            _flip(draw, content)
        case "insert":
            at = draw.randrange(len(content))
            content[at:at] = draw.choice((b"\0", b"\xff", b"[" * 100_000, b"9" * 6000, b"\\ud800", b'"'))
        case "swapped lines":
            lines = content.splitlines(keepends=True)
            draw.shuffle(lines)
            content = bytearray(b"".join(lines))
        case _:
            content.clear()
    path.write_bytes(content)
    return f"text of the manifest, {len(content)} bytes"


def _flip(draw: random.Random, content: bytearray) -> None:
    for _ in range(draw.choice((1, 1, 8))):
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)


def _changed_payload(draw: random.Random, folder: Path, other: Path) -> str:
    names = sorted(path.name for path in folder.iterdir() if path.name != "manifest.json")
    path = folder / draw.choice(names)
    strange: dict[str, Callable[[], object]] = {
        "link to /dev/zero": lambda: path.symlink_to("/dev/zero"),
        "link to nothing": lambda: path.symlink_to(folder / "nothing"),
        "link to itself": lambda: path.symlink_to(path),
        "fifo": lambda: os.mkfifo(path),
        "folder": lambda: path.mkdir(),
        "gone": lambda: None,
        "empty": lambda: path.write_bytes(b""),
    }
    content = bytearray(path.read_bytes())
    change = draw.choice((*strange, "bits", "bits", "cut", "longer", "swapped", "swapped"))
    if change in strange:
        if draw.random() < 0.1:
            path = folder / "manifest.json"
        path.unlink()
        strange[change]()
        return f"{path.name}: {change}"
    if change == "bits":
        _flip(draw, content)
    elif change == "cut":
        del content[draw.randrange(len(content)) :]
    elif change == "longer":
        content += b"\0"
    else:
        others = [item for item in sorted(other.iterdir()) if item.name not in ("manifest.json", path.name)]
        content = bytearray(draw.choice(others).read_bytes()) if others else bytearray()
    path.write_bytes(content)
    return f"{path.name}: {change}"
