"""`grandopt inspect`: what is in a checkpoint or an artifact."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sized
from pathlib import Path
from typing import Annotated, Any

import typer

from grandopt.cli.console import Terminal
from grandopt.cli.options import Json, Quiet, Trust, Verbose
from grandopt.errors import ArtifactError
from grandopt.reporting.log import one_line

MANIFEST = "manifest.json"
LONGEST = 12


def inspect(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A checkpoint file or an artifact's folder.")],
    trust: Trust = False,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Show what is in a checkpoint or an artifact.

    Nothing in the file is run, and the payload of an artifact is checked against its digests. With -v every
    entry of a long list is shown.

    \b
    Example:
      grandopt inspect ppo-LunarLander-v2.zip
      grandopt inspect artifacts/decision_gate
    """
    facts = _artifact(path) if path.is_dir() or path.name == MANIFEST else _checkpoint(path, trust=trust)
    terminal = Terminal(as_json=json, quiet=quiet, verbose=verbose)
    terminal.document(facts)
    terminal.lines(outline(facts, longest=None if verbose else LONGEST))


def _artifact(path: Path) -> dict[str, Any]:
    if path.is_dir() and not (path / MANIFEST).is_file():
        raise ArtifactError(
            f"{path}: a folder without {MANIFEST}, so no artifact; name an artifact or a file"
        )
    from grandopt.artifacts.artifact import read

    artifact = read(path)
    artifact.verify()
    manifest = artifact.manifest
    return {"kind": "artifact", "path": str(artifact.path), "digest": manifest.digest, **manifest.to_json()}


def _checkpoint(path: Path, *, trust: bool) -> dict[str, Any]:
    from grandopt.compiler.checkpoints.detect import describe
    from grandopt.reporting.figures import plain

    facts: dict[str, Any] = plain(describe(path, trust=trust))
    return {"kind": "checkpoint", "path": str(path), **facts}


def outline(facts: Mapping[str, Any], *, longest: int | None, indent: str = "") -> Iterator[str]:
    """`facts` as indented "name: value" lines; what has more than `longest` entries is cut, and says so."""
    for name, value in facts.items():
        label = f"{indent}{one_line(str(name))}:"
        if isinstance(value, Mapping) and value:
            yield label
            yield from outline(_first(value, longest), longest=longest, indent=indent + "  ")
            yield from _rest(value, longest, indent)
        elif isinstance(value, list) and any(isinstance(item, Mapping | list) for item in value):
            yield label
            for item in value[:longest]:
                yield from _item(item, longest, indent + "  ")
            yield from _rest(value, longest, indent)
        else:
            yield f"{label} {_inline(value)}"


def _item(item: Any, longest: int | None, indent: str) -> Iterator[str]:
    """One entry of a list: on one line if it holds no list of entries itself, else as a block."""
    nested = isinstance(item, Mapping) and any(_is_deep(value) for value in item.values())
    if not nested:
        yield f"{indent}- {_inline(item)}"
        return
    block = list(outline(item, longest=longest, indent=indent + "  "))
    yield f"{indent}- {block[0].strip()}"
    yield from block[1:]


def _is_deep(value: Any) -> bool:
    return isinstance(value, Mapping) or (
        isinstance(value, list) and any(isinstance(item, Mapping | list) for item in value)
    )


def _first(facts: Mapping[str, Any], longest: int | None) -> Mapping[str, Any]:
    return dict(list(facts.items())[:longest])


def _rest(value: Sized, longest: int | None, indent: str) -> Iterator[str]:
    if longest is not None and len(value) > longest:
        yield f"{indent}  … {len(value) - longest} more, shown with -v"


def _inline(value: Any) -> str:
    match value:
        case None | {} if not value:
            return "none"
        case bool():
            return "yes" if value else "no"
        case dict():
            named = [str(value["name"])] if "name" in value else []
            said = [
                f"{key}={_inline(item)}" for key, item in value.items() if key != "name" and item is not None
            ]
            return one_line(" ".join(named + said))
        case list():
            return f"[{', '.join(_inline(item) for item in value)}]"
        case _:
            return one_line(str(value))
