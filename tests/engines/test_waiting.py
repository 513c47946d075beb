"""Between two calls no engine's threads use the processor, except where that is what was asked for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from grandopt.artifacts.store import Store
from grandopt.compiler.build import Candidate, build
from grandopt.compiler.capture.export import capture
from grandopt.compiler.checkpoints.module.memory import from_module
from grandopt.config.engines import (
    EagerOptions,
    EngineOptions,
    InductorOptions,
    NativeOptions,
    OnnxRuntimeOptions,
    OpenVinoOptions,
    TorchScriptOptions,
)
from grandopt.measurement.environment import available_cores
from tests.engines.conftest import need

ROOT = Path(__file__).resolve().parents[2]
WIDTH, BATCH, THREADS = 512, 64, 2
ASLEEP = 0.05
"""Share of a pause in which an engine's threads may use a core. Those of OpenVINO (TBB) look for work for
about a millisecond before they sleep, however long the pause; others take 0.003 of it. Those that spin do so
for some ten milliseconds, so that they are seen best in a short pause."""
LONG_S, SHORT_S = 0.1, 0.016

RUN = f"""
import statistics, sys, time
import numpy as np
from grandopt.runtime.loader import load
executor = load(sys.argv[1], threads={THREADS})
inputs = (np.ones(({BATCH}, {WIDTH}), np.float32),)

def others():
    # The caller's own thread does not count: what waking it costs is the machine's affair.
    return time.process_time() - time.thread_time()

for _ in range(10):
    executor.run(inputs)
shares = []
for _ in range(25):
    executor.run(inputs)
    cpu, clock = others(), time.perf_counter()
    time.sleep(float(sys.argv[2]))
    shares.append((others() - cpu) / (time.perf_counter() - clock))
print(statistics.median(shares))
"""

ENGINES: dict[str, EngineOptions] = {
    "eager": EagerOptions(),
    "torchscript": TorchScriptOptions(),
    "native": NativeOptions(),
    "inductor": InductorOptions(gemm="library"),
    "onnxruntime": OnnxRuntimeOptions(),
    "openvino": OpenVinoOptions(),
}


def _cores_used(options: EngineOptions, store: Store, pause_s: float) -> float:
    """Core-seconds per second of a pause of all threads but the caller's, in a fresh process: the median."""
    need(options.engine)
    if available_cores() < THREADS:
        pytest.skip(f"skipped: {THREADS} threads need {THREADS} cores")
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH))
    of = capture(from_module("wide", network, torch.zeros(2, WIDTH)))
    artifact = build(of, Candidate("float32", options), store, threads=THREADS)
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(artifact.path), str(pause_s)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
        timeout=120,
    )
    return float(done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
def test_threads_sleep_between_calls(store: Store, engine: str) -> None:
    assert _cores_used(ENGINES[engine], store, LONG_S) < ASLEEP


@pytest.mark.slow
def test_spinning_is_seen_where_it_was_asked_for(store: Store) -> None:
    assert _cores_used(OnnxRuntimeOptions(spinning=True), store, SHORT_S) > ASLEEP
