"""The call in C: it answers and refuses as Python would, and what a caller holds is never used again."""

from __future__ import annotations

import gc
import sys
import threading
import warnings
import weakref
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from grandopt.artifacts.store import Store
from grandopt.compiler.build import Candidate, build
from grandopt.errors import ArtifactError, SignatureError
from grandopt.runtime.executors import native as engine
from grandopt.runtime.executors.base import Executor
from grandopt.runtime.executors.native import NativeExecutor
from grandopt.runtime.loader import load
from grandopt.signature import Array
from tests.native.arguments import calls
from tests.native.conftest import BEST, Make
from tests.small_agents import Pair, Policy, Recurrent, draw, expected, program

Call = Callable[..., Any]


class Table(nn.Module):
    """Rows of a table by index [1] of int64."""

    def __init__(self) -> None:
        super().__init__()
        self.rows = nn.Embedding(5, 4)

    def forward(self, index: torch.Tensor) -> torch.Tensor:
        return self.rows(index)[:, 0]


@pytest.fixture(scope="module")
def policies(tmp_path_factory: pytest.TempPathFactory, native: Make) -> dict[str, NativeExecutor]:
    store = Store(tmp_path_factory.mktemp("store"))
    kinds = (Policy, Pair, Recurrent)
    made = {
        kind.__name__: load(build(program(kind), Candidate("float32", BEST), store).path) for kind in kinds
    }
    made["Table"] = native(Table(), torch.zeros(2, 1, dtype=torch.int64))
    assert all(isinstance(policy, NativeExecutor) for policy in made.values())
    return made  # type: ignore[return-value]


def test_sample_by_sample_a_batch_has_the_bits_of_lone_calls(
    policies: dict[str, NativeExecutor], native: Make
) -> None:
    # Kernels for several rows add up in another order than those for one.
    wide = native(nn.Sequential(nn.Linear(152, 64), nn.Tanh(), nn.Linear(64, 3)), torch.zeros(2, 152))
    random = np.random.default_rng(0)
    for policy in (*policies.values(), wide):
        assert policy.run_each is not None
        for batch in (1, 2, 41):
            inputs = [
                random.integers(0, 5, (batch, *spec.shape)).astype(spec.dtype)
                if np.dtype(spec.dtype).kind in "iu"
                else random.standard_normal((batch, *spec.shape)).astype(spec.dtype)
                for spec in policy.signature.inputs
            ]
            alone = [policy.run([array[row : row + 1] for array in inputs]) for row in range(batch)]
            found = policy.run_each(inputs)
            for place, output in enumerate(found):
                assert output.tobytes() == b"".join(answer[place].tobytes() for answer in alone)
                assert output.shape == (batch, *policy.signature.outputs[place].shape)


def test_sample_by_sample_a_batch_is_refused_as_a_whole(policies: dict[str, NativeExecutor]) -> None:
    table = policies["Table"]
    outside = np.array([[0], [1], [7], [2]])
    assert table.run_each is not None
    for inputs in ([outside], [outside[:0]], [outside[:, 0]], [outside.astype(np.int32)], [outside] * 2, []):
        raised = [_outcome(call, (inputs,), {}) for call in (table.run, table.run_each)]
        assert raised[0] == raised[1]
        assert raised[0][0] is SignatureError  # type: ignore[index]


def _in_python(policy: NativeExecutor) -> Call:
    """The call of the same agent that converts and checks in Python, whatever it is given."""
    namespace = {**vars(policy), "_act": lambda *_: NotImplemented}
    python = object.__new__(NativeExecutor)
    python.__dict__.update(namespace)
    return python


def _by_vectorcall(policy: NativeExecutor) -> Call:
    """The same agent through the fast protocol, which subclasses in Python have from Python 3.12 on."""
    bare: Call = type(policy).__mro__[1]()
    agent = policy._run.__self__  # type: ignore[attr-defined]
    bare.attach(agent, lambda _, *args, **keywords: NativeExecutor.__call__(policy, *args, **keywords))  # type: ignore[attr-defined]
    return bare


def _outcome(call: Call, args: tuple[Any, ...], keywords: dict[str, Any]) -> object:
    try:
        result = call(*args, **keywords)
    except Exception as error:  # noqa: BLE001 - whatever it is, it must be the same
        return type(error), str(error)
    results = result if isinstance(result, tuple) else (result,)
    return type(result) is tuple, [
        (isinstance(item, torch.Tensor), *_bits(np.asarray(item))) for item in results
    ]


def _bits(values: Array) -> tuple[object, ...]:
    return values.dtype, values.shape, values.flags.c_contiguous, values.tobytes()


@pytest.mark.parametrize("name", ["Policy", "Pair", "Recurrent", "Table"])
@settings(max_examples=200)
@given(data=st.data())
def test_c_answers_and_refuses_as_python_does(
    policies: dict[str, NativeExecutor], name: str, data: st.DataObject
) -> None:
    policy = policies[name]
    args, keywords = data.draw(calls(policy.signature))
    wanted = _outcome(_in_python(policy), args, keywords)
    assert _outcome(policy, args, keywords) == wanted
    assert _outcome(_by_vectorcall(policy), args, keywords) == wanted


def test_a_fault_of_the_agent_is_the_same_error(policies: dict[str, NativeExecutor]) -> None:
    table, outside = policies["Table"], np.full((2, 1), 5, np.int64)
    wanted = _outcome(_in_python(table), (outside,), {})
    assert wanted == (SignatureError, "an index in the inputs lies outside its table")
    assert _outcome(table, (outside,), {}) == wanted == _outcome(_by_vectorcall(table), (outside,), {})
    with pytest.raises(SignatureError, match="outside its table"):
        table.bind((outside,), (np.empty((2, 4), np.float32),))()


class TestOutputs:
    """What the caller holds stays as it is; what comes is always like new."""

    @settings(max_examples=150)
    @given(
        acts=st.lists(
            st.tuples(
                st.sampled_from([None, 1, 1, 2]),
                st.sampled_from(
                    ["drop", "hold", "view", "memory", "weak", "lock", "reshape", "resize", "write"]
                ),
            ),
            max_size=40,
        )
    )
    def test_no_call_changes_what_is_held(
        self, policies: dict[str, NativeExecutor], acts: list[tuple[int | None, str]]
    ) -> None:
        policy, python = policies["Pair"], _in_python(policies["Pair"])
        held: list[tuple[Any, bytes]] = []
        dead: list[weakref.ref[Any]] = []
        for seed, (batch, what) in enumerate(acts):
            inputs = draw(program(Pair), batch or 1, seed)
            if batch is None:
                inputs = [array[0] for array in inputs]
            outputs = policy(*inputs)
            for output, wanted in zip(outputs, python(*inputs), strict=True):
                assert _bits(output) == _bits(np.asarray(wanted))
                assert (output.flags.writeable, output.flags.owndata, output.base) == (True, True, None)
                assert not any(output is other or np.shares_memory(output, other) for other, _ in held)
                match what:
                    case "hold":
                        held.append((output, output.tobytes()))
                    case "view":
                        held.append((output[...], output.tobytes()))
                    case "memory":
                        held.append((memoryview(output), output.tobytes()))
                    case "weak":
                        assert all(ref() is not output for ref in dead)
                        dead.append(weakref.ref(output))
                    case "lock":
                        output.flags.writeable = False
                    case "reshape":
                        with warnings.catch_warnings(action="ignore"):  # of its deprecation
                            output.shape = (*output.shape, 1)
                    case "resize":
                        output.resize(3 * output.size, refcheck=False)
                    case "write":
                        output[...] = 77
            del outputs, output
        for value, bits in held:
            assert value.tobytes() == bits

    def test_one_that_was_let_go_is_used_again(self, policies: dict[str, NativeExecutor]) -> None:
        # Only so is the test above one of reuse.
        (state,) = draw(program(Policy), 1)
        policy = policies["Policy"]
        assert len({id(policy(state)) for _ in range(50)}) <= 4
        assert len({id(output) for output in [policy(state) for _ in range(50)]}) == 50

    def test_large_ones_are_not_kept(self, policies: dict[str, NativeExecutor]) -> None:
        (state,) = draw(program(Policy), 1000)
        output = policies["Policy"](state)
        assert sys.getrefcount(output) == 2

    def test_threads_keep_their_own(self, policies: dict[str, NativeExecutor]) -> None:
        policy = policies["Pair"]
        # The last is long enough to be computed without the GIL.
        cases = [draw(program(Pair), batch, seed) for seed, batch in enumerate([1, 1, 2, 3, 1, 20_000])]
        wanted = [[_bits(output) for output in policy.run(case)] for case in cases]
        wrong: list[object] = []

        def work(number: int) -> None:
            kept: list[tuple[Array, ...]] = []
            for _ in range(2000 if len(cases[number][0]) < 100 else 20):
                kept = [*kept[-2:], policy(*cases[number])]
                wrong.extend(number for outputs in kept if [_bits(out) for out in outputs] != wanted[number])

        threads = [threading.Thread(target=work, args=(number,)) for number in range(len(cases))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong


def _blocks(call: Callable[[], object], times: int) -> int:
    """How many blocks of memory so many calls leave."""
    before = sys.getallocatedblocks()
    for _ in range(times):
        call()
    if sys.getallocatedblocks() - before > times // 2:
        gc.collect()  # a mapping's way through Python leaves cycles; this takes long in a process with torch
    return sys.getallocatedblocks() - before


def test_no_reference_is_lost_or_left(policies: dict[str, NativeExecutor]) -> None:
    gc.collect()  # of other tests' garbage, which may hold a policy
    policy = policies["Pair"]
    bare = _by_vectorcall(policy)
    state, image = draw(program(Pair), 2)
    outputs = [output.copy() for output in policy.run((state, image))]
    wrong = np.zeros((2, 7), np.float32)

    def refused(call: Call, *args: Any, **keywords: Any) -> None:
        try:
            call(*args, **keywords)
        except (SignatureError, TypeError):
            return
        raise AssertionError("was not refused")

    variants: list[Callable[[], object]] = [
        lambda: policy(state, image),
        lambda: policy({"state": state, "image": image}),
        lambda: policy(state[0], image[0]),
        lambda: bare(state, image),
        lambda: bare(state.tolist(), image),
        lambda: refused(policy, wrong, image),
        lambda: refused(bare, state, image=image),
        lambda: policy.bind((state, image), outputs)(),
        lambda: refused(policy.bind, (state, wrong), outputs),
        lambda: refused(policy.bind, (state, image), outputs[:2]),
        lambda: refused(policy.bind, (state, image), (outputs[0],) * 3),
        lambda: refused(policy.bind((state, image), outputs), 1),
    ]
    for number, variant in enumerate(variants):
        variant()
        counts = [sys.getrefcount(item) for item in (state, image, wrong, *outputs, policy)]
        assert _blocks(variant, 300) < 150, number  # where each call leaves one, there are 300
        assert [sys.getrefcount(item) for item in (state, image, wrong, *outputs, policy)] == counts


def test_a_policy_that_nobody_holds_is_gone(tmp_path_factory: pytest.TempPathFactory) -> None:
    policy = load(
        build(program(Policy), Candidate("float32", BEST), Store(tmp_path_factory.mktemp("s"))).path
    )
    (state,) = draw(program(Policy), 1)
    output = policy(state)
    bound = policy.bind((state,), (np.empty((1, 3), np.float32),))
    gone = weakref.ref(policy)
    policy.close()
    policy(state)  # closing gives nothing back here
    del policy
    assert gone() is None
    bound()
    np.testing.assert_allclose(output, expected(program(Policy), [state])[0], rtol=1e-5, atol=1e-6)


class TestBind:
    def test_it_reads_and_writes_the_arrays_as_they_are_then(
        self, policies: dict[str, NativeExecutor]
    ) -> None:
        policy = policies["Pair"]
        inputs = draw(program(Pair), 2)
        outputs = [np.zeros_like(output) for output in policy.run(inputs)]
        bound = policy.bind(inputs, outputs)
        for seed in range(3):
            for array, values in zip(inputs, draw(program(Pair), 2, seed), strict=True):
                array[...] = values
            assert bound() is None  # type: ignore[func-returns-value]
            assert [_bits(output) for output in outputs] == [_bits(output) for output in policy.run(inputs)]

    def test_lists_may_change_afterwards(self, policies: dict[str, NativeExecutor]) -> None:
        inputs, outputs = draw(program(Policy), 1), [np.zeros((1, 3), np.float32)]
        wanted, out = policies["Policy"].run(inputs)[0], outputs[0]
        bound = policies["Policy"].bind(inputs, outputs)
        inputs.clear()
        outputs.clear()
        bound()
        np.testing.assert_array_equal(out, wanted)

    def test_buffers_are_held_and_given_back(self, policies: dict[str, NativeExecutor]) -> None:
        import array

        given, out = array.array("f", [1.0] * 8), array.array("f", [0.0] * 3)
        bound = policies["Policy"].bind((given,), (out,))
        bound()
        assert sum(out) == pytest.approx(1)
        for held in (given, out):
            with pytest.raises(BufferError):
                held.append(1.0)
        del bound
        given.append(1.0)
        out.append(1.0)

    def test_a_cycle_through_it_is_collected(self, policies: dict[str, NativeExecutor]) -> None:
        class Own(np.ndarray):
            bound: object

        given = np.ones(8, np.float32).view(Own)
        given.bound = policies["Policy"].bind((given,), (np.zeros(3, np.float32),))
        gone = weakref.ref(given)
        del given
        gc.collect()
        assert gone() is None

    @pytest.mark.parametrize("arguments", [(), (1,), (1, 2, 3), (None, None), ((), ()), ("x", [1])])
    def test_what_is_no_pair_of_tuples(self, policies: dict[str, NativeExecutor], arguments: Any) -> None:
        with pytest.raises((SignatureError, TypeError)):
            policies["Policy"].bind(*arguments)

    def test_it_takes_no_arguments(self, policies: dict[str, NativeExecutor]) -> None:
        bound: Call = policies["Policy"].bind(draw(program(Policy), 1), [np.zeros((1, 3), np.float32)])
        for args, keywords in (((1,), {}), ((), {"x": 1}), ((1, 2), {"x": 1})):
            with pytest.raises(TypeError, match=f"takes no arguments, got {len(args) + len(keywords)}"):
                bound(*args, **keywords)
            with pytest.raises(TypeError, match=f"takes no arguments, got {len(args) + len(keywords)}"):
                type(bound).__call__(bound, *args, **keywords)

    def test_threads_share_one(self, policies: dict[str, NativeExecutor]) -> None:
        inputs = draw(program(Pair), 20_000)  # computed without the GIL
        wanted = policies["Pair"].run(inputs)
        outputs = [np.zeros_like(output) for output in wanted]
        bound = policies["Pair"].bind(inputs, outputs)
        threads = [threading.Thread(target=lambda: [bound() for _ in range(10)]) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [_bits(output) for output in outputs] == [_bits(output) for output in wanted]


class TestBindings:
    def test_one_of_an_earlier_release_leaves_the_call_in_python(
        self, policies: dict[str, NativeExecutor]
    ) -> None:
        policy = policies["Policy"]
        assert engine._called_from_c(ModuleType("earlier")) is NativeExecutor
        earlier = SimpleNamespace(run=policy.run, run_into=policy.run_into, act=policy._act)
        python = NativeExecutor(policy.signature, policy.contract, lambda _: earlier, policy._library)
        state, out = draw(program(Policy), 2)[0], np.zeros((2, 3), np.float32)
        wanted = policy(state)
        np.testing.assert_array_equal(python(state), wanted)
        np.testing.assert_array_equal(python(state.tolist()), wanted)
        python.bind((state,), (out,))()
        np.testing.assert_array_equal(out, wanted)

    def test_an_agent_is_attached_once(self, policies: dict[str, NativeExecutor]) -> None:
        policy: Any = policies["Policy"]
        agent, base = policy._run.__self__, type(policy).__mro__[1]
        with pytest.raises(RuntimeError, match="has its agent already"):
            policy.attach(agent, print)
        bare = base()
        with pytest.raises(TypeError, match="no agent yet"):
            bare(np.zeros(8, np.float32))
        for arguments in ((), (agent,), (policy, print)):
            with pytest.raises(TypeError):
                bare.attach(*arguments)
        with pytest.raises(TypeError):
            type(policy.bind((np.zeros(8, np.float32),), (np.zeros(3, np.float32),)))()

    def test_a_free_threaded_python_is_refused(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        artifact = build(program(Policy), Candidate("float32", BEST), Store(tmp_path_factory.mktemp("store")))
        monkeypatch.setattr(engine, "_bindings", {})
        monkeypatch.setattr(sys, "abiflags", "t")
        with pytest.raises(ArtifactError, match="need a Python with the GIL"):
            load(artifact.path)


def test_an_executor_is_one_by_its_class(policies: dict[str, NativeExecutor]) -> None:
    policy = policies["Policy"]
    assert isinstance(policy, Executor)
    assert type(policy).__name__ == "NativeExecutor"
    assert type(policy).__doc__ == NativeExecutor.__doc__
