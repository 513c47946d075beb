"""Verification steps an agent with state through episodes, and refuses what drifts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from grandopt.config.schema import Limits
from grandopt.errors import VerificationError
from grandopt.runtime.executors.base import Executor
from grandopt.signature import Array, Contract, Signature, StateTensor, TensorSpec
from grandopt.verification.drift import with_episodes
from grandopt.verification.episodes import Episode, episodes, walked, with_states
from grandopt.verification.inputs import cases
from grandopt.verification.oracle import Oracle
from grandopt.verification.populated import with_populations
from grandopt.verification.populations import as_episodes, populations
from grandopt.verification.result import Verification
from grandopt.verification.verify import verify

LIMITS = Limits(relative_l2=0.02, agreement=0.99)
SIGNATURE = Signature(
    (TensorSpec("obs", (4,)), TensorSpec("h", (8,))), (TensorSpec("said", (3,)), TensorSpec("h_next", (8,)))
)
STATE = (StateTensor("h", "h_next", 0.25),)


class Cell(Executor):
    """h' = tanh(gain * (h @ W) + obs @ U), said = h' @ V, in a given dtype and with a leak that is wrong."""

    def __init__(
        self, gain: float = 1.0, leak: float = 0.0, *, dtype: str = "float32", argmax: bool = False
    ) -> None:
        outputs = SIGNATURE.outputs
        contract = Contract(state=STATE)
        if argmax:
            outputs = (TensorSpec("said", (), "int64", role="action"), outputs[1])
            contract = Contract("argmax", groups=(3,), state=STATE)
        super().__init__(Signature(SIGNATURE.inputs, outputs), contract)
        rng = np.random.default_rng(3)
        self.recurrent = np.linalg.qr(rng.standard_normal((8, 8)))[0].astype(np.float32)
        self.incoming = (0.3 * rng.standard_normal((4, 8))).astype(np.float32)
        self.outgoing = rng.standard_normal((8, 3)).astype(np.float32)
        self.gain, self.leak, self.dtype, self.argmax = gain, leak, dtype, argmax

    def parts(self, inputs: Sequence[Array]) -> tuple[Array, Array]:
        """Scores and the next state."""
        with np.errstate(all="ignore"):
            obs, h = (array.astype(self.dtype) for array in inputs)
            weights = [w.astype(self.dtype) for w in (self.recurrent, self.incoming, self.outgoing)]
            h = np.tanh(np.asarray(self.gain * (h @ weights[0]) + obs @ weights[1], self.dtype))
            h = (h * np.asarray(1.0 - self.leak, self.dtype)).astype(self.dtype)
            return h @ weights[2], h

    def run(self, inputs: Sequence[Array]) -> tuple[Array, ...]:
        said, h = self.parts(inputs)
        return (said.argmax(axis=-1) if self.argmax else said), h


class Exact:
    """The same cell in float64, as a Reference."""

    precision, reason = "float64", None
    resolution = float(np.finfo(np.float32).eps)

    def __init__(self, cell: Cell) -> None:
        self.cell = Cell(cell.gain, cell.leak, dtype="float64", argmax=cell.argmax)

    def outputs(self, inputs: Sequence[Array]) -> tuple[Array, ...]:
        return self.cell.run(inputs)

    def scores(self, inputs: Sequence[Array]) -> Array | None:
        return self.cell.parts(inputs)[0] if self.cell.argmax else None


class Forgetful(Cell):
    """Right in every single call, but it gives a state back that another call has already worn down."""

    def session(self, batch: int = 1):  # type: ignore[no-untyped-def]
        session = super().session(batch)
        step = session.run

        def worn(observation: Sequence[Array]) -> tuple[Array, ...]:
            results = step(observation)
            session.state = {"h": session.state["h"] * np.float32(1 - 1e-4)}
            return results

        session.run = worn  # type: ignore[method-assign]
        return session


class Sideways(Cell):
    """Sums its products in another order."""

    def parts(self, inputs: Sequence[Array]) -> tuple[Array, Array]:
        twin = Cell(self.gain, self.leak, argmax=self.argmax)
        twin.recurrent, twin.outgoing = self.recurrent[::-1], self.outgoing
        return Cell.parts(twin, (inputs[0], np.ascontiguousarray(inputs[1][:, ::-1])))


def oracle(cell: Cell, seed: int = 0) -> Oracle:
    """What is known of a cell, episodes included."""
    reference = Exact(cell)
    prepared = Oracle.prepare(reference, cell, cases(cell.signature), cell.contract)
    return with_episodes(
        prepared, reference, cell, episodes(cell.signature, cell.contract, seed=seed), seed=seed
    )


def verified(candidate: Executor, known: Oracle, precision: str = "float32") -> Verification:
    return verify(candidate, known, precision=precision, limits=LIMITS)  # type: ignore[arg-type]


@pytest.mark.parametrize("argmax", [False, True])
def test_the_original_and_another_order_of_summing_pass(argmax: bool) -> None:
    known = oracle(Cell(argmax=argmax))
    for candidate in (Cell(argmax=argmax), Sideways(argmax=argmax)):
        verdict = verified(candidate, known)
        assert verdict.passed, verdict.reason
        assert verdict.steps == 60 + 256
        assert {check.name for check in verdict.outputs} == {"said", "h_next"}


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_state_that_drifts_is_refused(precision: str) -> None:
    known = oracle(Cell())
    worn = Forgetful()
    single = replace(known, episodes=(), steps=None)
    assert verified(worn, single).passed  # no single call shows it
    verdict = verified(worn, known, precision)
    if precision == "float32":
        assert not verdict.passed
        assert "steps" in str(verdict.reason)
    else:  # 1e-4 a step is within what reduced precision may be off by
        assert verdict.passed, verdict.reason
    leaking = verified(Cell(leak=0.015), single, "bfloat16")
    assert leaking.passed, leaking.reason
    drifted = verified(Cell(leak=0.015), known, "bfloat16")
    assert not drifted.passed
    assert "relative L2 error" in str(drifted.reason)
    assert "drawn steps" in str(drifted.reason)


def test_an_engine_that_fails_in_an_episode_is_refused() -> None:
    class Breaks(Cell):
        calls = 0

        def run(self, inputs: Sequence[Array]) -> tuple[Array, ...]:
            if inputs[0].shape[0] == 8:  # only the long episode has this batch
                raise RuntimeError("no such batch")
            return super().run(inputs)

    verdict = verified(Breaks(), oracle(Cell()))
    assert not verdict.passed
    assert str(verdict.reason) == "step 1 of 256 drawn steps (batch 8): RuntimeError: no such batch"


def test_chaos_is_compared_as_far_as_it_can_be_and_says_so() -> None:
    known = oracle(Cell(gain=2.5))
    lengths = [episode.steps for episode in known.episodes]
    assert min(lengths) >= 16
    assert max(lengths) < 256
    assert any("where the original itself drifts off" in note for note in known.skipped)
    assert verified(Cell(gain=2.5), known).passed


def test_a_state_that_grows_without_bound_cannot_be_compared() -> None:
    class Growing(Cell):
        def parts(self, inputs: Sequence[Array]) -> tuple[Array, Array]:
            with np.errstate(all="ignore"):
                h = (inputs[1] * np.float32(1e4) + 1).astype(self.dtype)
                return h[:, :3], h

    class Truth(Exact):
        def __init__(self, cell: Cell) -> None:
            super().__init__(cell)
            self.cell = Growing(dtype="float64")

    cell = Growing()
    prepared = Oracle.prepare(Truth(cell), cell, cases(cell.signature), cell.contract)
    with pytest.raises(VerificationError, match="grows without bound"):
        with_episodes(prepared, Truth(cell), cell, episodes(cell.signature, cell.contract))


def test_float32_references_have_a_yardstick_that_drifts_too() -> None:
    class Narrow(Exact):
        precision, reason = "float32", "no float64 form"  # type: ignore[assignment]

        def __init__(self, cell: Cell) -> None:
            self.cell = cell

        def outputs(self, inputs: Sequence[Array]) -> tuple[Array, ...]:
            assert all(array.dtype == np.float32 for array in inputs)
            return tuple(array.astype(np.float64) for array in self.cell.run(inputs))

    cell = Cell()
    prepared = Oracle.prepare(Narrow(cell), cell, cases(cell.signature), cell.contract)
    known = with_episodes(prepared, Narrow(cell), cell, episodes(cell.signature, cell.contract))
    assert known.steps is not None
    assert all(found.error > 0 for found in known.steps.spreads.values())
    assert verified(Sideways(), known).passed
    assert not verified(Forgetful(), known).passed


def test_episodes_are_cut_from_samples_in_their_order() -> None:
    samples = (np.arange(40, dtype=np.float32)[:, np.newaxis] * np.ones(4, np.float32),)
    short, long = episodes(SIGNATURE, Contract(state=STATE), samples=samples)
    assert short.observations[0][:, 0, 0].tolist() == [step % 40 for step in range(60)]
    assert long.observations[0][0, :, 0].tolist() == [0, 5, 10, 15, 20, 25, 30, 35]
    assert episodes(SIGNATURE, Contract()) == ()


@pytest.mark.parametrize("count", [1, 64, 200])
def test_samples_get_the_states_that_the_agent_has_there(count: int) -> None:
    cell = Cell()
    observed = np.random.default_rng(0).standard_normal((count, 4)).astype(np.float32)
    obs, states = with_states(cell, (observed,))
    np.testing.assert_array_equal(obs, observed)
    assert states.shape == (count, 8)
    streams = max(1, count // 64)
    length = -(-count // streams)
    for begin in range(0, count, length):
        rows = observed[begin : begin + length]
        steps = walked(cell, Episode("", (rows[:, np.newaxis],)))
        wanted = [np.full(8, 0.25, np.float32), *(outputs[1][0] for outputs in steps)]
        np.testing.assert_allclose(states[begin : begin + length], wanted[: len(rows)], atol=1e-6)


def test_at_reduced_precision_every_kind_of_draws_is_stepped_through_by_itself() -> None:
    cell = Cell()
    known = oracle(cell)
    kinds = populations(cell.signature, known.evidence, states=("h",), rows=256)
    known = with_populations(known, Exact(cell), cell, kinds)
    assert known.wide is not None
    steps = as_episodes(kinds, cell.signature, cell.contract)
    known = replace(known, wide=with_episodes(known.wide, Exact(cell), cell, steps, apart=True))
    assert known.wide is not None
    assert known.wide.steps is not None
    assert [episode.name for episode in steps[:2]] == [
        "16 steps of ordinary",
        "16 steps of scales from 1e-3 to 1e4",
    ]
    assert len(known.wide.steps.groups) == len(known.wide.episodes)
    assert verified(Cell(), known, "bfloat16").passed
    assert verified(Cell(), known).passed

    class Short(Cell):
        """Takes every observation beyond 20 for 20, as a scale that was found on small ones does."""

        def parts(self, inputs: Sequence[Array]) -> tuple[Array, Array]:
            places = [spec.name for spec in self.signature.inputs]
            clipped = [
                np.clip(array, -20, 20) if name != "h" else array
                for name, array in zip(places, inputs, strict=True)
            ]
            return super().parts(clipped)

    short = verified(Short(), known, "bfloat16")
    assert not short.passed
