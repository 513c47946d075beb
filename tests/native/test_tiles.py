"""Products and recurrences on AMX tiles, and the permission that they need."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from grandopt.artifacts.machine import cpu_features
from grandopt.artifacts.store import Store
from grandopt.compiler.backends.native.render.tile_recurrent import gate_columns
from grandopt.compiler.backends.native.render.weights import tile_columns
from grandopt.compiler.build import Candidate, build
from grandopt.compiler.capture.export import capture
from grandopt.compiler.checkpoints.module.memory import from_module
from grandopt.config.engines import NativeOptions
from grandopt.errors import ArtifactError
from grandopt.runtime.executors import native as engine
from grandopt.runtime.loader import load
from grandopt.signature import Array
from tests.native.conftest import REDUCED

AMX = "x86-64-v4-amx"
needs_tiles = pytest.mark.skipif(AMX not in REDUCED, reason="this CPU has no AMX tiles")


def _built(
    network: nn.Module, shape: tuple[int, ...], folder: Path, levels: tuple[str, ...] = (AMX,)
) -> Path:
    options = NativeOptions(levels=levels, weights="bfloat16")
    program = capture(from_module("tiled", network.eval(), (torch.zeros(2, *shape),)), 0)
    return build(program, Candidate("bfloat16", options), Store(folder)).path


def _rounded(x: Tensor) -> Tensor:
    return x.float().bfloat16().double()


class Layer(nn.Module):
    """One product, alone or with something to do for its epilogue."""

    def __init__(self, width: int, count: int, epilogue: bool) -> None:
        super().__init__()
        self.product, self.epilogue = nn.Linear(width, count), epilogue
        self.scale = nn.Parameter(torch.randn(count))

    def forward(self, x: Tensor) -> Tensor:
        y = self.product(x)
        return torch.tanh(y) * self.scale + x[..., :1] if self.epilogue else y


@needs_tiles
@pytest.mark.parametrize("epilogue", [False, True])
@pytest.mark.parametrize(
    ("rows", "width", "count"),
    [(1, 300, 144), (5, 96, 128), (16, 64, 64), (17, 40, 147), (33, 70, 50), (60, 31, 32), (49, 130, 17)],
)
def test_a_product_is_that_of_the_rounded_operands(
    tmp_path: Path, rows: int, width: int, count: int, epilogue: bool
) -> None:
    torch.manual_seed(rows)
    layer = Layer(width, count, epilogue)
    executor = load(_built(layer, (rows, width), tmp_path))
    inputs = torch.randn(11, rows, width)  # one tile of samples, and some one by one
    exact = copy.deepcopy(layer).double()
    exact.product.weight.data = _rounded(layer.product.weight.data)
    with torch.no_grad():
        y = exact.product(_rounded(inputs))
        if epilogue:
            y = torch.tanh(y) * exact.scale + inputs.double()[..., :1]
    outputs = executor(inputs.numpy())
    np.testing.assert_allclose(outputs, y.numpy(), atol=1e-5)
    np.testing.assert_array_equal(outputs[0], executor(inputs[0].numpy()))
    assert not np.allclose(outputs, layer(inputs).detach().numpy(), atol=1e-5)  # it was rounded


def _stepped(network: nn.RNNBase, x: Array, lstm: bool, reverse: bool) -> Array:
    """The recurrence in float64 with weights, input and the state that is multiplied rounded to bfloat16."""
    end = "_l0_reverse" if reverse else "_l0"
    w, u, b, d = (
        getattr(network, name + end).detach() for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )
    w, u, sequence = _rounded(w), _rounded(u), _rounded(torch.from_numpy(x))
    h = torch.zeros(x.shape[0], u.shape[1], dtype=torch.float64)
    c, outputs = h.clone(), []
    for step in sequence.unbind(1)[:: -1 if reverse else 1]:
        projected, recurrent = step @ w.T + b.double(), _rounded(h) @ u.T + d.double()
        if lstm:
            i, f, g, o = (projected + recurrent).chunk(4, -1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
        else:
            (r, z, n), (s, t, m) = projected.chunk(3, -1), recurrent.chunk(3, -1)
            z = (z + t).sigmoid()
            h = (1 - z) * (n + (r + s).sigmoid() * m).tanh() + z * h
        outputs.append(h)
    return torch.stack(outputs[:: -1 if reverse else 1], 1).numpy()


@needs_tiles
@pytest.mark.parametrize("hidden", [80, 88, 144])
@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_a_recurrence_is_that_of_the_rounded_operands(
    tmp_path: Path, kind: type[nn.LSTM] | type[nn.GRU], hidden: int
) -> None:
    class All(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell = kind(48, hidden, batch_first=True, bidirectional=True)

        def forward(self, x: Tensor) -> Tensor:
            return self.cell(x)[0]

    torch.manual_seed(hidden)
    network = All()
    for parameter in network.parameters():
        parameter.data *= 2
    executor = load(_built(network, (13, 48), tmp_path))
    inputs = np.random.default_rng(0).standard_normal((10, 13, 48)).astype(np.float32)
    both = [_stepped(network.cell, inputs, kind is nn.LSTM, reverse) for reverse in (False, True)]
    error = np.abs(executor(inputs) - np.concatenate(both, -1))
    # A state next to the middle of two bfloat16 numbers may be rounded either way, and then goes its own way.
    assert error.max() < 5e-3
    assert np.median(error[:, 1, :hidden]) < 1e-6
    assert np.median(error[:, -2, hidden:]) < 1e-6


@needs_tiles
def test_nan_and_infinity_stay_in_their_rows(tmp_path: Path) -> None:
    torch.manual_seed(0)
    executor = load(_built(nn.Sequential(nn.Linear(64, 96), nn.ReLU()), (20, 64), tmp_path))
    inputs = np.random.default_rng(0).standard_normal((9, 20, 64)).astype(np.float32)
    clean = executor(inputs)
    inputs[2, 7, 3], inputs[5, 19, 63] = np.nan, np.inf
    dirty = executor(inputs)
    assert np.isnan(dirty[2, 7]).all()
    assert np.isinf(dirty[5, 19]).any()
    assert not np.isfinite(dirty[5, 19]).all()
    same = np.ones((9, 20), bool)
    same[2, 7] = same[5, 19] = False
    np.testing.assert_array_equal(dirty[same], clean[same])


def test_tiles_hold_pairs_of_rows_by_16_columns() -> None:
    weight = np.arange(20 * 40, dtype=np.float32).reshape(20, 40)
    words = tile_columns(weight).reshape(2, 2, 16, 16)  # column tile, depth tile, pair of rows, column
    assert (words[1, 1, 3, 2] & 0xFFFF) << 16 == torch.tensor(weight[18, 38]).bfloat16().float().view(
        torch.int32
    )
    assert words[1, 0, 0, 4:].max() == words[0, 1, 4:].max() == 0
    gates = gate_columns(np.arange(3 * 17 * 17, dtype=np.float32).reshape(51, 17), 3)
    assert gates.size == 6 * 256
    assert (gates.reshape(6, 16, 16)[4, 0, 0] << 16).view(np.float32) == (17 + 16) * 17 // 4 * 4


REFUSED = """
import ctypes, json, sys
from pathlib import Path
import numpy as np
# The kernel refuses the tiles to a process with a thread whose alternative signal stack cannot hold them.
class Stack(ctypes.Structure):
    _fields_ = [("pointer", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t)]
memory = ctypes.create_string_buffer(1 << 16)
stack = Stack(ctypes.addressof(memory), 0, 4096)
libc = ctypes.CDLL(None, use_errno=True)
assert libc.sigaltstack(ctypes.byref(stack), None) == 0
from grandopt.runtime.executors import native
from grandopt.runtime.loader import load
from grandopt.artifacts.artifact import read
opened = []
fitting = native._fitting
native._fitting = lambda *given: opened.append(fitting(*given)) or opened[0]
outputs = load(sys.argv[1]).run([np.ones((1, 20, 64), np.float32)])[0]
artifact = read(Path(sys.argv[1]))
agent = ctypes.CDLL(str(artifact.payload_path("agent.x86-64-v4-amx.so")))
invoke = agent[artifact.manifest.options["invokes"]["x86-64-v4-amx"]]
x, y = np.ones((1, 20, 64), np.float32), np.ones((1, 20, 96), np.float32)
scratch = np.zeros(1 << 20, np.uint8)
code = invoke(*(ctypes.byref(ctypes.c_void_p(a.ctypes.data)) for a in (x, y)), ctypes.c_int64(1),
              ctypes.c_void_p(scratch.ctypes.data))
json.dump({"opened": opened, "code": code, "outputs": outputs.tolist()}, sys.stdout)
"""


@needs_tiles
def test_without_permission_a_lower_level_is_taken(tmp_path: Path) -> None:
    torch.manual_seed(0)
    path = _built(nn.Linear(64, 96), (20, 64), tmp_path, (AMX, "x86-64-v4"))
    done = subprocess.run(
        [sys.executable, "-c", REFUSED, path], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["opened"] == ["x86-64-v4"]
    assert answer["code"] == 4
    wanted = load(path).run([np.ones((1, 20, 64), np.float32)])[0]
    np.testing.assert_allclose(answer["outputs"], wanted, atol=1e-5)  # ones are exact in bfloat16


@needs_tiles
def test_permission_is_named_where_no_level_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _built(nn.Linear(64, 96), (20, 64), tmp_path)
    features = cpu_features()
    monkeypatch.setattr(engine, "cpu_features", lambda: features - {"amx_bf16"})
    with pytest.raises(ArtifactError, match=f"{AMX} needs amx_bf16"):
        load(path)
