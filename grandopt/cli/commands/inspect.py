"""`grandopt inspect`: what is in a checkpoint or an artifact."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sized
from pathlib import Path
from typing import Annotated, Any

import typer

from grandopt.cli.console import Terminal
from grandopt.cli.options import Json, Quiet, RequireSignature, Trust, Verbose
from grandopt.errors import ArtifactError, ConfigError
from grandopt.reporting.log import one_line

MANIFEST = "manifest.json"
LONGEST = 12


def inspect(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A checkpoint or an artifact's folder.")],
    write: Annotated[
        Path | None,
        typer.Option("--write", metavar="FILE.yaml", help="Write a job with an entry for the checkpoint."),
    ] = None,
    trust: Trust = False,
    require_signature: RequireSignature = None,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Show what is in a checkpoint or an artifact.

    Nothing in the file is run, and the payload of an artifact is checked against its digests. With -v every
    entry of a long list is shown. --write makes a grandopt.yaml of a checkpoint, as `grandopt init` does; an
    existing file is never overwritten.

    \b
    Example:
      grandopt inspect ppo-LunarLander-v2.zip
      grandopt inspect actor.pth --write grandopt.yaml
      grandopt inspect artifacts/decision_gate
    """
    holds_agent = _holds_agent(path)
    if require_signature is not None and holds_agent:
        raise ConfigError(f"--require-signature is for artifacts, but {path} is a checkpoint; leave it out")
    facts = _checkpoint(path, trust=trust) if holds_agent else _artifact(path)
    if write is not None:
        if facts["kind"] == "artifact":
            raise ConfigError(f"--write makes a job of a checkpoint, but {path} is an artifact")
        from grandopt.cli.job_file import entries, write_new
        from grandopt.config.load import agent_names

        write_new(write, f"agents:\n{entries({next(iter(agent_names([path]))): (path, facts)}, write)}")
    terminal = Terminal(as_json=json, quiet=quiet, verbose=verbose)
    terminal.document(facts)
    shown = facts if verbose or facts["kind"] != "artifact" else in_short(facts)
    terminal.lines(outline(shown, longest=None if verbose else LONGEST))
    if write is not None:
        terminal.note(
            f"wrote {write}; fill in what stands in capitals, then run `grandopt optimize -c {write}`"
        )


def _holds_agent(path: Path) -> bool:
    """Whether it is a checkpoint: a file, or a folder that is an agent as a whole."""
    if not path.is_dir():
        return path.name != MANIFEST
    from grandopt.compiler.checkpoints.frameworks.folders import is_agent

    return not (path / MANIFEST).is_file() and is_agent(path)


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


def in_short(facts: Mapping[str, Any]) -> dict[str, Any]:
    """An artifact as its user asks about it: what it is, what it takes and gives, and how well it does."""
    from grandopt.artifacts.manifest import CARRIED
    from grandopt.reporting.units import size

    carried = sum(file["size"] for file in facts["payload"] if file["name"] == CARRIED)
    shown = {name: facts[name] for name in ("kind", "path", "name", "engine", "precision", "threads")}
    return {
        **shown,
        "signature": facts["signature"],
        "contract": _said(facts["contract"]),
        "source": _said(facts["source"]),
        **dict(_proof(facts["evidence"])),
        "size": size(sum(file["size"] for file in facts["payload"]) - carried),
        **({"carried": f"its program for exports, {size(carried)} more"} if carried else {}),
        "machine": " ".join([facts["machine"], *facts["cpu_features"]]),
        "requires": facts["requires"],
        "trusted_only": facts["trusted_only"],
        "digest": facts["digest"],
        "more": "options, files with their digests, and all evidence are shown with -v",
    }


def _said(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that say something."""
    return {name: value for name, value in fields.items() if value not in (None, False, "", [], {})}


def _proof(evidence: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What was measured and verified when the artifact was shipped, as far as its manifest has it."""
    from grandopt.reporting.units import duration

    figures, speedup, verdict = (evidence.get(name) for name in ("figures", "speedup", "verification"))
    if isinstance(figures, Mapping) and figures.get("p50_us") is not None:
        yield "latency", f"{duration(figures['p50_us'])} a call (median)"
    if isinstance(speedup, Mapping):
        low, high = speedup["low"], speedup["high"]
        yield "speed-up", f"{speedup['value']:.3g} times the original's speed ({low:.3g} to {high:.3g})"
    if isinstance(verdict, Mapping):
        passed = "passed" if verdict.get("passed") else f"failed: {verdict.get('reason')}"
        yield "verification", f"{passed}, {verdict.get('cases')} cases"


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
