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

from grandopt import limits
from grandopt.errors import ReportError, first_line
from grandopt.reporting.figures import PlainDict, ReportModel
from grandopt.reporting.report import Moment

FOLDER = Path("reports/baselines")
FILE = "baseline.json"
ARTIFACTS = "artifacts"
REPORT = "report.json"
CONTENT = "content-"
"""What the folder of a baseline's content begins with."""


class BaselineAgent(ReportModel):
    """One agent of a baseline; `digest` is that of its artifact."""

    name: str
    engine: str
    precision: str
    digest: str
    bytes: int = Field(ge=0)


class Baseline(ReportModel):
    """What `baseline.json` says. `environment` is that of the machine it was saved on.

    `content` is the folder beside it that holds the artifacts, and the report if there is one: a new one each
    time the baseline is saved, so that the file that names it changes from one whole baseline to the next.
    """

    schema_version: Literal[1] = 1
    name: str
    saved: Moment
    grandopt: str
    environment: PlainDict
    report: bool
    content: str = Field("", pattern=r"^(content-[0-9a-f]{16})?$")
    agents: tuple[BaselineAgent, ...] = Field(min_length=1)


def load_baseline(folder: Path) -> Baseline:
    """Read the baseline in `folder`; raises ReportError, in one line, when there is none or it is damaged."""
    file = folder / FILE
    try:
        return Baseline.model_validate_json(limits.text(file, limits.REPORT_BYTES), strict=True)
    except FileNotFoundError as error:
        raise ReportError(
            f"{limits.shortened(folder)}: no such baseline; `grandopt baseline list` shows those there are"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ReportError(f"{limits.shortened(file)}: cannot be read ({_said(error)})") from error
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in problem["loc"]) or "the file"
        raise ReportError(f"{file}: {place}: {problem['msg']}; save the baseline again") from error


def _said(error: OSError | UnicodeDecodeError) -> str:
    return getattr(error, "strerror", None) or first_line(error)


def names(folder: Path = FOLDER) -> list[str]:
    """The names of the baselines below `folder`, in order."""
    return sorted(file.parent.name for file in folder.glob(f"*/{FILE}"))
