"""`grandopt inspect`: what is in a checkpoint or an artifact."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
    if not json:
        terminal.show(*lines(facts, longest=None if verbose else LONGEST))


def _artifact(path: Path) -> dict[str, Any]:
    if path.is_dir() and not (path / MANIFEST).is_file():
        raise ArtifactError(
            f"{path}: a folder without {MANIFEST}, so no artifact; name an artifact or a file"
        )
    from grandopt.artifacts.artifact import read
    from grandopt.reporting.figures import plain

    artifact = read(path)
    artifact.payloads()
    facts: dict[str, Any] = plain(artifact.manifest.model_dump(mode="json"))
    return {"kind": "artifact", "path": str(artifact.path), "digest": artifact.manifest.digest, **facts}


def _checkpoint(path: Path, *, trust: bool) -> dict[str, Any]:
    from grandopt.compiler.checkpoints.detect import describe
    from grandopt.reporting.figures import plain

    facts: dict[str, Any] = plain(describe(path, trust=trust))
    return {"kind": "checkpoint", "path": str(path), **facts}


def lines(facts: Mapping[str, Any], *, longest: int | None, indent: str = "") -> Iterator[str]:
    """`facts` as indented "name: value" lines; lists of more than `longest` items are cut, and say so."""
    for name, value in facts.items():
        label = f"{indent}{one_line(str(name))}:"
        if isinstance(value, Mapping) and value:
            yield label
            yield from lines(_cut(value, longest), longest=longest, indent=indent + "  ")
        elif isinstance(value, list) and any(isinstance(item, Mapping | list) for item in value):
            yield label
            shown = value if longest is None else value[:longest]
            yield from (f"{indent}  - {_inline(item)}" for item in shown)
            if len(shown) < len(value):
                yield f"{indent}  … {len(value) - len(shown)} more, shown with -v"
        else:
            yield f"{label} {_inline(value)}"


def _cut(facts: Mapping[str, Any], longest: int | None) -> Mapping[str, Any]:
    if longest is None or len(facts) <= longest:
        return facts
    kept = dict(list(facts.items())[:longest])
    return {**kept, "…": f"{len(facts) - longest} more, shown with -v"}


def _inline(value: Any) -> str:
    match value:
        case None:
            return "none"
        case bool():
            return "yes" if value else "no"
        case dict():
            said = (f"{name}={_inline(item)}" for name, item in value.items() if item is not None)
            return one_line(" ".join(said))
        case list():
            return f"[{', '.join(_inline(item) for item in value)}]"
        case _:
            return one_line(str(value))
