"""What is needed to do an agent's run again; it stands in the report, and in the artifact's evidence."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ValidationError

from grandopt.errors import ReportError
from grandopt.reporting.figures import Count, PlainDict, ReportModel, Threads


class FileDigest(ReportModel):
    """A file that went in: its path as it was given, and the SHA-256 (hex) of its bytes."""

    path: str
    sha256: str


class MachineReport(ReportModel):
    """Where it was made. `identity` is the same for machines whose figures may be compared."""

    identity: str
    cpu_model: str | None
    architecture: str
    os: str
    kernel: str
    python: str
    libraries: dict[str, str]


class BuildRecipe(ReportModel):
    """How what was shipped was built.

    `label` and `candidate` (precision and options) say as what; the candidate is null for the original as it
    came. `compilers` identifies what the build went through, `agent_sha256` the network with its weights.
    `payload` holds the SHA-256 (hex) of every file that came out, and `contents` that of what it says: they
    differ where an engine numbers things anew each time it writes a file.
    """

    label: str
    candidate: PlainDict | None
    threads: Threads
    compilers: dict[str, str]
    agent_sha256: str
    payload: dict[str, str]
    contents: dict[str, str]


class Recipe(ReportModel):
    """The settings of the run for this agent, its files, its machine, and how it was built.

    `folder` is where the command was called, which relative paths begin at. `built` is null where nothing was
    shipped.
    """

    folder: str  # told from the output folder on; in recipes of earlier releases absolute
    command: tuple[str, ...]
    config: PlainDict
    profile: PlainDict
    seed: Count
    threads: Threads | Literal["auto"]
    checkpoint: FileDigest | None
    samples: FileDigest | None
    vecnormalize: FileDigest | None  # the statistics of observations, whatever the format of their file
    machine: MachineReport
    built: BuildRecipe | None


RECIPE = "recipe"
"""Its name in an artifact's evidence."""


def recipe_of(evidence: dict[str, Any]) -> Recipe | None:
    """The recipe in an artifact's evidence, None where it has none; raises ReportError for a damaged one."""
    data = evidence.get(RECIPE)
    if data is None:
        return None
    try:
        return Recipe.model_validate(data)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in problem["loc"]) or RECIPE
        raise ReportError(f"recipe: field {field!r} cannot be used ({problem['msg']})") from error
