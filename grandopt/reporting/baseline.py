"""Baselines of the regression gate: artifacts that were good, kept to be measured again beside later ones.

A baseline is a folder below `reports/baselines/`:

    reports/baselines/NAME/baseline.json     what it is, and the machine it was saved on
    reports/baselines/NAME/artifacts/AGENT/  the artifacts, whole
    reports/baselines/NAME/report.json       the report of the run that made them, where there was one

Times do not carry over between machines, so none is compared across two: the artifacts are measured anew
wherever the gate runs, as long as they fit that machine. The report serves to compare with another report of
the same machine.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from grandopt.errors import ReportError, first_line
from grandopt.reporting.figures import PlainDict, ReportModel
from grandopt.reporting.report import Moment

FOLDER = Path("reports/baselines")
FILE = "baseline.json"
ARTIFACTS = "artifacts"
REPORT = "report.json"


class BaselineAgent(ReportModel):
    """One agent of a baseline; `digest` is that of its artifact."""

    name: str
    engine: str
    precision: str
    digest: str
    bytes: int = Field(ge=0)


class Baseline(ReportModel):
    """What `baseline.json` says. `environment` is that of the machine it was saved on."""

    schema_version: Literal[1] = 1
    name: str
    saved: Moment
    grandopt: str
    environment: PlainDict
    report: bool
    agents: tuple[BaselineAgent, ...] = Field(min_length=1)


def load_baseline(folder: Path) -> Baseline:
    """Read the baseline in `folder`; raises ReportError, in one line, when there is none or it is damaged."""
    file = folder / FILE
    try:
        return Baseline.model_validate_json(file.read_text(encoding="utf-8"), strict=True)
    except FileNotFoundError as error:
        raise ReportError(
            f"{folder}: no such baseline; `grandopt baseline list` shows those that are there"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ReportError(f"{file}: cannot be read ({first_line(error)})") from error
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in problem["loc"]) or "the file"
        raise ReportError(f"{file}: {place}: {problem['msg']}; save the baseline again") from error


def names(folder: Path = FOLDER) -> list[str]:
    """The names of the baselines below `folder`, in order."""
    return sorted(file.parent.name for file in folder.glob(f"*/{FILE}"))
