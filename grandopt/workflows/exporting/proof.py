"""What an export is held to: its program in float64, on seeded inputs, and the float32 rule."""

from __future__ import annotations

import tempfile
from contextlib import closing
from pathlib import Path

from grandopt.artifacts.store import Store
from grandopt.compiler import build
from grandopt.compiler.backends.float64 import reference
from grandopt.compiler.program import Program
from grandopt.config.schema import Limits
from grandopt.errors import VerificationError
from grandopt.runtime.executors.base import Executor
from grandopt.runtime.loader import load
from grandopt.verification.drift import with_episodes
from grandopt.verification.episodes import episodes
from grandopt.verification.evidence import evidence_of
from grandopt.verification.inputs import cases
from grandopt.verification.oracle import Oracle
from grandopt.verification.result import Verification
from grandopt.verification.verify import verify

UNUSED = Limits(relative_l2=1e-6, agreement=1.0)
"""Limits of reduced precision, which the float32 rule does not ask for."""


def oracle_of(program: Program, seed: int = 0) -> Oracle:
    """The right answers of a program on drawn inputs, and through whole episodes where it has state.

    Raises VerificationError as `Oracle.prepare` does.
    """
    signature, contract = program.signature, program.contract
    with tempfile.TemporaryDirectory(prefix="grandopt-") as name:
        came = build.original(program, Store(Path(name)))
        with closing(load(came.path, trust=True)) as original:
            truth = reference(program)
            evidence = evidence_of(signature.observed(contract))
            questions = cases(signature, seed=seed)
            oracle = Oracle.prepare(truth, original, questions, contract, seed, evidence=evidence)
            steps = episodes(signature, contract, seed=seed)
            return with_episodes(oracle, truth, original, steps, seed)


def proven(exported: Executor, oracle: Oracle, what: str) -> Verification:
    """The verdict on an export whose arithmetic is float32; raises VerificationError where it fails."""
    verdict = verify(exported, oracle, precision="float32", limits=UNUSED)
    if not verdict.passed:
        raise VerificationError(f"{what} does not answer as the agent does: {verdict.reason}")
    return verdict


def worst_error(verdict: Verification) -> str:
    """The check that came closest to its limit, in words."""
    check = max(verdict.outputs, key=lambda check: check.error / check.limit if check.limit else 0.0)
    return f"worst error {check.error:.2g} (output {check.name!r}, at most {check.limit:.2g} is allowed)"
