"""On what evidence about an agent's inputs it may be built at reduced precision: decided here only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from grandopt.signature import Moments, TensorSpec
from grandopt.verification.inputs import float_bounds

EvidenceKind = Literal["recorded", "statistics", "bounds", "none"]

WAY_OUT = "give recorded observations with --samples, or declare the inputs' low and high"


@dataclass(frozen=True)
class Evidence:
    """What is known of the inputs that an agent will see.

    "recorded": observations that the user recorded. "statistics": those that the agent itself normalises
    with. "bounds": every element lies between two finite numbers. "none": nothing, so that what is drawn
    proves little. `detail` says it in words, and `moments` holds the statistics by input.
    """

    kind: EvidenceKind
    detail: str
    moments: Mapping[str, Moments] = field(default_factory=dict)

    @property
    def there(self) -> bool:
        """Whether there is any."""
        return self.kind != "none"


def evidence_of(
    observed: Sequence[TensorSpec],
    *,
    recorded: int | None = None,
    moments: Mapping[str, Moments] | None = None,
) -> Evidence:
    """The evidence about the inputs `observed` (those that are no recurrent state).

    `recorded` is the number of recorded observations, `moments` the statistics that came with the agent.
    Recorded observations count before statistics, and these before bounds; every input needs one of the two.
    """
    given = moments or {}
    known = {spec.name: given[spec.name] for spec in observed if spec.name in given}
    if recorded is not None:
        return Evidence("recorded", f"{recorded} recorded observations", known)
    open_ones = [spec.name for spec in observed if spec.name not in known and not bounded(spec)]
    if open_ones:
        return Evidence(
            "none",
            f"nothing is known about {', '.join(open_ones)}: no recorded observations, no statistics in the "
            f"checkpoint, no finite bounds; {WAY_OUT}",
            known,
        )
    limited = [spec.name for spec in observed if spec.name not in known]
    parts = [f"the agent's own statistics of {', '.join(known)}"] if known else []
    parts += [f"finite bounds of {', '.join(limited)}"] if limited else []
    return Evidence("statistics" if known else "bounds", " and ".join(parts), known)


def bounded(spec: TensorSpec) -> bool:
    """Whether every element lies between two finite bounds: declared ones, or those of bool and of 8 bits."""
    if spec.dtype in ("bool", "uint8", "int8"):
        return True
    low, high = float_bounds(spec)
    return bool(np.isfinite(low).all() and np.isfinite(high).all())
