"""Taps, blocks, GPUs and the process."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grandopt.errors import ConfigError
from grandopt.runtime.memory.resident import Resident
from grandopt.runtime.monitoring.blocks import BLOCKS, RollingBlocks
from grandopt.runtime.monitoring.gpu import GpuReading, gpu_reader, readings
from grandopt.runtime.monitoring.process import ProcessReader
from grandopt.runtime.monitoring.tap import OF_ONE, ROWS, Tap


def test_a_tap_keeps_copies_of_a_few_rows_of_a_few_batches() -> None:
    tap, batch = Tap(), np.arange(200.0).reshape(100, 2)
    for _ in range(ROWS):
        tap([batch], [batch[:, 0]])
    batch[:] = -1
    rows = tap.take()
    assert rows is not None
    ((inputs,), (outputs,)) = rows.inputs, rows.outputs
    assert ROWS <= len(inputs) < ROWS + OF_ONE
    assert inputs.min() == 0
    assert inputs.max() >= 150  # from the whole batch, not from its beginning
    np.testing.assert_array_equal(outputs, inputs[:, 0])
    assert tap.take() is None
    assert Tap.every(batches=1_000, requests=64_000) == 1_000 * OF_ONE // ROWS
    assert Tap.every(batches=1_000, requests=1_000) == 1_000 // ROWS
    assert Tap.every(0, 0) == 1


@given(st.lists(st.integers(1, 40), min_size=1, max_size=30))
def test_a_tap_gives_evenly_spaced_rows_of_each_batch_in_their_order(batches: list[int]) -> None:
    tap, kept, wanted = Tap(), 0, []
    for number, rows in enumerate(batches):
        batch = np.arange(rows * 2, dtype=np.float32).reshape(rows, 2) + 1000 * number
        full = kept >= ROWS
        assert tap([batch, batch[:, 0].astype(np.int64)], [batch[:, :, None]]) == (ROWS if full else None)
        if not full:
            wanted.append(batch[:: -(-rows // OF_ONE)])
            kept += len(wanted[-1])
    taken, all_wanted = tap.take(), np.concatenate(wanted)
    assert taken is not None
    np.testing.assert_array_equal(taken.inputs[0], all_wanted)
    np.testing.assert_array_equal(taken.inputs[1], all_wanted[:, 0])
    np.testing.assert_array_equal(taken.outputs[0], all_wanted[:, :, None])
    assert [array.dtype for array in taken.inputs] == [np.float32, np.int64]


@given(st.lists(st.integers(0, 40), max_size=60), st.integers(1, 16))
def test_blocks_hold_the_newest_rows_however_they_come(pieces: list[int], size: int) -> None:
    rows = np.arange(sum(pieces), dtype=np.float64)[:, np.newaxis]
    blocks = RollingBlocks(size)
    for piece in np.split(rows, np.cumsum(pieces)):
        blocks.add(piece)
    whole = len(rows) // size
    kept = rows[: whole * size].reshape(whole, size).mean(axis=1)[-BLOCKS:]
    found = blocks.blocks()
    if whole < 8:
        assert found is None
    else:
        assert found is not None
        np.testing.assert_allclose(found.means[:, 0], kept)


def test_errors_of_means_are_right_for_rows_that_resemble_each_other() -> None:
    """The share of windows whose deviate is beyond 2.58 is about the 1 % that it should be."""
    rng = np.random.default_rng(1)
    noise = rng.standard_normal((32 * 64, 500))
    for row in range(1, len(noise)):
        noise[row] = 0.95 * noise[row - 1] + np.sqrt(1 - 0.95**2) * noise[row]
    blocks = RollingBlocks(64)
    blocks.add(noise)
    found = blocks.blocks()
    assert found is not None
    z = found.window().z(np.zeros(500))
    assert (np.abs(z) > 2.576).mean() < 0.03
    assert 0.7 < z.std() < 1.2
    naive = noise.mean(axis=0) * np.sqrt(len(noise)) / noise.std(axis=0)
    assert (np.abs(naive) > 2.576).mean() > 0.3


def test_what_the_program_of_the_driver_prints_is_read() -> None:
    table = "0, NVIDIA H100 80GB HBM3, 37, 1024, 81559\n1, GPU, [N/A], [N/A], 10\nno line of it\n"
    assert readings(table) == (
        GpuReading(0, "NVIDIA H100 80GB HBM3", 0.37, 1 << 30, 81559 << 20),
        GpuReading(1, "GPU", None, None, 10 << 20),
    )


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program of the driver's name, which a test gives its text."""
    program = tmp_path / "nvidia-smi"
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    return program


def _says(program: Path, line: str) -> None:
    program.write_text(f"#!/bin/sh\n{line}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)


def test_gpus_are_asked_for_now_and_then(driver: Path) -> None:
    now = [0.0]
    _says(driver, "echo '0, G, 50, 1, 2'")
    read = gpu_reader(clock=lambda: now[0])
    assert read is not None
    assert read()[0].busy == 0.5
    _says(driver, "echo '0, G, 80, 1, 2'")
    now[0] = 4.0
    assert read()[0].busy == 0.5
    now[0] = 6.0
    assert read()[0].busy == 0.8
    _says(driver, "exit 9")
    now[0] = 12.0
    assert read() == ()


def test_no_driver_is_no_gpu(driver: Path) -> None:
    _says(driver, "echo 'NVIDIA-SMI has failed'; exit 9")
    assert gpu_reader() is None


def test_the_process_counts_its_workers() -> None:
    code = "import sys; data = bytearray(50_000_000); print('there', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as worker:
        assert worker.stdout is not None
        worker.stdout.readline()
        pids = [worker.pid]
        reader = ProcessReader(lambda: pids, resident=lambda: Resident(1000), cpu_s=lambda: 1.0)
        both = reader.read(0.0)
        worker.communicate()
    alone = reader.read(1.0)
    assert both.resident is not None
    assert both.resident > 50_000_000
    assert both.cpu_s > 1.0
    assert alone.resident == 1000
    assert alone.cores == 0.0
    assert alone.cpu_s == both.cpu_s
    assert alone.granted > 0


def test_memory_that_cannot_be_read_is_not_told(caplog: pytest.LogCaptureFixture) -> None:
    def denied() -> Resident:
        raise ConfigError("no")

    reader = ProcessReader(resident=denied)
    assert [reader.read(at).resident for at in (0.0, 1.0)] == [None, None]
    assert len(caplog.records) == 1
