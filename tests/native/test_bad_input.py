"""Whatever is handed to a native agent, the answer is a result or a clear exception."""

from __future__ import annotations

import array
import os
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from grandopt.artifacts.artifact import read, write
from grandopt.artifacts.store import Store
from grandopt.compiler.build import Candidate, build
from grandopt.compiler.capture.export import capture
from grandopt.compiler.checkpoints.module.memory import from_module
from grandopt.errors import (
    ArtifactError,
    BuildError,
    EngineUnavailableError,
    SignatureError,
    UnsupportedError,
)
from grandopt.runtime.executors import native as engine
from grandopt.runtime.executors.base import Executor
from grandopt.runtime.loader import load
from tests.native.conftest import BEST, Make


class TwoTowers(nn.Module):
    """Two inputs [4] and [3], one output [2]."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 2), nn.Linear(3, 2)

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.first(a)) + self.second(b)


@pytest.fixture(scope="module")
def towers(native: Make) -> Executor:
    return native(TwoTowers(), torch.zeros(2, 4), torch.zeros(2, 3))


def _pair(batch: int) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[type-arg]
    return np.ones((batch, 4), np.float32), np.ones((batch, 3), np.float32)


class TestRunInto:
    def test_takes_batches_single_observations_and_plain_buffers(self, towers: Executor) -> None:
        wanted = towers.run(_pair(3))[0]
        out = np.zeros((3, 2), np.float32)
        towers.run_into(list(_pair(3)), [out])
        np.testing.assert_array_equal(out, wanted)
        lone = np.zeros(2, np.float32)
        towers.run_into((np.ones(4, np.float32), np.ones(3, np.float32)), (lone,))
        np.testing.assert_array_equal(lone, wanted[0])
        plain = array.array("f", [0.0, 0.0])
        towers.run_into((array.array("f", [1.0] * 4), memoryview(array.array("f", [1.0] * 3))), (plain,))
        np.testing.assert_array_equal(np.array(plain), wanted[0])

    @pytest.mark.parametrize(
        ("inputs", "message"),
        [
            ((np.ones((1, 4), np.float64), np.ones((1, 3), np.float32)), "the dtype differs, got float64"),
            ((np.ones((1, 4), ">f4"), np.ones((1, 3), np.float32)), "the dtype differs"),
            ((np.ones((1, 4), np.int32), np.ones((1, 3), np.float32)), "the dtype differs, got int32"),
            ((np.ones((1, 5), np.float32), np.ones((1, 3), np.float32)), "the shape differs"),
            ((np.ones((1, 1, 4), np.float32), np.ones((1, 3), np.float32)), "the shape differs"),
            ((np.float32(1), np.ones((1, 3), np.float32)), "the shape differs"),
            ((np.ones((4, 1), np.float32).T, np.ones((1, 3), np.float32)), None),
            ((np.ones((1, 8), np.float32)[:, ::2], np.ones((1, 3), np.float32)), "not C-contiguous"),
            ((np.ones((0, 4), np.float32), np.ones((0, 3), np.float32)), "the batch is empty"),
            ((np.ones((2, 4), np.float32), np.ones((1, 3), np.float32)), "its batch differs"),
            ((np.ones(4, np.float32), np.ones((1, 3), np.float32)), "its batch differs"),
            ((np.ones((1, 4), np.float32),), r"expected 2 input array\(s\)"),
            (5, r"expected 2 input array\(s\)"),
            ((None, np.ones((1, 3), np.float32)), "got a NoneType"),
            (("text", b"bytes"), "got a str"),
            ((b"x" * 16, b"x" * 12), "the dtype differs"),
        ],
    )
    def test_inputs_that_do_not_fit(self, towers: Executor, inputs: object, message: str | None) -> None:
        out = np.zeros((1, 2), np.float32)
        if message is None:
            towers.run_into(inputs, (out,))
            return
        with pytest.raises(SignatureError, match=message):
            towers.run_into(inputs, (out,))  # type: ignore[arg-type]
        np.testing.assert_array_equal(out, 0)

    def test_outputs_that_do_not_fit(self, towers: Executor) -> None:
        locked = np.zeros((1, 2), np.float32)
        locked.flags.writeable = False
        for out, message in (
            (locked, "read-only"),
            (bytes(8), "output array must be writeable"),
            (np.zeros((2, 2), np.float32), "its batch differs"),
            (np.zeros((1, 4), np.float32)[:, ::2], "not C-contiguous"),
        ):
            with pytest.raises(SignatureError, match=message):
                towers.run_into(_pair(1), (out,))

    def test_arrays_that_overlap(self, towers: Executor) -> None:
        memory = np.ones(16, np.float32)
        first, out = memory[:4].reshape(1, 4), memory[2:4].reshape(1, 2)
        with pytest.raises(SignatureError, match="overlaps"):
            towers.run_into((first, memory[8:11].reshape(1, 3)), (out,))

    def test_unaligned_memory(self, towers: Executor) -> None:
        odd = np.frombuffer(bytearray(17), np.float32, 4, offset=1)
        with pytest.raises(SignatureError, match="not aligned"):
            towers.run_into((odd.reshape(1, 4), np.ones((1, 3), np.float32)), (np.zeros((1, 2), np.float32),))


def test_a_call_converts_what_run_refuses(towers: Executor) -> None:
    wanted = towers(*_pair(2))
    np.testing.assert_array_equal(towers(np.ones((2, 8))[:, ::2], [[1, 1, 1], [1, 1, 1]]), wanted)
    with pytest.raises(SignatureError, match="expected shape"):
        towers(np.ones(5, np.float32), np.ones(3, np.float32))


def test_an_index_outside_its_table_is_an_error(native: Make) -> None:
    executor = native(nn.Sequential(nn.Embedding(5, 3)), torch.zeros(2, 4, dtype=torch.int64))
    assert executor(np.array([[0, 4, 2, 1]])).shape == (1, 4, 3)
    for index in (5, -1, 2**62):
        with pytest.raises(SignatureError, match="outside its table"):
            executor(np.array([[0, 0, 0, index]]))


def test_a_large_batch_and_threads_at_once(native: Make) -> None:
    network = nn.Sequential(nn.Linear(6, 32), nn.Tanh(), nn.Linear(32, 2))
    executor = native(network, torch.zeros(2, 6))
    inputs = np.random.default_rng(0).standard_normal((20_001, 6)).astype(np.float32)
    wanted = executor.run((inputs,))[0]
    np.testing.assert_allclose(wanted, network(torch.from_numpy(inputs)).detach().numpy(), atol=1e-5)
    wrong: list[int] = []

    def call(number: int) -> None:
        for turn in range(300):
            rows = slice((number * 37 + turn) % 100, 5_000 if turn % 50 == 0 else 120)
            if not np.array_equal(executor.run((inputs[rows],))[0], wanted[rows], equal_nan=True):
                wrong.append(number)  # a row's result may depend on its place in a tile only by rounding
                np.testing.assert_allclose(executor.run((inputs[rows],))[0], wanted[rows], atol=1e-6)

    threads = [threading.Thread(target=call, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


class TestArtifact:
    def _built(self, tmp_path: Path) -> Path:
        program = capture(from_module("towers", TwoTowers(), (torch.zeros(2, 4), torch.zeros(2, 3))), 0)
        return build(program, Candidate("float32", BEST), Store(tmp_path)).path

    def test_an_altered_or_truncated_library_is_not_opened(self, tmp_path: Path) -> None:
        path = self._built(tmp_path)
        (library, *_) = path.glob("agent.*.so")
        content = bytearray(library.read_bytes())
        content[-100] ^= 1
        library.write_bytes(content)
        with pytest.raises(ArtifactError, match="damaged"):
            load(path)
        library.write_bytes(content[:1000])
        with pytest.raises(ArtifactError, match="damaged"):
            load(path)

    def test_a_library_that_is_none_is_refused(self, tmp_path: Path) -> None:
        artifact = read(self._built(tmp_path))
        files = {
            name: b"not a library" if "agent" in name else content
            for name, content in artifact.payloads().items()
        }
        with pytest.raises(ArtifactError, match="cannot be opened"):
            load(write(tmp_path / "broken", artifact.manifest, files).path)

    def test_a_cpu_without_the_features_is_refused_before_opening(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = self._built(tmp_path)
        monkeypatch.setattr(engine, "cpu_features", lambda: frozenset({"sse2"}))
        with pytest.raises(ArtifactError, match="fits none of its feature levels"):
            load(path)


class TestCompiler:
    def _build(self, tmp_path: Path) -> None:
        program = capture(from_module("towers", TwoTowers(), (torch.zeros(2, 4), torch.zeros(2, 3))), 0)
        build(program, Candidate("float32", BEST), Store(tmp_path))

    def test_one_that_does_not_exist(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CC", "/nowhere/cc")
        with pytest.raises(BuildError, match="/nowhere/cc cannot be started: No such file"):
            self._build(tmp_path)

    def test_one_that_fails(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        script = tmp_path / "cc"
        script.write_text(
            '#!/bin/sh\n[ "$1" = --version ] && { echo fake 1.0; exit 0; }\n'
            'echo "agent.c: In function f:" >&2; echo "agent.c:3: error: out of luck" >&2; exit 1\n'
        )
        script.chmod(0o755)
        monkeypatch.setenv("CC", str(script))
        with pytest.raises(BuildError, match=r"agent\.c:3: error: out of luck"):
            self._build(tmp_path)

    def test_none_at_all(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("CC", raising=False)
        monkeypatch.setenv("PATH", os.fspath(tmp_path))
        with pytest.raises(EngineUnavailableError, match="no C compiler found"):
            self._build(tmp_path)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: x - x.mean(0), "mixes the samples"),
        (lambda x: torch.softmax(x, 0), "works along the batch"),
        (lambda x: x.flip(0), "works along the batch"),
        (lambda x: torch.linalg.matrix_exp(x.unflatten(1, (2, 2))), "is not covered"),
    ],
    ids=["mean", "softmax", "flip", "operator"],
)
def test_programs_that_are_not_covered_name_the_operator(
    native: Make, function: object, message: str
) -> None:
    class Module(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return function(x)  # type: ignore[operator,no-any-return]

    with pytest.raises(UnsupportedError, match=message):
        native(Module(), torch.zeros(3, 4))
