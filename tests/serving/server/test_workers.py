"""Several workers as one server: what one is told all do, and one that does not come back."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest

from grandopt.serving.grpc.coding import decode, encode
from grandopt.serving.grpc.inference_schema import INFERENCE
from tests.serving.server.processes import ANY, address, alive, ask, children, observation, served

INFER = "/v2/models/policy/infer"
WITHIN_S = 30.0


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + WITHIN_S
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def replaced(pid: int, before: list[int]) -> bool:
    now = children(pid)
    return len(now) == len(before) and now != before


def answered(place: tuple[str, int]) -> int:
    """The status of one request; 0 where the worker that it came to has died."""
    try:
        return ask(place, "POST", INFER, observation())[0]
    except OSError:
        return 0


@pytest.mark.slow
def test_a_worker_that_does_not_come_back_at_once_takes_nobody_along(artifacts: Path, tmp_path: Path) -> None:
    folder = tmp_path / "artifacts"
    shutil.copytree(artifacts, folder)
    with served(folder, "--workers", "2") as (told, process):
        place, first = address(told), children(process.pid)
        (folder / "policy").rename(tmp_path / "away")
        os.kill(first[0], signal.SIGKILL)
        until(lambda: not alive(first[0]))
        until(lambda: {answered(place) for _ in range(10)} == {200})
        time.sleep(2.0)  # and tries in vain meanwhile
        assert process.poll() is None
        assert answered(place) == 200
        (tmp_path / "away").rename(folder / "policy")
        until(lambda: replaced(process.pid, first))
        until(lambda: {answered(place) for _ in range(10)} == {200})
        process.terminate()
        _, said = process.communicate(timeout=WITHIN_S)
        assert process.returncode == 0
        assert "worker 0 is not replaced yet: a worker did not start: " in said


@pytest.mark.slow
def test_what_was_unloaded_stays_so_in_a_worker_that_comes_later(artifacts: Path) -> None:
    words = ("--workers", "2", "--model-control", "explicit", "--load", "policy")
    with served(artifacts, *words) as (told, process):
        place, first = address(told), children(process.pid)
        assert ask(place, "POST", "/v2/repository/models/policy/unload")[0] == 200
        os.kill(first[0], signal.SIGKILL)
        until(lambda: replaced(process.pid, first))
        time.sleep(1.5)
        assert {answered(place) for _ in range(30)} == {503}


@pytest.mark.slow
def test_statistics_and_settings_are_those_of_all_workers_over_grpc_too(artifacts: Path) -> None:
    with served(artifacts, "--workers", "3", light=False) as (told, _):
        place = address(told)
        assert {answered(place) for _ in range(30)} == {200}
        with grpc.insecure_channel("{}:{}".format(*address(told, "grpc"))) as channel:
            call = channel.unary_unary("/inference.GRPCInferenceService/ModelStatistics")
            found = decode(
                INFERENCE,
                "ModelStatisticsResponse",
                call(encode(INFERENCE, "ModelStatisticsRequest", {"name": "policy"})),
            )
        assert found["model_stats"][0]["inference_count"] == 30
        assert ask(place, "POST", "/v2/logging", {"log_verbose_level": 1})[0] == 200
        seen = {json.loads(ask(place, "GET", "/v2/logging")[1])["log_verbose_level"] for _ in range(20)}
        assert seen == {1}


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "3"])
def test_a_signal_before_it_has_started_ends_it_without_a_word(artifacts: Path, workers: str) -> None:
    command = [sys.executable, "-m", "grandopt", "serve", str(artifacts), *ANY, "--workers", workers]
    for after_s in (0.9, 1.2, 1.6):
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            time.sleep(after_s)
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=WITHIN_S)
        assert "Traceback" not in said
        assert said.count("\n") <= 1, said
