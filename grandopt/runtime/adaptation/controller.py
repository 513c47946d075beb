"""Moves one setting at a time and keeps what was measured to be better.

Each setting that could matter (see `Knob.candidates`) is tried in short windows that alternate with windows
of the setting in force, so that a workload that moves meanwhile is not credited to it. A trial ends at once
with a window that is clearly worse; a change that is kept is watched for some windows more.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Generator, Sequence

from grandopt.errors import ConfigError, GrandoptError
from grandopt.runtime.adaptation.budget import TrialBudget
from grandopt.runtime.adaptation.change import ChangeDetector
from grandopt.runtime.adaptation.controller_settings import ControllerSettings
from grandopt.runtime.adaptation.decisions import Decision, DecisionLog
from grandopt.runtime.adaptation.driven import Driven, Life, Wait
from grandopt.runtime.adaptation.evidence import Evidence, Reading
from grandopt.runtime.adaptation.knobs import Knob
from grandopt.runtime.adaptation.paired import spread
from grandopt.runtime.adaptation.trial import ANSWERS, Trial, Verdict, stalled, tail
from grandopt.runtime.adaptation.turn import Turn

ENOUGH = 128
"""Answers from which on a window is long enough."""
LATENCIES = 6.0
"""Mean latencies in a window of a trial; a third as many pass before it."""
SCORES = 8
"""Windows that the usual spread is taken from."""
PROBATION = 4
"""Windows that a kept change is watched for."""

Steps = Generator[Wait | None, None, Evidence]


class Controller(Driven):
    """Tunes the knobs of one service, step by step.

    `pull` gives the service's counts, with the clock's time in them: there is no other clock. Everything
    happens in `step`, or `piece`, and `close`, which belong to one thread.
    """

    def __init__(
        self,
        name: str,
        pull: Callable[[], Reading],
        knobs: Sequence[Knob],
        settings: ControllerSettings | None = None,
        *,
        log: DecisionLog | None = None,
        turn: Turn | None = None,
        depth: Callable[[], int] | None = None,
    ) -> None:
        names = [knob.name for knob in knobs]
        if len(set(names)) != len(names):
            raise ConfigError(f"{name}: knobs must have different names, got {', '.join(names)}")
        self.name = name
        self.log = log or DecisionLog()
        super().__init__(pull, depth)
        self._knobs = list(knobs)
        self._settings = settings or ControllerSettings()
        self._turn = turn or Turn()
        self._detector = ChangeDetector()
        self._scores: deque[float] = deque(maxlen=SCORES)
        self._tails: deque[float] = deque(maxlen=SCORES)
        self._starts: deque[Reading] = deque(maxlen=SCORES)
        self._told: set[str] = set()
        self._budget = TrialBudget(self._settings.limits, self._seconds)
        self._changed_at = -math.inf
        self._tried_s = 0.0
        self._calm = False
        self._length_s = self._settings.window_s

    @property
    def tried_s(self) -> float:
        """Seconds spent in settings of trials, whatever became of them."""
        return self._tried_s

    def close(self) -> None:
        """Put a setting that is being tried back, and end; `step` must not be called afterwards."""
        self._life.close()
        self._turn.give_back(self)

    @property
    def _seconds(self) -> float:
        return self._now.at_ns / 1e9

    def _live(self) -> Life:
        pause, settings = self._settings.watch_s, self._settings
        while True:
            start = self._now
            yield Wait(pause)
            window = Evidence(start, self._now)
            if not window.answered:
                pause = min(2 * pause, settings.idle_s)
                self._starts.clear()
                continue
            self._watched(window, usual=pause == settings.watch_s)
            yield None
            self._starts.append(start)
            # Over several windows: where batches are long, one holds but a few.
            found = self._choice(Evidence(self._starts[0], self._now))
            # What knows the workload well and has nothing to try looks less often.
            longest = max(settings.calm_s, settings.watch_s) if self._calm else settings.watch_s
            pause = min(2 * pause, longest)
            if found is not None and self._turn.take(self):
                try:
                    yield from self._try(*found)
                finally:
                    self._turn.give_back(self)
                    self._starts.clear()

    def _watched(self, window: Evidence, *, usual: bool) -> None:
        """Take note of a window of the settings in force; the usual spread is that of `usual` ones."""
        what = self._detector.changed(window)
        if what is not None:
            self._workload_changed(what)
        score, settings = window.score, self._settings
        if score is not None and usual:
            self._scores.append(score)
            self._tails.append(tail(window))
        # Requests of the setting before must not be many. A backlog's latency is endless, and not looked at.
        latency = 0.0 if window.saturated else (window.latency.mean_ns or 0.0) / 1e9
        self._length_s = min(settings.longest_s, max(settings.window_s, LATENCIES * latency))

    def _workload_changed(self, what: str) -> None:
        self._decide(None, Verdict.WORKLOAD, detail=what)
        self._starts.clear()
        self._budget.changed(self._seconds)
        self._detector.reset()
        self._scores.clear()
        self._tails.clear()
        self._told.clear()

    def _choice(self, window: Evidence) -> tuple[Knob, str, int] | None:
        """What to try next, if it is time: what has lost least often, in the order of the knobs."""
        now, self._calm = self._seconds, False
        if (
            not self._detector.ready
            or len(self._starts) < SCORES
            or now < self._changed_at + self._settings.floor_s
        ):
            return None
        if window.rate * self._settings.longest_s < ANSWERS:
            return None  # a window could not be judged
        possible: list[tuple[int, int, Knob, str, int]] = []
        for order, knob in enumerate(self._knobs):
            candidates = knob.candidates(window)
            for direction, value in candidates:
                losses = self._budget.losses(knob.name, direction)
                if not self._budget.rests(knob.name, direction, now):
                    possible.append((losses, order, knob, direction, value))
            if candidates and all(self._budget.losses(knob.name, side) for side, _ in candidates):
                self._tell_settled(knob, window)
        if not possible or now < self._budget.next_at:
            self._calm = not possible or now + self._settings.calm_s < self._budget.next_at
            return None
        _, _, knob, direction, value = min(possible, key=lambda each: each[:2])
        return knob, direction, value

    def _tell_settled(self, knob: Knob, window: Evidence) -> None:
        if knob.name not in self._told:
            self._told.add(knob.name)
            self._decide(knob, Verdict.SETTLED, detail=f"in {window.figures()}")

    def _try(self, knob: Knob, direction: str, value: int) -> Life:
        before = knob.get()
        # Twice that of windows which are longer than those of the trial.
        noise, tails = 2 * spread(list(self._scores)), 2 * spread(list(self._tails))
        trial = Trial((yield from self._measured()), noise, tails)
        spent, verdict = 0.0, None
        while verdict is None:
            began = self._seconds
            if not self._set(knob, value, before):
                return
            try:
                yield from self._settled(knob)
                window = yield from self._measured(trial)
            finally:
                # Also when the service ends meanwhile. What somebody else has set is left alone.
                interfered = knob.get() != value
                stuck = not interfered and not self._set(knob, before, value)
            if stuck:
                return
            spent += self._seconds - began
            verdict = Verdict.INTERFERED if interfered else trial.tried(window)
            if verdict is None:
                yield from self._settled(knob)
                window = yield from self._measured()
                verdict = Verdict.INTERFERED if knob.get() != before else trial.base(window)
                if verdict is None and spent > self._settings.limits.trial_s and not trial.promising:
                    verdict = Verdict.UNCLEAR
        self._tried_s += spent
        if verdict is Verdict.KEPT:
            yield from self._keep(knob, direction, value, trial, spent)
            return
        self._budget.lost(knob.name, direction, spent, self._seconds)
        self._changed_at = self._seconds
        self._decide(knob, verdict, before, value, trial, spent)

    def _keep(self, knob: Knob, direction: str, value: int, trial: Trial, spent: float) -> Life:
        before = knob.get()
        if not self._set(knob, value, before):
            return
        self._changed_at = self._seconds
        self._budget.won(knob.name, direction)
        self._told.discard(knob.name)
        self._decide(knob, Verdict.KEPT, before, value, trial, spent)
        yield from self._settled(knob)
        for _ in range(PROBATION):
            window = yield from self._measured()
            if trial.worse_than_base(window) and knob.get() == value:
                if not self._set(knob, before, value):
                    break
                self._budget.lost(knob.name, direction, self._seconds - self._changed_at, self._seconds)
                self._decide(knob, Verdict.WITHDRAWN, before, value, trial, spent)
                break
        # The way back has just lost against this value.
        back = "lower" if direction.endswith("higher") else "higher"
        self._budget.lost(knob.name, back, 0.0, self._seconds)
        self._detector.reset()
        self._scores.clear()
        self._tails.clear()

    def _set(self, knob: Knob, value: int, before: int) -> bool:
        """Move a setting; one that refuses to be moved, also back, is left alone from now on."""
        try:
            knob.set(value)
        except GrandoptError as error:
            self._knobs.remove(knob)
            self._decide(knob, Verdict.REFUSED, before, value, detail=str(error))
            return False
        return True

    def _measured(self, trial: Trial | None = None) -> Steps:
        """A window of at least `window_s` that holds enough answers, or of `longest_s`.

        One of a `trial` ends earlier where a backlog grows, or far fewer answers came than before it.
        """
        start, window_s = self._now, self._settings.window_s
        delay = self._length_s
        while True:
            pause = delay if trial is None else min(delay, window_s / 5)
            delay -= pause
            between = delay > 1e-9
            yield Wait(pause, depth_only=between)
            if trial is not None and trial.piles_up(self._depth_now):
                if between:
                    self._now = self._pull()
                return Evidence(start, self._now)
            if between:
                continue
            window = Evidence(start, self._now)
            left = self._settings.longest_s - window.seconds
            rate = 0.0 if trial is None else trial.base_rate
            if window.answered >= ENOUGH or left <= 0 or stalled(window, rate):
                return window
            delay = min(left, window_s)

    def _settled(self, knob: Knob) -> Life:
        """Wait until what was taken in before the setting changed is out."""
        start = self._now
        yield Wait(self._length_s / 3)
        needed = knob.settle(knob.get())
        longest = self._settings.longest_s if needed else self._length_s
        while self._now.latency.total - start.latency.total < start.depth + needed:
            if Evidence(start, self._now).seconds >= longest:
                return
            yield Wait(self._settings.window_s / 5)

    def _decide(
        self,
        knob: Knob | None,
        verdict: Verdict,
        before: int | None = None,
        tried: int | None = None,
        trial: Trial | None = None,
        spent: float = 0.0,
        detail: str = "",
    ) -> None:
        now = None if knob is None else knob.get()
        self.log.add(
            Decision(
                self._now.at_ns,
                self.name,
                None if knob is None else knob.name,
                now if before is None else before,
                now,
                tried,
                verdict,
                None if trial is None else trial.effect(),
                spent,
                detail,
            )
        )
