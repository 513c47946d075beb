"""The binding under callers that mean it no good: it answers, or raises, and keeps what it uses."""

from __future__ import annotations

import array
import ctypes
import os
import subprocess
import sys
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from grandopt.artifacts.artifact import Artifact, write
from grandopt.artifacts.store import Store
from grandopt.compiler.build import Candidate, build
from grandopt.errors import ArtifactError, SignatureError
from grandopt.runtime.executors.base import Executor
from grandopt.runtime.loader import load
from grandopt.signature import Array
from tests.native.conftest import BEST, Make
from tests.small_agents import Policy, program


class Scale(nn.Module):
    """One input [4], one output [4]: twice the input."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * 2


@pytest.fixture(scope="module")
def scale(native: Make) -> Executor:
    return native(Scale(), torch.zeros(2, 4))


def _ones(*shape: int) -> Array:
    return np.ones(shape, np.float32)


@pytest.mark.parametrize(
    "given",
    [
        np.broadcast_to(np.float32(1), (1 << 40, 4)),
        _ones(3, 4)[::-1],
        _ones(3, 4)[:, ::-1],
        np.asfortranarray(_ones(3, 4)),
        np.zeros(3, [("a", "f4", 4)]),
        np.zeros((3, 4), "M8[ns]"),
        np.zeros((3, 4), object),
        np.zeros((3, 4), "S4"),
        np.zeros((3, 4), "V4"),
        np.zeros((3, 4), ">f4"),
        np.zeros((3, 4), np.uint32),
        np.zeros((3, 4, 1), np.float32),
        np.zeros((0, 4), np.float32),
        np.zeros((3, 0), np.float32),
        memoryview(b"x" * 16),
        memoryview(array.array("f", [1.0] * 8))[::2],
        array.array("f"),
        (ctypes.c_float * 5)(),
        {0: 1},
        iter([1.0]),
    ],
    ids=lambda value: f"{type(value).__name__}-{getattr(value, 'dtype', '')}{getattr(value, 'shape', '')}",
)
def test_memory_that_cannot_be_used_as_it_is(scale: Executor, given: object) -> None:
    out = np.zeros((3, 4), np.float32)
    with pytest.raises(SignatureError, match="must be float32"):
        scale.run_into((given,), (out,))  # type: ignore[arg-type]
    with pytest.raises(SignatureError, match="must be float32"):
        scale.run([given])  # type: ignore[list-item]
    assert not out.any()


@pytest.mark.parametrize(
    "make",
    [
        lambda: (ctypes.c_float * 4)(1, 1, 1, 1),
        lambda: np.ones(4, np.float32).view(type("Own", (np.ndarray,), {})),
        lambda: np.ones(4, np.dtype("f4").newbyteorder("=")),
        lambda: memoryview(np.ones((1, 4), np.float32)).toreadonly(),
    ],
    ids=["ctypes", "subclass", "dtype", "read-only"],
)
def test_memory_that_can_be_used_as_it_is(scale: Executor, make: Callable[[], Any]) -> None:
    given = make()
    out = np.zeros(np.asarray(given).shape, np.float32)
    scale.run_into([given], [out])
    np.testing.assert_array_equal(out, np.full_like(out, 2))


@pytest.mark.parametrize(
    "arguments", [(), (None,), (None, None), ((), ()), ([1], "x"), ({1}, {2}), (1, 2, 3)]
)
def test_arguments_that_are_no_arrays(scale: Executor, arguments: tuple[Any, ...]) -> None:
    with pytest.raises((SignatureError, TypeError)):
        scale.run_into(*arguments)


def test_one_array_for_two_outputs(native: Make) -> None:
    class Two(nn.Module):
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return x * 2, x * 3

    out = _ones(1, 4)
    with pytest.raises(SignatureError, match="overlaps another array"):
        native(Two(), torch.zeros(2, 4)).run_into([_ones(1, 4)], [out, out])


def test_buffers_are_given_back_after_a_result_and_after_a_refusal(scale: Executor) -> None:
    given, out = array.array("f", [1.0] * 4), array.array("f", [0.0] * 4)
    scale.run_into((given,), (out,))
    assert out.tolist() == [2.0] * 4
    for wrong in (array.array("f", [0.0] * 5), array.array("d", [0.0] * 4), given, b"1234" * 4, None):
        with pytest.raises(SignatureError):
            scale.run_into((given,), (wrong,))  # type: ignore[arg-type]
    given.append(1.0)  # BufferError if anything still held them
    out.append(1.0)


def test_nothing_is_kept_after_a_call(scale: Executor) -> None:
    given, out = _ones(3, 4), _ones(3, 4)
    kept = [weakref.ref(given), weakref.ref(out)]
    scale.run_into([given], [out])
    with pytest.raises(SignatureError):
        scale.run_into([given, given], [out])
    with pytest.raises(SignatureError):
        scale.run_into([given], [out, out])
    scale.run([given])
    del given, out
    assert [ref() for ref in kept] == [None, None]


def test_code_of_an_argument_that_fails(scale: Executor) -> None:
    class Broken:
        def __array__(self, *_: object, **__: object) -> Array:
            raise ValueError("the camera is gone")

    with pytest.raises(SignatureError, match="cannot be read as an array: the camera is gone"):
        scale(Broken())
    with pytest.raises(SignatureError, match="cannot be read as an array"):
        scale([[1, 2, 3, 4], [1]])


@pytest.mark.skipif(sys.version_info < (3, 12), reason="classes have buffers from Python 3.12 on")
def test_code_of_an_argument_that_empties_the_list(scale: Executor) -> None:
    class Sly:
        def __buffer__(self, flags: int) -> memoryview:
            given.clear()
            outputs.clear()
            scale.run([_ones(1, 4)])  # and comes back in
            return memoryview(array.array("f", [1.0] * 4))

    given: list[Any] = [Sly()]
    outputs = [np.zeros(4, np.float32)]
    out = outputs[0]
    scale.run_into(given, outputs)
    assert out.tolist() == [2.0] * 4


# Arrays of this size are mapped, and unmapped with the last reference: a call that went on would crash.
EMPTIED = """
import sys, threading, time
import numpy as np
import grandopt
policy = grandopt.load(sys.argv[1])
length = 1 << 18
for turn in range(60):
    inputs, outputs = [np.ones((length, 8), np.float32)], [np.empty((length, 3), np.float32)]
    began = threading.Event()
    def empty():
        began.wait()
        time.sleep(turn * 5e-5)
        inputs.clear()
        outputs.clear()
    thread = threading.Thread(target=empty)
    thread.start()
    began.set()
    try:
        policy.run_into(inputs, outputs) if turn % 2 else policy.run(inputs)
    except grandopt.GrandoptError as error:  # emptied before the call began
        assert "expected 1" in str(error), error
    thread.join()
print("done")
"""


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    return build(program(Policy), Candidate("float32", BEST), Store(tmp_path / "store"))


def test_a_list_that_another_thread_empties_during_the_call(artifact: Artifact) -> None:
    done = _python("-X", "faulthandler", "-c", EMPTIED, artifact.path)
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr


@pytest.mark.parametrize(
    ("signature", "message"),
    [
        ({"shape": [1 << 62]}, "impossible size"),
        ({"shape": [1 << 31, 1 << 31, 4]}, "impossible size"),
        ({"shape": [1] * 16}, "16 axes, at most 15"),
        ({"shape": [1 << 70]}, "cannot be opened"),
        ({"dtype": "float32 "}, "is not one of"),
    ],
    ids=["large", "product", "axes", "number", "dtype"],
)
def test_a_manifest_with_impossible_tensors(
    tmp_path: Path, artifact: Artifact, signature: dict[str, Any], message: str
) -> None:
    (given,), outputs = artifact.manifest.signature["inputs"], artifact.manifest.signature["outputs"]
    changed = replace(artifact.manifest, signature={"inputs": [{**given, **signature}], "outputs": outputs})
    with pytest.raises(ArtifactError, match=message):
        load(write(tmp_path / "changed", changed, artifact.payloads()).path)


SECOND_INTERPRETER = """
import sys
import _xxsubinterpreters as interpreters
code = '''
import sys
sys.path[:] = {path!r}
import grandopt
try:
    grandopt.load({folder!r})
except grandopt.GrandoptError as error:
    print(error)
'''
interpreters.run_string(interpreters.create(), code.format(path=sys.path, folder=sys.argv[1]))
"""


def test_another_interpreter_of_the_process_is_refused(artifact: Artifact) -> None:
    pytest.importorskip("_xxsubinterpreters", reason="this Python has no interpreters to create")
    done = _python("-c", SECOND_INTERPRETER, artifact.path)
    # From 3.12 on Python itself refuses, before the binding can.
    ours = "native agents run in Python's main interpreter only"
    pythons = "does not support loading in subinterpreters"
    assert ours in done.stdout or pythons in done.stdout, done.stderr


def _python(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
