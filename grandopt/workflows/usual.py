"""What an artifact carries of how things usually are: its observations, and the margins of its decisions."""

from __future__ import annotations

from typing import Any

from grandopt.compiler.program import Program
from grandopt.runtime.monitoring import margins, reference
from grandopt.verification.oracle import Oracle
from grandopt.workflows.open_agents import OpenedAgent


def usual(opened: OpenedAgent, oracle: Oracle, program: Program) -> dict[str, Any]:
    """For the evidence of a manifest: the statistics of recorded observations, else of the checkpoint's own
    normaliser; and where observations were recorded, how close the original's decisions on them are.

    Empty where nothing is known. Monitoring compares with it what an agent is given when it serves.
    """
    signature, contract = program.signature, program.contract
    known = reference.observed_statistics(signature, contract, opened.checkpoint.moments, opened.samples)
    evidence = {} if known is None else {reference.EVIDENCE: known.to_json()}
    if opened.samples is not None and not contract.state:
        drawn = oracle.groups[0]  # every recorded observation, and nothing else
        answers = [case.truth for case in oracle.known]
        outputs = [drawn.gather(answers, place) for place in range(len(signature.outputs))]
        found = margins.usual_margins(signature, contract, outputs)
        if found:
            evidence[margins.EVIDENCE] = found
    return evidence
