"""The options of `benchmark` about engines that are only measured, and the reading of their values."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from grandopt.errors import ConfigError

if TYPE_CHECKING:
    from grandopt.config.external_engines import ExternalEngineName

LARGEST = 4096
"""Of batch sizes."""

ELSEWHERE = ("executorch", "litert", "mnn", "batched", "ray", "fastapi")
"""Those that need an environment of their own; the last three are for `--suite serving`
and `--suite server`."""

ExternalEngines = Annotated[
    list[str] | None,
    typer.Option(
        "--rival",
        metavar="NAME=PYTHON",
        envvar="GRANDOPT_RIVAL",
        help=f"The interpreter of an environment that has {', '.join(ELSEWHERE[:-1])} or {ELSEWHERE[-1]}.",
    ),
]
Batches = Annotated[
    str,
    typer.Option("--batch", metavar="N[,N]", help="Measure these batch sizes as well; 1 is always measured."),
]


def parse_external_engines(texts: Sequence[str] | None) -> dict[str, Path]:
    """The values of `--rival`; raises ConfigError for one that is not NAME=PYTHON with a known name."""
    found: dict[str, Path] = {}
    for text in texts or ():
        name, _, path = text.partition("=")
        if name not in ELSEWHERE or not path:
            raise ConfigError(
                f"--rival must read NAME=PYTHON, an interpreter, with a NAME of {', '.join(ELSEWHERE)}; "
                f"got {text!r}"
            )
        found[name] = Path(path)
    return found


def parse_batches(text: str) -> tuple[int, ...]:
    """The value of `--batch` without 1, in rising order; raises ConfigError for anything else."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and 1 <= int(part) <= LARGEST for part in parts):
        raise ConfigError(f"--batch must be numbers from 1 to {LARGEST}, such as 32 or 8,64, got {text!r}")
    return tuple(sorted({int(part) for part in parts} - {1}))


def split_engines(names: Sequence[str] | None) -> tuple[list[str] | None, tuple[ExternalEngineName, ...]]:
    """The engines of `--engine` that build candidates, and the external ones; without any name, all of both.

    ONNX Runtime is both: its candidates call bound memory, the external engine its plain `run`.
    """
    from grandopt.config.external_engines import EXTERNAL_ENGINES, ONLY_MEASURED

    if not names:
        return None, EXTERNAL_ENGINES
    chosen = tuple(name for name in EXTERNAL_ENGINES if name in names)
    return [name for name in names if name not in ONLY_MEASURED], chosen
