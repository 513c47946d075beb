"""How much of a network the inputs set in motion that it is verified with."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

LEAST_SHARE = 0.5
"""The share of the units that must change: below, most of what was verified is a constant."""


@dataclass(frozen=True)
class Exercise:
    """Of the `units` behind activation functions and the `outputs` (or scores), so many changed.

    `ordinary_units` and `ordinary_outputs` are those that changed on the ordinary draws, or the recorded
    observations, alone; the others are of all that was drawn. A network whose units cannot be seen has none.
    Units that stay silent on everything that was `recorded` do not matter there.
    """

    units: int
    units_changed: int
    outputs: int
    outputs_changed: int
    ordinary_units: int = 0
    ordinary_outputs: int = 0
    recorded: bool = False

    @property
    def refusal(self) -> str | None:
        """Why nothing can be said about a build at reduced precision, or None."""
        if self.outputs_changed == 0 and self.outputs:
            return (
                "the outputs are the same on everything that was drawn, so that nothing shows what reduced "
                "precision does to them; give recorded observations with --samples"
            )
        if not self.recorded and self.units_changed < LEAST_SHARE * self.units:
            return (
                f"only {self.units_changed} of {self.units} units change on anything that was drawn, too few "
                f"to show what reduced precision does; give recorded observations with --samples"
            )
        return None

    @property
    def low(self) -> bool:
        """Whether the ordinary inputs alone would be refused."""
        alone = replace(self, units_changed=self.ordinary_units, outputs_changed=self.ordinary_outputs)
        return alone.refusal is not None

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)
