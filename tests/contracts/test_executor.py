"""The contract of `Executor`, run by every engine in every form, and by the fake."""

from __future__ import annotations

import gc
import re
import threading
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from grandopt.artifacts.store import Store
from grandopt.compiler.build import Candidate, build, original
from grandopt.compiler.program import Program
from grandopt.config.engines import (
    ENGINES,
    EagerOptions,
    EngineOptions,
    InductorOptions,
    NativeOptions,
    OnnxRuntimeOptions,
    OpenVinoOptions,
    TorchScriptOptions,
)
from grandopt.errors import SignatureError
from grandopt.runtime.executors.base import Executor
from grandopt.runtime.loader import load
from grandopt.signature import Array
from tests.fakes import FakeExecutor
from tests.small_agents import Borrowing, Pair, Policy, Scribbling, draw, expected, program

OPTIONS: dict[str, EngineOptions] = {
    "eager": EagerOptions(),
    "torchscript": TorchScriptOptions(),
    "torchscript-no-ofi": TorchScriptOptions(optimize_for_inference=False),
    "native": NativeOptions(),
    "native-v3": NativeOptions(levels=("x86-64-v3",), tile=1),
    "torchscript-unfrozen": TorchScriptOptions(freeze=False, optimize_for_inference=False),
    "inductor": InductorOptions(gemm="library"),
    "inductor-templates": InductorOptions(),
    "inductor-single": InductorOptions(gemm="library", single=True),
    "onnxruntime": OnnxRuntimeOptions(),
    "openvino": OpenVinoOptions(),
    "openvino-any-batch": OpenVinoOptions(single=False),
}
MARKED = {
    "native-v3": pytest.mark.slow,
    "openvino-any-batch": pytest.mark.slow,
    "inductor": pytest.mark.slow,
    "inductor-templates": pytest.mark.stress,
    "inductor-single": pytest.mark.stress,
}
"""Kinds of which each network takes long to compile, and further kinds of engines that have a fast one."""

KINDS = ("fake", "module", "archive", *(kind for kind in OPTIONS if kind not in MARKED))
PARAMETERS = (*KINDS, *(pytest.param(kind, marks=mark) for kind, mark in MARKED.items()))
LIBRARIES = {"onnxruntime": ("onnxruntime", "onnxscript"), "openvino": ("openvino", "onnxscript")}

Make = Callable[[type[nn.Module]], Executor]


@pytest.fixture(scope="module", params=PARAMETERS)
def make(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Makes the executor of a network, once per network and engine."""
    store = Store(tmp_path_factory.mktemp("store"))
    made: dict[type[nn.Module], Executor] = {}

    def make(network: type[nn.Module]) -> Executor:
        if network not in made:
            made[network] = _executor(request.param, program(network), store)
        return made[network]

    return make


def _executor(kind: str, of: Program, store: Store) -> Executor:
    match kind:
        case "fake":
            return FakeExecutor(of.signature, lambda inputs: expected(of, list(inputs)))
        case "module":
            return load(original(of, store).path, trust=True)
        case "archive":
            archive = torch.jit.trace(of.module, of.example, check_trace=False)
            return load(original(of.but(module=archive), store).path)
        case _:
            for library in LIBRARIES.get(OPTIONS[kind].engine, ()):
                pytest.importorskip(library, reason=f"skipped: {library} is not installed")
            return load(build(of, Candidate("float32", OPTIONS[kind]), store).path)


def test_every_engine_is_here() -> None:
    assert {options.engine for options in OPTIONS.values()} == set(ENGINES)


def _close(got: Sequence[Array], want: Sequence[Array]) -> None:
    assert len(got) == len(want)
    for mine, theirs in zip(got, want, strict=True):
        assert mine.dtype == theirs.dtype
        np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("network", [Policy, Pair], ids=lambda network: network.__name__)
class TestRun:
    @pytest.mark.parametrize("batch", [1, 7])
    def test_gives_what_the_original_gives(self, make: Make, network: type[nn.Module], batch: int) -> None:
        for seed in range(4):  # TorchScript specialises itself in the first calls
            inputs = draw(program(network), batch, seed)
            got = make(network).run(inputs)
            _close(got, expected(program(network), inputs))
            assert [output.shape for output in got] == [
                (batch, *spec.shape) for spec in program(network).signature.outputs
            ]

    def test_no_later_call_changes_an_output(self, make: Make, network: type[nn.Module]) -> None:
        executor, inputs = make(network), draw(program(network), 3)
        first = executor.run(inputs)
        kept = [output.copy() for output in first]
        others = executor.run(draw(program(network), 3, seed=1))
        _close(first, kept)
        for output in (*first, *others):
            output[...] = 0  # the caller owns it
        _close(executor.run(inputs), kept)

    def test_inputs_stay_as_they_are(self, make: Make, network: type[nn.Module]) -> None:
        inputs = draw(program(network), 5)
        kept = [array.copy() for array in inputs]
        want = make(network).run(inputs)
        for array in inputs:
            array.flags.writeable = False
        _close(make(network).run(inputs), want)
        for array, copy in zip(inputs, kept, strict=True):
            np.testing.assert_array_equal(array, copy)

    def test_nan_stays_nan(self, make: Make, network: type[nn.Module]) -> None:
        inputs = draw(program(network), 2)
        inputs[0][1] = np.nan
        for _ in range(3):
            scores = make(network).run(inputs)[0]
            assert np.isfinite(scores[0]).all()
            assert np.isnan(scores[1]).all()

    def test_run_into_fills_the_callers_arrays(self, make: Make, network: type[nn.Module]) -> None:
        inputs = draw(program(network), 4)
        want = expected(program(network), inputs)
        outputs = [np.empty_like(array) for array in want]
        make(network).run_into(inputs, outputs)
        _close(outputs, want)
        outputs[0].flags.writeable = False
        with pytest.raises(SignatureError, match="read-only"):
            make(network).run_into(inputs, outputs)
        with pytest.raises(SignatureError, match="must be writeable"):
            make(network).run_into(inputs, [np.empty((9, 9), np.float32), *outputs[1:]])
        with pytest.raises(SignatureError, match="output array"):
            make(network).run_into(inputs, [])

    def test_a_bound_call_reads_and_writes_the_callers_arrays(
        self, make: Make, network: type[nn.Module]
    ) -> None:
        for batch in (1, 4):
            inputs = draw(program(network), batch)
            outputs = [np.empty_like(array) for array in expected(program(network), inputs)]
            bound = make(network).bind(inputs, outputs)
            lone_inputs, lone = [array[0] for array in inputs], [np.empty_like(array[0]) for array in outputs]
            # A row of one element is a number for NumPy, an array without axes for the agent.
            lone = [np.asarray(item) for item in lone]
            alone = make(network).bind(lone_inputs, lone)
            for seed in range(3):
                for array, values in zip(inputs, draw(program(network), batch, seed), strict=True):
                    array[...] = values
                bound()
                alone()
                want = expected(program(network), inputs)
                _close(outputs, want)
                _close(lone, [array[0] for array in want])

    def test_a_bound_call_keeps_the_arrays_alive(self, make: Make, network: type[nn.Module]) -> None:
        inputs = draw(program(network), 2)
        outputs = [np.empty_like(array) for array in expected(program(network), inputs)]
        alive = [weakref.ref(array) for array in (*inputs, *outputs)]
        bound = make(network).bind(inputs, outputs)
        del inputs[:], outputs[:]
        gc.collect()
        bound()
        assert all(ref() is not None for ref in alive)
        del bound
        gc.collect()
        assert all(ref() is None for ref in alive)

    def test_eight_threads_get_their_own_answers(self, make: Make, network: type[nn.Module]) -> None:
        executor = make(network)
        cases = [draw(program(network), 1 + number % 3, seed=number) for number in range(8)]
        answers = [expected(program(network), inputs) for inputs in cases]
        wrong: list[object] = []

        def call(number: int) -> None:
            try:
                for _ in range(25):
                    _close(executor.run(cases[number]), answers[number])
            except BaseException as error:
                wrong.append(error)
                raise

        threads = [threading.Thread(target=call, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong


class TestBind:
    """What cannot be bound is refused at once, in the same words by every engine."""

    @pytest.mark.parametrize(
        ("place", "change", "reason"),
        [
            (0, lambda x: x[::-1], "the memory cannot be used as it is"),
            (0, np.asfortranarray, "the memory cannot be used as it is"),
            (0, lambda x: x.tolist(), "the memory cannot be used as it is, got a list"),
            (1, lambda x: None, "the memory cannot be used as it is, got a NoneType"),
            (0, lambda x: x.astype(np.float64), "the dtype differs"),
            (0, lambda x: x.astype(">f4"), "the dtype differs"),
            (1, lambda x: x.astype(np.int64), "the dtype differs"),
            (0, lambda x: x[:, :-1].copy(), "the shape differs"),
            (0, lambda x: x[np.newaxis], "the shape differs"),
            (0, lambda x: x[:0], "the batch is empty"),
            (1, lambda x: x[0], "its batch differs from the first input's"),
            (1, lambda x: x[:1], "its batch differs from the first input's"),
            (1, lambda x: _locked(x), "the memory cannot be used as it is, got float32 [2, 3], read-only"),
            (0, lambda x: _odd(x), "its elements are not aligned"),
        ],
    )
    def test_an_array_that_does_not_fit(
        self, make: Make, place: int, change: Callable[[Array], Any], reason: str
    ) -> None:
        arrays: list[Any] = [np.zeros((2, 8), np.float32), np.zeros((2, 3), np.float32)]
        arrays[place] = change(arrays[place])
        shape = ("must be float32 [batch, 8]", "output array must be writeable, float32 [batch, 3]")[place]
        with pytest.raises(SignatureError, match=re.escape(f"{shape}, C-contiguous; {reason}")):
            make(Policy).bind((arrays[0],), (arrays[1],))

    def test_arrays_that_overlap(self, make: Make) -> None:
        memory = np.zeros(64, np.float32)
        into = memory[15:21].reshape(2, 3)
        with pytest.raises(SignatureError, match="it overlaps another array of the call"):
            make(Policy).bind((memory[:16].reshape(2, 8),), (into,))
        make(Policy).bind((memory[:16].reshape(2, 8),), (memory[16:22].reshape(2, 3),))()

    @pytest.mark.parametrize(
        ("inputs", "outputs", "message"),
        [
            ((), (1,), r"expected 1 input array\(s\) in a tuple or list \(state\), got 0"),
            (3, (1,), r"expected 1 input array\(s\) .*, got int"),
            ((1,), (1, 2), r"expected 1 output array\(s\) in a tuple or list .*, got 2"),
        ],
    )
    def test_a_wrong_number(self, make: Make, inputs: Any, outputs: Any, message: str) -> None:
        with pytest.raises(SignatureError, match=message):
            make(Policy).bind(inputs, outputs)


def _locked(array: Array) -> Array:
    array.flags.writeable = False
    return array


def _odd(array: Array) -> Array:
    return np.zeros(array.nbytes + 1, np.uint8)[1:].view(array.dtype).reshape(array.shape)


class TestCall:
    def test_a_batch_and_one_observation(self, make: Make) -> None:
        policy = make(Policy)
        (state,) = draw(program(Policy), 3)
        (want,) = expected(program(Policy), [state])
        np.testing.assert_allclose(policy(state), want, rtol=1e-5, atol=1e-6)
        one = policy(state[1])
        assert one.shape == (3,)
        np.testing.assert_allclose(one, want[1], rtol=1e-5, atol=1e-6)

    def test_a_mapping_by_name_in_any_order(self, make: Make) -> None:
        state, image = draw(program(Pair), 2)
        want = expected(program(Pair), [state, image])
        _close(make(Pair)({"image": image, "state": state}), want)
        _close(make(Pair)(state, image), want)
        scores, decision, value = make(Pair)({"image": image[0], "state": state[0]})
        assert (np.shape(scores), np.shape(decision), np.shape(value)) == ((5,), (), (1,))
        with pytest.raises(SignatureError, match="missing \\['state'\\]"):
            make(Pair)({"image": image})

    def test_tensors_in_tensors_out(self, make: Make) -> None:
        (state,) = draw(program(Policy), 2)
        result = make(Policy)(torch.from_numpy(state).requires_grad_(True))
        assert isinstance(result, torch.Tensor)
        np.testing.assert_allclose(result.numpy(), make(Policy)(state), rtol=1e-5, atol=1e-6)

    @pytest.mark.parametrize(
        "change",
        [
            lambda state: state.astype(np.float64),
            np.asfortranarray,
            lambda state: np.repeat(state, 2, axis=1)[:, ::2],
            lambda state: state.tolist(),
        ],
        ids=["float64", "fortran", "strided", "list"],
    )
    def test_other_layouts_are_converted(self, make: Make, change: Callable[[Array], Any]) -> None:
        (state,) = draw(program(Policy), 4)
        np.testing.assert_allclose(make(Policy)(change(state)), make(Policy)(state), rtol=1e-5, atol=1e-6)

    @pytest.mark.parametrize(
        ("observation", "message"),
        [
            ((np.zeros((2, 9), np.float32),), r"expected shape \[8\] or \[batch, 8\], got \[2, 9\]"),
            ((np.zeros((0, 8), np.float32),), "the batch is empty"),
            ((np.zeros((2, 8), np.complex64),), "expected dtype float32, got complex64"),
            ((np.zeros(8, np.float32), np.zeros(8, np.float32)), r"expected 1 input\(s\) \(state\), got 2"),
            ((), r"expected 1 input\(s\) \(state\), got 0"),
        ],
        ids=["shape", "empty", "dtype", "too-many", "none"],
    )
    def test_what_does_not_fit_is_said(
        self, make: Make, observation: tuple[Array, ...], message: str
    ) -> None:
        with pytest.raises(SignatureError, match=message):
            make(Policy)(*observation)


def test_outputs_are_the_callers_even_if_the_network_lends_them(make: Make) -> None:
    executor, inputs = make(Borrowing), draw(program(Borrowing), 3)
    for batch in (1, 3):
        inputs = draw(program(Borrowing), batch)
        want = expected(program(Borrowing), inputs)
        first, second = executor.run(inputs), executor.run(inputs)
        for output in first:
            output[...] += np.arange(output.size, dtype=output.dtype).reshape(output.shape)
        _close(second, want)
        _close(executor.run(inputs), want)
        for index, output in enumerate(first):
            extra = np.arange(output.size, dtype=output.dtype).reshape(output.shape)
            np.testing.assert_allclose(output, want[index] + extra, rtol=1e-5, atol=1e-6)


def test_a_network_that_writes_into_its_inputs_gets_copies(make: Make) -> None:
    (state,) = draw(program(Scribbling), 2)
    kept = state.copy()
    (result,) = make(Scribbling).run([state])
    np.testing.assert_array_equal(state, kept)
    np.testing.assert_allclose(result, kept * 2 + 1)


def test_closing_twice_is_allowed(tmp_path: Path, make: Make) -> None:
    executor = make(Policy)
    executor.close()
    executor.close()
