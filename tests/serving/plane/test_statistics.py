"""What the plane tells of itself and its models."""

from __future__ import annotations

import asyncio
import logging
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from grandopt.config.cache import CacheConfig
from grandopt.runtime.engine.direct import DirectStats
from grandopt.runtime.executors.base import Executor
from grandopt.runtime.histogram import LatencyCounts
from grandopt.serving.protocol.errors import Code, ProtocolError
from tests.fakes import FakeExecutor
from tests.runtime.engine.agents import line, pair
from tests.serving.agents import answered, asking, plane_of, serve

ROW = np.ones((1, 4), np.float32)


def slow(seconds: float) -> Executor:
    """x [4] → x, after a while."""

    def compute(inputs: Any) -> Any:
        time.sleep(seconds)
        return (inputs[0].copy(),)

    return FakeExecutor(line().signature, compute)


def test_the_members_that_load_generators_read_are_there(tmp_path: Path) -> None:
    async def main() -> None:
        async with plane_of(tmp_path, two=pair()) as plane:
            (stats,) = plane.statistics("two", "1")["model_stats"]
            assert {"name", "version", "inference_count", "execution_count", "last_inference"} <= stats.keys()
            times = stats["inference_stats"]
            members = {"success", "fail", "queue", "compute_input", "compute_infer", "compute_output"}
            assert members | {"cache_hit", "cache_miss"} <= times.keys()
            assert all(one == {"count": 0, "ns": 0} for one in times.values())
            config, metadata = plane.model_config("two"), plane.model_metadata("two")
            assert config["max_batch_size"] > 0
            for told, has in ((config["input"], metadata["inputs"]), (config["output"], metadata["outputs"])):
                assert [one["name"] for one in told] == [one["name"] for one in has]
                assert [[-1, *one["dims"]] for one in told] == [one["shape"] for one in has]
            assert [one["data_type"] for one in config["input"]] == ["TYPE_FP32", "TYPE_INT64"]
            assert "dynamic_batching" in config
            assert config["model_transaction_policy"] == {"decoupled": False}
            assert config["platform"] == metadata["platform"] == "grandopt_fake"

    asyncio.run(main())


def test_times_are_where_they_were_spent(tmp_path: Path) -> None:
    async def main() -> None:
        async with plane_of(tmp_path) as plane:
            serve(plane.repository, "gate", slow(0.02), workers="threads", concurrency=1, batch_limit=1)
            before = time.time()
            await asyncio.gather(*(answered(plane, asking("gate", x=ROW)) for _ in range(5)))
            (stats,) = plane.statistics()["model_stats"]
            times = stats["inference_stats"]
            assert stats["inference_count"] == stats["execution_count"] == times["success"]["count"] == 5
            (batches,) = stats["batch_stats"]
            assert batches["batch_size"] == 1
            assert batches["compute_infer"] == times["compute_infer"]
            assert times["compute_infer"]["ns"] >= 5 * 20_000_000
            assert times["queue"]["ns"] >= (1 + 2 + 3 + 4) * 20_000_000
            parts = ("queue", "compute_input", "compute_infer", "compute_output")
            assert sum(times[part]["ns"] for part in parts) == pytest.approx(times["success"]["ns"], rel=1e-6)
            assert before - 1 <= stats["last_inference"] / 1000 <= time.time() + 1

    asyncio.run(main())


def test_every_request_is_counted_once_whatever_becomes_of_it(tmp_path: Path) -> None:
    async def main() -> None:
        async with plane_of(tmp_path) as plane:
            serve(plane.repository, "gate", slow(0.01), workers="threads", concurrency=1, queue_items=8)
            outcomes: list[Any] = []
            for _ in range(3):
                with pytest.raises(ProtocolError):
                    await answered(plane, asking("gate", x=ROW[:, :2]))
            refused = []
            for _ in range(20):
                try:
                    outcomes.append(plane.infer(asking("gate", x=ROW)))
                except ProtocolError as error:
                    refused.append(error.code)
            assert refused == [Code.OVERLOADED] * 12
            outcomes[-1].cancel()
            await asyncio.gather(*outcomes, return_exceptions=True)
            await asyncio.sleep(0)
            assert plane.failures()["gate"] == {"REJECTED": 12, "CANCELED": 1, "BACKEND": 0, "OTHER": 3}
            (stats,) = plane.statistics()["model_stats"]
            assert stats["inference_stats"]["fail"]["count"] == 16
            assert stats["inference_stats"]["success"]["count"] == stats["inference_count"] == 7

    asyncio.run(main())


def test_an_answer_that_the_engine_gave_up_is_an_error_and_leaves_nobody_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with plane_of(tmp_path, two=pair()) as plane:
            given_up = asyncio.get_running_loop().create_future()
            agent = plane.repository.served["two"].agent
            monkeypatch.setattr(agent, "submit", lambda *asked: given_up)
            waiting = plane.infer(asking("two", x=ROW[:, :2], n=np.ones(1, np.int64)))
            given_up.cancel()
            with pytest.raises(ProtocolError, match="two: the request was given up") as caught:
                await asyncio.wait_for(waiting, 5)
            assert caught.value.code is Code.UNAVAILABLE
            assert plane.failures()["two"]["REJECTED"] == 1

    asyncio.run(main())


def test_what_fails_through_shared_memory_is_in_both_counts_of_failures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with plane_of(tmp_path, two=pair()) as plane:
            agent = plane.repository.served["two"].agent
            monkeypatch.setattr(
                agent.direct, "beside", lambda: DirectStats(LatencyCounts(), failed=2, missed=3)
            )
            (stats,) = plane.statistics("two")["model_stats"]
            assert plane.failures()["two"] == {"REJECTED": 3, "CANCELED": 0, "BACKEND": 2, "OTHER": 0}
            assert stats["inference_stats"]["fail"]["count"] == 5

    asyncio.run(main())


def test_answers_from_a_cache_are_not_inferences(tmp_path: Path) -> None:
    async def main() -> None:
        async with plane_of(tmp_path) as plane:
            serve(plane.repository, "gate", line(), cache=CacheConfig(must_pay=False))
            for value in (1, 2, 1, 1, 2):
                await answered(plane, asking("gate", x=value * ROW))
            (stats,) = plane.statistics()["model_stats"]
            times = stats["inference_stats"]
            assert times["success"]["count"] == 5
            assert (times["cache_hit"]["count"], times["cache_miss"]["count"]) == (3, 2)
            assert stats["inference_count"] == times["compute_infer"]["count"] == 2
            assert plane.model_config("gate")["response_cache"] == {"enable": True}

    asyncio.run(main())


def test_a_server_that_stops_takes_nothing_more(tmp_path: Path) -> None:
    async def main() -> None:
        async with plane_of(tmp_path, gate=line()) as plane:
            assert plane.ready
            waiting = plane.infer(asking("gate", x=ROW))
            plane.stop()
            assert plane.live
            assert not plane.ready
            with pytest.raises(ProtocolError, match="the server is stopping") as caught:
                await answered(plane, asking("gate", x=ROW))
            assert caught.value.code is Code.UNAVAILABLE
            assert (await waiting).outputs[0].shape == (1, 4)  # type: ignore[misc]
            (stats,) = plane.statistics()["model_stats"]  # figures are told to the end
            assert stats["inference_stats"]["success"]["count"] == 1
            assert plane.models() == ["gate"]
            assert not plane.model_ready("gate")

    asyncio.run(main())


def test_the_extensions_that_are_listed_are_those_that_work(tmp_path: Path) -> None:
    async def main() -> None:
        async with plane_of(tmp_path) as plane:
            told = plane.server_metadata()
            assert told["name"] == "grandopt"
            assert "trace" not in told["extensions"]
            assert "system_shared_memory" not in told["extensions"]
        async with plane_of(tmp_path, regions=object()) as plane:
            assert "system_shared_memory" in plane.server_metadata()["extensions"]

    asyncio.run(main())


def test_the_log_is_set_and_nothing_is_traced(tmp_path: Path) -> None:
    logger = logging.getLogger("grandopt")
    before = logger.level

    async def main() -> None:
        async with plane_of(tmp_path, gate=line()) as plane:
            told = plane.logging_settings({"log_info": False, "log_warning": True})
            assert (told["log_info"], told["log_warning"], told["log_error"]) == (False, True, True)
            assert logger.level == logging.WARNING
            assert plane.logging_settings({"log_verbose_level": 1})["log_info"]
            for changes, code in (
                ({"log_file": "/tmp/x"}, Code.UNSUPPORTED),
                ({"log_info": 1}, Code.INVALID),
                ({"log_verbose_level": -1}, Code.INVALID),
                ({"loud": True}, Code.INVALID),
            ):
                with pytest.raises(ProtocolError) as caught:
                    plane.logging_settings(changes)
                assert caught.value.code is code
            assert logger.level == logging.DEBUG
            assert plane.trace_settings({"trace_level": ["OFF"]}, "gate")["trace_level"] == ["OFF"]
            with pytest.raises(ProtocolError, match="does not trace") as refused:
                plane.trace_settings({"trace_level": ["TIMESTAMPS"]})
            assert refused.value.code is Code.UNSUPPORTED

    try:
        asyncio.run(main())
    finally:
        logger.setLevel(before)
