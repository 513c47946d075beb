"""Sequences of calls in which an agent's recurrent state is fed back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from grandopt.runtime.executors.base import Executor
from grandopt.signature import Array, Contract, Moments, Signature
from grandopt.verification.calls import ENGINE_FAILURES, CallError, Outputs
from grandopt.verification.inputs import drawn

LENGTHS = ((60, 1), (256, 8))
"""Steps and streams of the episodes. The long one is there for what drifts slowly; several streams of it,
because along one trajectory the errors of two programs can differ by luck."""

STREAMS = 32
"""Recorded samples are cut into at most so many streams, each at least `SHORTEST` long."""

SHORTEST = 64


@dataclass(frozen=True)
class Episode:
    """Observations in order: one array [steps, streams, *shape] per input that is no state."""

    name: str
    observations: tuple[Array, ...]

    @property
    def steps(self) -> int:
        """Number of calls."""
        return int(self.observations[0].shape[0])

    @property
    def streams(self) -> int:
        """Number of rows of each call."""
        return int(self.observations[0].shape[1])

    def at(self, step: int) -> list[Array]:
        """The observations of one call: one array [streams, *shape] per input."""
        return [array[step] for array in self.observations]

    def until(self, steps: int) -> Episode:
        """The first `steps` calls."""
        return Episode(self.name, tuple(array[:steps] for array in self.observations))


def episodes(
    signature: Signature,
    contract: Contract,
    *,
    samples: Sequence[Array] | None = None,
    moments: Mapping[str, Moments] | None = None,
    seed: int = 0,
) -> tuple[Episode, ...]:
    """What an agent with state is stepped through; none for an agent without.

    With `samples` (one array [N, *shape] per input that is no state) the streams are stretches of them in
    their order, from the start again where they end; without, seeded draws, which follow `moments`.
    """
    if not contract.state:
        return ()
    rng = np.random.default_rng([seed, 1])
    found = []
    for steps, streams in LENGTHS:
        if samples is None:
            observed = Signature(signature.observed(contract))
            rows = drawn(observed, steps * streams, rng, moments)
            arrays = [array.reshape(steps, streams, *array.shape[1:]) for array in rows]
            name = f"{steps} drawn steps (batch {streams})"
        else:
            total = len(samples[0])
            starts = np.arange(streams) * total // streams
            arrays = [array[(np.arange(steps)[:, np.newaxis] + starts) % total] for array in samples]
            name = f"{steps} steps of the samples (batch {streams})"
        found.append(Episode(name, tuple(np.ascontiguousarray(array) for array in arrays)))
    return tuple(found)


def walked(executor: Executor, episode: Episode) -> list[Outputs]:
    """All outputs of every step, the state among them, of one session through the episode.

    Raises CallError when the engine raises.
    """
    outputs = executor.signature.outputs
    states = {tensor.output: tensor.input for tensor in executor.contract.state}
    results = []
    try:
        session = executor.session(episode.streams)
        for step in range(episode.steps):
            given = episode.at(step)
            answers = iter(session.run([array.copy() for array in given]))
            state = session.state
            results.append(
                tuple(
                    state[states[spec.name]] if spec.name in states else next(answers).copy()
                    for spec in outputs
                )
            )
    except ENGINE_FAILURES as error:
        line = str(error).strip().partition("\n")[0] or "no message"
        raise CallError(
            f"step {len(results) + 1} of {episode.name}: {type(error).__name__}: {line}"
        ) from error
    return results


def with_states(executor: Executor, samples: Sequence[Array]) -> tuple[Array, ...]:
    """Recorded observations with the states that the agent has when it sees them: one array per input.

    They are cut into up to 32 streams of at least 64 samples, each of which begins with the initial state.
    For an agent without state they are returned as they are.
    """
    if not executor.contract.state:
        return tuple(samples)
    total = len(samples[0])
    streams = max(1, min(STREAMS, total // SHORTEST))
    steps = -(-total // streams)
    places = np.arange(streams) * steps + np.arange(steps)[:, np.newaxis]  # [steps, streams]
    session = executor.session(streams)
    kept: dict[str, list[Array]] = {tensor.input: [] for tensor in executor.contract.state}
    for row in places % total:
        for name, array in session.state.items():
            kept[name].append(array)
        session.run([np.ascontiguousarray(array[row]) for array in samples])
    inside = (places < total).T
    states = {name: np.stack(arrays, axis=1)[inside] for name, arrays in kept.items()}
    observed = iter(samples)
    names = [spec.name for spec in session.observed.inputs]
    filled = []
    for spec in executor.signature.inputs:
        if spec.name in names:
            filled.append(next(observed))
        elif spec.name in states:
            filled.append(states[spec.name])
        else:
            filled.append(np.zeros((total, *spec.shape), spec.dtype))
    return tuple(np.ascontiguousarray(array) for array in filled)
