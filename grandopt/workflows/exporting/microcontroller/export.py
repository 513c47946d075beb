"""The steps of `export --to mcu`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from grandopt.compiler.backends.native.plain.stages import PlainAgent, PlainPrecision, plain
from grandopt.compiler.program import Program
from grandopt.config.boards import board as board_of
from grandopt.errors import UnsupportedError
from grandopt.verification.result import Verification
from grandopt.workflows.exporting.folder import put_folder, require_free
from grandopt.workflows.exporting.microcontroller.fit import Fit, fitted
from grandopt.workflows.exporting.microcontroller.layouts import layouts
from grandopt.workflows.exporting.microcontroller.verification import observations, verified

REPORT = "fit.json"


@dataclass(frozen=True)
class McuExport:
    """What was written, what it takes, and the verdict on it; None where there was no compiler to run it."""

    files: tuple[str, ...]
    fit: Fit
    verification: Verification | None

    def lines(self) -> list[str]:
        """What is said about it, beside the files."""
        return [_verdict(self.verification), *self.fit.lines()]


def export_mcu(
    program: Program,
    folder: Path,
    *,
    precision: PlainPrecision = "float32",
    board: str | None = None,
    samples: Path | None = None,
) -> McuExport:
    """Write a program as a C header for microcontrollers into `folder`, which must be empty or missing.

    The header is compiled and verified on this machine first, and measured for the board's core where there
    is a compiler for that. Raises UnsupportedError where plain C lacks an operator, where the header is not
    the same agent, or does not fit the board; ConfigError for an unknown board, SamplesError, OutputError.
    Then nothing is written.
    """
    wanted = None if board is None else board_of(board)
    require_free(folder)
    known = observations(program, samples)
    agent = plain(program, precision, known.calibration)
    verdict = verified(program, agent.source, precision, known)
    if verdict is None and precision != "float32":
        raise UnsupportedError(
            f"{program.name}: {precision} is not written without being verified, which takes a C compiler: "
            "install gcc or clang"
        )
    if verdict is not None and not verdict.passed:
        raise UnsupportedError(f"{program.name} in {precision} is not the same agent: {verdict.reason}")
    fit = fitted(agent, wanted)
    fit.check(program.name)
    return McuExport(_written(folder, agent, precision, fit, verdict), fit, verdict)


def _written(
    folder: Path,
    agent: PlainAgent,
    precision: PlainPrecision,
    fit: Fit,
    verdict: Verification | None,
) -> tuple[str, ...]:
    report = {
        "agent": agent.source.symbol,
        "precision": precision,
        "coded_products": agent.coded_products,
        "fit": fit.to_json(),
        "verification": None if verdict is None else verdict.to_json(),
    }
    files = {**layouts(agent.source), REPORT: json.dumps(report, indent=2) + "\n"}
    put_folder(folder, {name: text.encode() for name, text in files.items()})
    return tuple(sorted(files))


def _verdict(verdict: Verification | None) -> str:
    if verdict is None:
        return "not verified: no C compiler was found to run it with"
    worst = max(verdict.outputs, key=lambda check: check.error / check.limit if check.limit else 0.0)
    return (
        f"verified on this machine in {verdict.cases} cases: output {worst.name!r} has an error of "
        f"{worst.error:.3g} ({worst.norm}), allowed are {worst.limit:.3g}"
    )
