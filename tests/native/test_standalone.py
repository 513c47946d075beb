"""What a native artifact needs at run time, and how it leaves the process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn

from grandopt.artifacts.store import Store
from grandopt.compiler.build import Candidate, build
from tests.native.conftest import BEST, Make
from tests.small_agents import Pair, draw, expected, program

ALONE = """
import json, sys
sys.modules["torch"] = None  # importing it fails
import numpy as np
from grandopt.runtime.loader import load
inputs = [np.array(values, dtype) for values, dtype in json.load(sys.stdin)]
outputs = load(sys.argv[1]).run(inputs)
known = sorted({name.partition(".")[0] for name in sys.modules})
json.dump({"outputs": [o.tolist() for o in outputs], "modules": known}, sys.stdout)
"""


def test_loading_and_running_need_neither_torch_nor_a_compiler(tmp_path: Path) -> None:
    artifact = build(program(Pair), Candidate("float32", BEST), Store(tmp_path / "store"))
    inputs = draw(program(Pair), 3)
    done = subprocess.run(
        [sys.executable, "-c", ALONE, artifact.path],
        input=json.dumps([(array.tolist(), array.dtype.name) for array in inputs]),
        env={"PATH": os.fspath(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    for got, want in zip(answer["outputs"], expected(program(Pair), inputs), strict=True):
        np.testing.assert_allclose(np.array(got), want, rtol=1e-5, atol=1e-6)
    assert not {"optuna", "typer", "scipy", "psutil"} & set(answer["modules"])


def test_denormals_count_as_zero_within_a_call_only(native: Make) -> None:
    class Scale(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * 1e20

    executor = native(Scale(), torch.zeros(2, 3))
    tiny = np.array([1e-40, 2.0, -1e-42], np.float32)
    np.testing.assert_array_equal(executor(tiny), np.array([0, 2e20, 0], np.float32))
    assert tiny[0] * np.float32(1e20) > 0  # this process's own arithmetic is as it was


def test_infinities_and_nan_keep_their_meaning(native: Make) -> None:
    class Functions(nn.Module):
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return (
                x.relu(), x.tanh(), x.sigmoid(), x.exp(), x.clamp(-1, 1), torch.maximum(x, -x), x.argmax(-1),
                x.amax(-1), x.softmax(-1), x.log(), nn.functional.elu(x), nn.functional.softplus(x), x.erf(),
            )  # fmt: skip

    executor = native(Functions(), torch.zeros(2, 5))
    with np.errstate(all="ignore"):
        for row in (
            [np.nan, 1, 2, 3, 4],
            [1, 2, np.nan, 9, np.nan],
            [np.inf, -np.inf, 0, -0.0, 1],
            [-np.inf] * 5,
            [3e38, -3e38, 89, -89, 104],
        ):
            inputs = np.array([row] * 9, np.float32)
            wanted = Functions()(torch.from_numpy(inputs))
            for got, want in zip(executor.run((inputs,)), wanted, strict=True):
                np.testing.assert_allclose(got, want.numpy(), rtol=2e-6, atol=1e-37)
