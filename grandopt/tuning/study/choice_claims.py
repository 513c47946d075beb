"""The claims on the choices of one study."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from grandopt.tuning.claims import claim_name
from grandopt.tuning.space import Choice, ChoiceSpace
from grandopt.tuning.study.leases import Leases


class Claims:
    """Leases on choices: under their names, in the scope of a study."""

    def __init__(self, leases: Leases, scope: str, space: ChoiceSpace) -> None:
        self._leases = leases
        self._scope = scope
        self._named = {claim_name(choice): choice for choice in space}

    def of_others(self) -> list[Choice]:
        """The choices that others work on."""
        return [self._named[name] for name in self._leases.held(self._scope) if name in self._named]

    def take(self, choice: Choice) -> bool:
        """Whether the choice is ours to evaluate now."""
        return self._leases.take(self._scope, claim_name(choice))

    def keep(self, choice: Choice) -> bool:
        """Whether it still is; if so, for a whole lease more."""
        return self._leases.keep(self._scope, claim_name(choice))

    def release(self, choice: Choice) -> None:
        """Leave the choice to others."""
        self._leases.release(self._scope, claim_name(choice))

    @contextmanager
    def released(self, choice: Choice) -> Iterator[None]:
        """Release a claimed choice at the end of the block, however it ends."""
        try:
            yield
        finally:
            self.release(choice)
