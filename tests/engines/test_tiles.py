"""AMX's tiles, which Linux gives to a process on request: a compiled library runs in one that is fresh."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from grandopt.artifacts.artifact import Artifact
from grandopt.artifacts.machine import cpu_features
from grandopt.artifacts.store import Store
from grandopt.compiler.build import Candidate, build
from grandopt.compiler.capture.export import capture
from grandopt.compiler.checkpoints.module.memory import from_module
from grandopt.config.engine import Precision
from grandopt.config.engines import InductorOptions
from grandopt.runtime.executors.inductor import TILES

ROOT = Path(__file__).resolve().parents[2]

RUN = """
import sys
import grandopt, numpy as np
from grandopt.errors import ArtifactError
try:
    policy = grandopt.load(sys.argv[1])
except ArtifactError as error:
    raise SystemExit(str(error))
for batch in (1, 40):
    print(policy(np.ones((batch, 64), np.float32)).sum())
"""

SMALL_STACK = """
import ctypes, ctypes.util
class Stack(ctypes.Structure):
    _fields_ = [("pointer", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t)]
memory = ctypes.create_string_buffer(6144)
stack = Stack(ctypes.addressof(memory), 0, len(memory))
assert ctypes.CDLL(None, use_errno=True).sigaltstack(ctypes.byref(stack), None) == 0
"""
"""A stack for signals on which the tiles would not fit: the kernel then denies them to the process."""


class Wide(nn.Module):
    """[64] to [32], wide enough for the tiles."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 32))

    def forward(self, state: torch.Tensor) -> torch.Tensor:
        return self.layers(state)


def _built(store: Store, precision: Precision) -> Artifact:
    torch.manual_seed(0)
    of = capture(from_module("wide", Wide(), torch.zeros(2, 64)))
    options = InductorOptions() if precision == "bfloat16" else InductorOptions(gemm="library")
    return build(of, Candidate(precision, options), store)


def _fresh(code: str, artifact: Artifact) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, str(artifact.path)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=120,
        check=False,
    )


@pytest.fixture(scope="module")
def tiled(store: Store) -> Artifact:
    if TILES not in cpu_features():
        pytest.skip("skipped: this processor has no AMX")
    return _built(store, "bfloat16")


@pytest.mark.slow
def test_a_fresh_process_asks_before_it_uses_them(tiled: Artifact) -> None:
    assert TILES in tiled.manifest.cpu_features
    done = _fresh(RUN, tiled)
    assert done.returncode == 0, f"ended with {done.returncode}: {done.stderr}"
    one, forty = map(float, done.stdout.split())
    assert forty == pytest.approx(40 * one, rel=1e-2)


@pytest.mark.slow
def test_a_process_that_may_not_use_them_is_told(tiled: Artifact) -> None:
    done = _fresh(SMALL_STACK + RUN, tiled)
    assert done.returncode == 1
    assert done.stderr.strip() == (
        f"{tiled.path}: uses AMX's tiles, and the system does not let this process use them; "
        f"build it again here"
    )


@pytest.mark.slow
def test_what_uses_no_tiles_needs_none(store: Store) -> None:
    artifact = _built(store, "float32")
    assert not [feature for feature in artifact.manifest.cpu_features if feature.startswith("amx")]
    assert _fresh(SMALL_STACK + RUN, artifact).returncode == 0
