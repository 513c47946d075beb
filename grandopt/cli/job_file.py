"""A `grandopt.yaml` for checkpoints: what is in a file is filled in, what is not is asked for."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from grandopt.errors import OutputError
from grandopt.reporting.log import one_line

INDENT = "  "
HIDDEN = "ACTIVATION"
"""What stands in an entry for what only the author of the network knows."""


def entries(described: Mapping[str, tuple[Path, Mapping[str, Any]]], target: Path) -> str:
    """The agents of a `grandopt.yaml` at `target` as text: by name, each file with what `describe` says.

    A file that holds several networks becomes an agent for each. What a file does not say stands in
    capitals, with a comment.
    """
    lines: list[str] = []
    for name, (path, facts) in described.items():
        place = str(path) if path.is_absolute() else os.path.relpath(path, target.parent)
        for suffix, entry in _agents(facts):
            agent = re.sub(r"[^A-Za-z0-9_.-]", "_", f"{name}-{suffix}" if suffix else name)
            lines += [
                f"{agent}:",
                f"{INDENT}checkpoint: {_scalar(place)}",
                *(INDENT + line for line in entry),
            ]
    return "".join(f"{INDENT}{line}\n" for line in lines)


def write_new(file: Path, text: str) -> None:
    """Write a file that is not there yet; raises OutputError where it is, or cannot be written."""
    try:
        with file.open("x", encoding="utf-8") as stream:
            stream.write(text)
    except FileExistsError as error:
        raise OutputError(
            f"{file} exists and is not overwritten; move it away or name another file"
        ) from error
    except OSError as error:
        raise OutputError(f"{file}: cannot be written ({error.strerror})") from error


def _agents(facts: Mapping[str, Any]) -> Iterator[tuple[str, list[str]]]:
    """The agents in a file: what tells one from the others, and the lines of its entry below `checkpoint`."""
    if "state_dicts" in facts and "framework" not in facts:
        yield from _networks(facts)
        return
    lines = [f"# {line}" for line in _asked(facts)]
    match facts["format"]:
        case "torchscript":
            if "inputs" not in facts:
                lines.append(f"method: METHOD  # {', '.join(facts['methods'])}")
            lines += _inputs([str(name) for name in facts.get("inputs", [])] or ["obs"])
        case "pickled":
            lines += ["trust: false  # true runs code from the file: only if you made it", *_inputs(["obs"])]
        case "safetensors":
            lines += _network(facts)
    yield "", lines


def _asked(facts: Mapping[str, Any]) -> list[str]:
    """What else has to be said, in words."""
    return [f"asked for: {one_line(str(item))}" for item in facts.get("asks", [])]


def _networks(facts: Mapping[str, Any]) -> Iterator[tuple[str, list[str]]]:
    """An agent for each network that a file of state dicts spells; for each state dict if it spells none."""
    places = [part for found in facts["state_dicts"] for part in found.get("parts", [found])]
    spelled = [place for place in places if "spells" in place] or places
    asked = [f"# {line}" for line in _asked(facts)]
    for place in spelled:
        key = str(place["key"])
        suffix = key if len(spelled) > 1 else ""
        yield suffix, [*asked, *([f"key: {_scalar(key)}"] if key else []), *_network(place)]


def _network(facts: Mapping[str, Any]) -> list[str]:
    """How the network of weights is made."""
    parts = facts.get("parts", [])
    if parts:
        return [f"key: {_scalar(parts[0]['key'])}", *_network(parts[0])]
    if "spells" not in facts:
        return ["network: MODULE:CALLABLE  # what makes the network of these weights", *_inputs(["obs"])]
    word = str(facts["network"]).partition(":")[0]
    lines = [
        f"# {one_line(str(facts['spells']))}",
        f"network: {word}:{HIDDEN}  # or {word}:{HIDDEN},OUTPUT, such as {word}:relu,tanh",
    ]
    if "network_args" in facts:
        lines.append("network_args: " + _flow(facts["network_args"]))
        lines.append("inputs: " + _flow(facts["inputs"]))
    return lines


def _inputs(names: list[str]) -> list[str]:
    shapes = [{"name": name, "shape": ["SIZE"]} for name in names]
    return [f"inputs: {_flow(shapes)}  # without the batch dimension"]


def _flow(value: Any) -> str:
    return yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10_000).strip()


def _scalar(text: str) -> str:
    """A text as YAML has it on one line, quoted where it must be."""
    return yaml.safe_dump([text], default_flow_style=True, width=10_000, allow_unicode=True).strip()[1:-1]
