"""The verification of external engines, in processes like those in which they are measured."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace

from grandopt.config.engine import Precision
from grandopt.errors import GrandoptError
from grandopt.measurement.process.remote import RemoteExecutor
from grandopt.measurement.subject import Subject
from grandopt.reason import Reason
from grandopt.verification.verify import verify
from grandopt.workflows.benchmark.ranking import Competitor
from grandopt.workflows.job import Run
from grandopt.workflows.selection.candidate_set import CandidateSet

LOAD_S = 300.0
"""What opening one, which may compile, and one call may take. It is not part of the budget of candidates."""


def verified(
    run: Run,
    candidate_set: CandidateSet,
    external_engine: Competitor,
    subject: Subject,
    precision: Precision = "float32",
) -> Competitor:
    """The external engine after verification: with its subject, or with the reason why it is not measured."""
    run.tell(candidate_set.program.name, "rivals", f"{external_engine.label} verified")
    program = candidate_set.program
    try:
        executor = RemoteExecutor(
            subject, program.signature, program.contract, threads=external_engine.threads, timeout_s=LOAD_S
        )
    except GrandoptError as error:
        return replace(external_engine, status="failed", reason=Reason.of(error))
    with closing(executor):
        verdict = verify(executor, candidate_set.oracle, precision=precision, limits=run.job.profile.limits)
    if not verdict.passed:
        return replace(external_engine, status="refused", reason=verdict.reason, verification=verdict)
    return replace(external_engine, status="verified", subject=subject, verification=verdict)
