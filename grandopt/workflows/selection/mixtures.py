"""Whether an agent needs a build that weighs its layers: only where int8 for all of them was refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from grandopt.compiler.build import Candidate
from grandopt.reason import Reason, ReasonCode
from grandopt.workflows.building.built import BuiltCandidate


def needless(candidate: Candidate, builds: Sequence[BuiltCandidate]) -> Reason | None:
    """Why a candidate that weighs its layers need not be built, beside these builds; None where it may win.

    Where no build has int8 for all layers, because that precision is not admitted, nothing is known.
    """
    own = [built for built in builds if built.candidate.engine == candidate.engine]
    whole = next((built for built in own if built.candidate.precision == "int8_dynamic"), None)
    for built in own:
        if built.candidate.weighs and built.status == "verified":
            return Reason(ReasonCode.NEEDLESS, f"not built: {built.label} was admitted, and has fewer bits")
    failed = next((built for built in own if built.candidate.weighs and built.status == "failed"), whole)
    if failed is not None and failed.status not in ("refused", "verified"):
        assert failed.reason is not None
        return replace(failed.reason, text=f"not built: {failed.label}: {failed.reason}")
    if whole is None or whole.status == "refused":
        return None
    return Reason(
        ReasonCode.NEEDLESS, f"not built: {whole.label} was admitted, and no layer can have fewer bits"
    )
