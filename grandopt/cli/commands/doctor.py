"""`grandopt doctor`: what this machine offers, what is missing, and how to get it."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Collection, Mapping
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any, get_args

from grandopt.cli.console import Terminal
from grandopt.cli.options import Json, Quiet, Verbose

# Instructions that the engines gain from, as the kernel names them, by architecture.
FEATURES = {
    "x86_64": (
        *("avx2", "fma", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16"),
        *("amx_tile", "amx_int8", "amx_bf16"),
    ),
    "aarch64": ("asimd", "asimddp", "sve", "i8mm", "bf16"),
}
COMPILERS = ("gcc", "clang")
_EXTRA = re.compile(r"""^(?P<package>[A-Za-z0-9._-]+).*extra\s*==\s*['"](?P<extra>[\w-]+)['"]""")
_REQUIRED = re.compile(r"^[A-Za-z0-9._-]+")
_TIMEOUT_S = 10.0


def doctor(json: Json = False, quiet: Quiet = False, verbose: Verbose = False) -> None:
    """Show what this machine offers, and how to get what is missing.

    \b
    Example:
      grandopt doctor
      grandopt doctor --json > machine.json
    """
    from grandopt.cli.commands.inspect import outline

    facts = findings(Path.cwd())
    terminal = Terminal(as_json=json, quiet=quiet, verbose=verbose)
    terminal.document(facts)
    terminal.lines(outline(facts if verbose else for_people(facts), longest=None))


def for_people(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The findings without what only programs compare, sizes in GiB; `-v` and `--json` have it all."""
    machine = dict(facts["machine"])
    del machine["identity"]
    total, limit = machine.pop("memory_bytes"), machine.pop("memory_limit_bytes")
    quota, granted = machine.pop("cgroup_quota"), machine.pop("available_cores")
    cores = f"{machine.pop('cores')}, of which {granted} can be used at once"
    machine["cores"] = cores if quota is None else f"{cores} (cgroup quota {quota:g})"
    machine["memory"] = gib(total) if limit is None else f"{gib(total)}, of which {gib(limit)} may be used"
    known = {name: value for name, value in machine.items() if value is not None}
    return {**facts, "machine": known}


def gib(count: int) -> str:
    """A number of bytes in GiB."""
    return f"{count / 2**30:.1f} GiB"


def findings(folder: Path) -> dict[str, Any]:
    """Everything that `doctor` shows, as plain data; `folder` is where free disk space is looked up."""
    from grandopt.config.engines import ENGINES
    from grandopt.measurement.environment import environment
    from grandopt.reporting.figures import plain

    machine = asdict(environment())
    present = machine.pop("cpu_features")
    del machine["libraries"]  # `libraries` has them all, the missing ones, too
    requirements = metadata.requires("grandopt") or []
    facts: dict[str, Any] = plain(
        {
            "machine": machine,
            "instructions": {name: name in present for name in FEATURES.get(machine["architecture"], ())},
            "native levels": native_levels(machine["architecture"], present),
            "compiler": compiler(os.environ) or f"none found: set $CC, or install {' or '.join(COMPILERS)}",
            "disk free": gib(shutil.disk_usage(folder).free),
            "engines": list(ENGINES),
            "libraries": libraries(requirements),
            "missing": missing(requirements),
        }
    )
    return facts


def native_levels(architecture: str, present: Collection[str]) -> dict[str, str | None]:
    """The feature level of the native engine's code that a CPU with these features takes, by how the weights
    are stored; null where it has none."""
    from grandopt.compiler.backends.native.levels import StoredWeights, of_architecture

    return {
        weights: next(
            (
                level.name
                for level in of_architecture(architecture)
                if weights in level.gains and set(level.features) <= set(present)
            ),
            None,
        )
        for weights in get_args(StoredWeights)
    }


def compiler(environ: Mapping[str, str]) -> str | None:
    """Path and version of the C compiler: `$CC` if it is set, else the first of gcc and clang; None without.

    A `$CC` that cannot be run is not replaced by another compiler, because builds would use it, too.
    """
    named = shlex.split(environ.get("CC", ""))
    for command in [named] if named else [[name] for name in COMPILERS]:
        path = shutil.which(command[0], path=environ.get("PATH"))
        if path is None:
            continue
        try:
            answer = subprocess.run(
                [path, *command[1:], "--version"],
                capture_output=True,
                text=True,
                timeout=_TIMEOUT_S,
                check=True,
            )
        except (OSError, subprocess.SubprocessError):
            continue
        first = answer.stdout.splitlines()[:1]
        return " ".join([path, *command[1:], *(f"({line})" for line in first)])
    return None


def libraries(requirements: list[str]) -> dict[str, str | None]:
    """The installed version of every library that grandopt needs, null where it is missing."""
    names = [_REQUIRED.match(line) for line in requirements if "extra ==" not in line]
    return {name[0]: _version(name[0]) for name in names if name is not None}


def missing(requirements: list[str]) -> dict[str, str]:
    """What is not installed, with the command that installs it: required libraries, and packages of extras.

    `requirements` are the lines of the package's own metadata, so only extras that exist are offered. The
    developer's tools are not missed by anybody who only runs grandopt.
    """
    offers = {
        name: f"pip install {name}" for name, version in libraries(requirements).items() if version is None
    }
    for line in requirements:
        match = _EXTRA.match(line)
        if match is None or match["extra"] in ("dev", "all") or _version(match["package"]) is not None:
            continue
        offers[match["package"]] = f"pip install 'grandopt[{match['extra']}]'"
    return offers


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
