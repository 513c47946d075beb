"""Artifacts as `optimize` ships them, without its search."""

from __future__ import annotations

from pathlib import Path

from grandopt.artifacts.artifact import Artifact
from grandopt.artifacts.store import Store
from grandopt.compiler.build import Candidate, build
from grandopt.compiler.program import Program
from grandopt.config.engines import EngineOptions, TorchScriptOptions
from grandopt.workflows.exporting.program import NOT_CARRIED, to_carry
from grandopt.workflows.optimize import ship

TRACED = TorchScriptOptions(freeze=False, optimize_for_inference=False)


def shipped(
    folder: Path, of: Program, options: EngineOptions = TRACED, precision: str = "float32"
) -> Artifact:
    """The agent as an artifact below `folder`, with its program where it can carry one."""
    artifact = build(of, Candidate(precision, options), Store(folder / "store"))
    files, missing = to_carry(of, artifact.manifest)
    evidence = {} if missing is None else {NOT_CARRIED: missing.text}
    return ship(artifact, folder / "artifacts" / of.name, of.name, evidence, files)
