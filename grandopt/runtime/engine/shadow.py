"""A candidate beside the agent that answers: its answers are compared with the live ones, and discarded."""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable, Sequence

import numpy as np

from grandopt.errors import ConfigError, SignatureError
from grandopt.runtime.engine.comparing import Comparing, Findings, Work
from grandopt.runtime.engine.disagreement import TOLERANCE, Disagreement
from grandopt.runtime.engine.fit import check_same
from grandopt.runtime.engine.row_sampler import RowSampler
from grandopt.runtime.engine.served import ServedAgent
from grandopt.runtime.engine.shadow_report import ShadowReport
from grandopt.runtime.engine.version import Version
from grandopt.signature import Array

NUMBERS = (int, float, np.floating)
EFFORT = 0.005
"""The share of the time in which the candidate works: of the requests, as many can meet it."""
PATIENCE_NS = 20_000_000
"""After so long a piece of work is handed over that is not full."""
SMALLEST = 1e-6
"""Of shares and efforts: with less nothing would ever be compared."""
WASTED = 16
"""Draws that found no room before fewer are made: a batch's, or those of so many single observations."""
LEAST_SHARE = 1e-3
"""However busy the candidate is, one observation in so many is looked at, to see whether it has rested."""


class Shadow:
    """Compares a candidate with what answers, after the answers went out; no answer of it reaches anybody.

    Each answered observation is drawn with the same probability: `share`, or less where that would keep the
    candidate at work for more than `effort` of the time. Draws that come while it is busy are dropped;
    nothing queues. Calls that do not go through batches (infer_now, hits of a cache) are not seen. It
    belongs to the engine's event loop.
    """

    def __init__(
        self,
        agent: ServedAgent,
        candidate: Version,
        promote: Callable[[Version], Awaitable[None]],
        *,
        share: float = 0.1,
        effort: float = EFFORT,
        tolerance: float = TOLERANCE,
        seed: int = 0,
        clock: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        """Raises SignatureError for a candidate that does not fit or keeps a state, ConfigError for numbers
        out of range and for an agent without batches."""
        for name, value in (("share", share), ("effort", effort)):
            if not isinstance(value, NUMBERS) or not SMALLEST <= value <= 1:
                raise ConfigError(f"{name} must be a number from {SMALLEST:g} to 1, got {value!r:.60}")
        if not isinstance(tolerance, NUMBERS) or not 0 <= tolerance < 1:
            raise ConfigError(f"tolerance must be a number from 0 to below 1, got {tolerance!r:.60}")
        if not isinstance(seed, int):
            raise ConfigError(f"seed must be a whole number, got {seed!r:.60}")
        check_same(agent.name, agent.version, candidate)
        if agent.version.contract.state:
            raise SignatureError(
                f"{agent.name}: keeps a state between calls: a candidate that is given the states of another "
                f"agent is not what it would be by itself. Replay recorded streams in a session of its own"
            )
        if agent.taps is None:
            raise ConfigError(
                f"{agent.name}: its calls are not batched, and a shadow sees batches only; serve it with "
                f"batching=True"
            )
        self._agent, self._candidate, self._promote = agent, candidate, promote
        self._share, self._tolerance, self._clock = share, tolerance, clock
        self._against = agent.version
        self._sampler = RowSampler(share, random.Random(seed))
        self._comparing = Comparing(agent.name, candidate, effort, clock)
        self._replaced = 0
        self._taps = agent.taps
        self._watcher = self._taps.add(self._see, over=self._sampler.over)
        self._begin(0)
        agent.closing.add(self.withdraw)
        self.active = True
        """Whether observations are still compared."""

    def report(self) -> ShadowReport:
        """What was found until now."""
        if self.active:
            self._hand_over()
            self._last = self._taps.rows
        findings = self._findings
        with self._comparing.lock:
            compared, disagreed = findings.compared, findings.disagreed
            squares, times = dict(findings.disagreement.squares), findings.times()
            failed, error = findings.failed, findings.error
        return ShadowReport(
            agent=self._agent.name,
            candidate=self._candidate.origin,
            against=self._against.origin,
            active=self.active,
            share=self._share,
            seen=self._last - self._first,
            compared=compared,
            disagreed=disagreed,
            relative_l2={
                name: (errors / sizes) ** 0.5 if sizes else float(errors > 0) and float("inf")
                for name, (errors, sizes) in squares.items()
            },
            failed=failed,
            error=error,
            dropped=self._dropped,
            replaced=self._replaced,
            times=times,
        )

    def withdraw(self) -> ShadowReport:
        """Compare no more; the agent goes on as before. Twice is allowed."""
        if self.active:
            self.active = False
            self._last = self._taps.rows
            self._taps.remove(self._watcher)
            self._agent.closing.discard(self.withdraw)
            self._pieces.clear()
            self._comparing.end()
        return self.report()

    async def promote(self) -> ShadowReport:
        """Let the candidate answer from now on, as `Engine.replace` does, and compare no more.

        Raises ConfigError after it was promoted or withdrawn.
        """
        if not self.active:
            raise ConfigError(
                f"{self._agent.name}: the shadow was promoted or withdrawn before; replace the agent instead"
            )
        report = self.withdraw()
        await self._promote(self._candidate)
        return report

    def _begin(self, rows: int) -> None:
        """Count anew, with the last `rows` rows."""
        disagreement = Disagreement(self._candidate.signature, self._candidate.contract, self._tolerance)
        self._findings = Findings(disagreement)
        self._pieces: list[tuple[list[Array], list[Array]]] = []
        self._held = self._dropped = self._wasted = 0
        self._first = self._handed = self._taps.rows - rows
        self._since = self._clock()

    def _see(self, inputs: Sequence[Array], outputs: Sequence[Array]) -> int:
        """Watch a batch with a drawn observation in it: in the way of the next, so this does little."""
        rows = len(inputs[0])
        if self._agent.version is not self._against or self._agent.changing:
            self._replaced += self._agent.version is not self._against
            self._against = self._agent.version
            self._begin(rows)
        self._sampler.over = self._watcher.over
        places = self._sampler.places(rows)
        if not self._agent.changing:  # batches of the version before may still end
            self._keep(places, inputs, outputs)
        return self._sampler.over

    def _keep(self, places: list[int], inputs: Sequence[Array], outputs: Sequence[Array]) -> None:
        room = self._comparing.rows - self._held
        if room < len(places):
            over = len(places) - max(0, room)
            self._dropped += over
            self._wasted += over
            places = places[: max(0, room)]
        if places:
            if not self._held:
                self._since = self._clock()
            self._pieces.append(([array[places] for array in inputs], [array[places] for array in outputs]))
            self._held += len(places)
        full = self._held >= self._comparing.rows
        if self._comparing.ready and (full or self._clock() - self._since > PATIENCE_NS):
            self._hand_over()
        elif full and self._wasted >= WASTED:
            self._aim(self._sampler.share / 2)  # each look costs the loop some time, and nothing fits

    def _aim(self, share: float) -> None:
        """Draw with that probability from now on, at most with the one asked for."""
        self._wasted = 0
        share = max(LEAST_SHARE, min(self._share, share))
        if share != self._sampler.share:
            self._sampler.sample(share)

    def _hand_over(self) -> None:
        if self._pieces and self._comparing.ready:
            inputs, outputs = (
                tuple(np.concatenate(arrays) for arrays in zip(*side, strict=True))
                for side in zip(*self._pieces, strict=True)
            )
            self._pieces, self._held = [], 0
            rows = self._taps.rows
            # So many as make the next piece full when the candidate has rested for as long again.
            self._aim(self._comparing.rows / max(1, rows - self._handed))
            self._handed = rows
            self._comparing.give(Work(inputs, outputs, self._against, self._findings))
