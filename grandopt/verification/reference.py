"""The contract of the thing that candidates are measured against."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from grandopt.signature import Array


class Reference(Protocol):
    """The original agent, computed as exactly as it can be.

    Called from one thread. The caller owns what is returned, and the inputs are not modified. The inputs
    are those of the signature, in calling order and of its dtypes: the reference widens them itself.
    """

    @property
    def precision(self) -> str:
        """What the outputs are computed in: "float64", or "float32" where the agent allows no more."""

    @property
    def reason(self) -> str | None:
        """Why the outputs or the scores are not computed in float64, in one line; None where both are."""

    def outputs(self, inputs: Sequence[Array]) -> tuple[Array, ...]:
        """The agent's outputs [B, *shape]: floats as float64, integers and booleans as they are."""

    def scores(self, inputs: Sequence[Array]) -> Array | None:
        """The float64 scores [B, n] that a decision is taken from; None for an agent without one."""
