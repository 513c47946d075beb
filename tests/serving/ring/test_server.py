"""Rings as their server sees them: paths, replacements, clients and servers that die, and hostile memory."""

from __future__ import annotations

import asyncio
import gc
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections import deque
from itertools import repeat
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from grandopt.runtime.engine.engine import Engine
from grandopt.runtime.loader import load
from grandopt.serving.protocol.errors import Code, ProtocolError
from grandopt.serving.ring.client import RingClient
from grandopt.serving.ring.server import RingServer
from grandopt.signature import Array, Signature, TensorSpec
from tests.fakes import FakeExecutor
from tests.serving.ring.serving import Serving

ONES = np.ones(8, np.float32)
NUMBER = Signature((TensorSpec("x", ()),), (TensorSpec("y", ()),))


def plus(number: float) -> FakeExecutor:
    return FakeExecutor(NUMBER, lambda inputs: (inputs[0] + np.float32(number),))


class TestLife:
    def test_what_was_answered_is_counted(self, own: Serving) -> None:
        with RingClient(own.path, "policy") as client:
            for _ in range(30):
                client(ONES)
            direct = own.engine.stats().agents["policy"].direct
            assert (direct.answered, direct.failed, direct.missed) == (30, 0, 0)
            assert 0 < direct.latency.sum_ns < 10**9
        own.wait_for_rings(0)
        assert own.engine.stats().agents["policy"].direct.answered == 30

    def test_a_stop_tells_the_client(self, own: Serving, c_client: Path) -> None:
        client = RingClient(own.path, "policy")
        client(ONES)
        own.do(own.server.stop())
        assert own.server.addresses == ()
        assert not own.path.exists()
        with pytest.raises(ProtocolError, match="the server stops") as stopped:
            client(ONES)
        assert stopped.value.code is Code.UNAVAILABLE
        client.close()

    def test_requests_that_were_sent_are_answered_before_a_stop(self, own: Serving) -> None:
        go = threading.Event()

        def slow(inputs: object) -> tuple[Array, ...]:
            go.wait(20)
            return (inputs[0] * 3,)  # type: ignore[index]

        own.load("slow", FakeExecutor(NUMBER, slow))
        with RingClient(own.path, "slow") as client:
            for n in range(5):
                client.send(np.float32(n))
            threading.Timer(0.05, go.set).start()
            own.do(own.server.stop())
            assert [float(client.receive()) for _ in range(5)] == [0, 3, 6, 9, 12]

    def test_an_agent_that_is_unloaded(self, own: Serving) -> None:
        with RingClient(own.path, "policy") as client:
            client(ONES)
            own.do(own.engine.unload("policy"))
            own.wait_for_rings(0)
            with pytest.raises(ProtocolError, match="policy: is not served any more"):
                client(ONES)
        with pytest.raises(ProtocolError, match="no agent 'policy' is served"):
            RingClient(own.path, "policy")

    def test_a_replacement_takes_over_without_a_lost_answer(self, own: Serving) -> None:
        own.load("number", plus(0))
        with RingClient(own.path, "number") as client:
            seen = []
            for change in range(1, 10):
                changing = asyncio.run_coroutine_threadsafe(
                    own.engine.replace("number", plus(change)), own._loop
                )
                while not changing.done():
                    seen.append(float(client(np.float32(0))))
                changing.result()
                assert float(client(np.float32(0))) == change
            assert seen == sorted(seen)

    def test_a_version_ends_when_another_one_has_taken_over(self, own: Serving) -> None:
        old = plus(1)
        seen = weakref.ref(old)
        own.load("number", old)
        del old
        with RingClient(own.path, "number") as client:
            assert float(client(np.float32(0))) == 1
            own.do(own.engine.replace("number", plus(2)))
            assert float(client(np.float32(0))) == 2
            gc.collect()
            assert seen() is None

    def test_a_replacement_by_a_native_agent(self, own: Serving, artifacts: dict[str, Path]) -> None:
        executor = load(artifacts["policy"])
        zeros = FakeExecutor(executor.signature, lambda inputs: (np.zeros((len(inputs[0]), 3), np.float32),))
        with RingClient(own.path, "policy") as client:
            before = client(ONES)
            own.do(own.engine.replace("policy", zeros))
            np.testing.assert_array_equal(client(ONES), np.zeros(3))
            own.do(own.engine.replace("policy", artifacts["policy"]))
            np.testing.assert_array_equal(client(ONES), before)

    def test_it_sleeps_while_nobody_asks(self, own: Serving) -> None:
        with RingClient(own.path, "policy") as client:
            client(ONES)
            begun, cpu = time.monotonic(), time.process_time()
            time.sleep(0.3)
            assert (time.process_time() - cpu) / (time.monotonic() - begun) < 0.5  # looking would take a core


def test_on_uvloop(artifacts: dict[str, Path], tmp_path: Path) -> None:
    uvloop = pytest.importorskip("uvloop")
    with Serving(tmp_path / "ring", loop=uvloop.new_event_loop) as serving:
        serving.load("policy", artifacts["policy"])
        executor = load(artifacts["policy"])
        for _ in range(20):
            with RingClient(serving.path, "policy") as client:
                np.testing.assert_array_equal(client(ONES), executor(ONES))
        serving.wait_for_rings(0)
        left = RingClient(serving.path, "policy")
        serving.do(serving.server.stop())
        with pytest.raises(ProtocolError, match="the server stops"):
            left(ONES)
        left.close()


def test_many_rings_one_after_another_leave_nothing(own: Serving) -> None:
    def held() -> tuple[int, int, int]:
        with Path("/proc/self/statm").open() as file:
            pages = int(file.read().split()[0])
        return len(list(Path("/proc/self/fd").iterdir())), threading.active_count(), pages

    def ask(times: int) -> None:
        for _ in range(times):
            own.wait_for_rings(0)
            with RingClient(own.path, "policy", slots=64) as client:
                client(ONES)
        own.wait_for_rings(0)

    ask(20)
    before = held()
    ask(80)
    after = held()
    assert after[:2] == before[:2]
    assert after[2] - before[2] < 80 * 64 * 1024 // 4096 // 4  # a quarter of what the rings had


class TestDeath:
    def test_a_killed_client_gives_its_ring_back(self, own: Serving, c_client: Path) -> None:
        for _ in range(3):
            held = [
                subprocess.Popen([c_client, "hold", own.path, "policy"], stdout=subprocess.PIPE)
                for _ in range(2)
            ]
            for process in held:
                assert process.stdout is not None
                assert process.stdout.readline() == b"held\n"
            own.wait_for_rings(2)
            with pytest.raises(ProtocolError, match="all 2 rings are in use"):
                RingClient(own.path, "policy")
            for process in held:
                process.kill()
                process.communicate(timeout=10)
            own.wait_for_rings(0)
        assert not [thread for thread in threading.enumerate() if thread.name.startswith("grandopt-ring")]

    def test_a_killed_server_is_an_error(
        self, artifacts: dict[str, Path], tmp_path: Path, c_client: Path
    ) -> None:
        path = tmp_path / "ring"
        server = subprocess.Popen(
            [sys.executable, "-m", "tests.serving.ring.alone", path, artifacts["policy"]],
            stdout=subprocess.PIPE,
        )
        assert server.stdout is not None
        assert server.stdout.readline() == b"ready\n"
        held = subprocess.Popen(
            [c_client, "rounds", path, "policy", "1", "4000000000", "1"], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )  # fmt: skip
        assert held.stdin is not None
        held.stdin.write(ONES.tobytes())
        held.stdin.flush()
        with RingClient(path, "policy") as client:
            client(ONES)
            threading.Timer(0.05, server.send_signal, (signal.SIGKILL,)).start()
            with pytest.raises(ProtocolError, match="the server went away"):
                deque(map(client, repeat(ONES)), maxlen=0)
        answer, _ = held.communicate(timeout=10)
        assert answer == b"status 7: the server went away\n"
        server.communicate(timeout=10)
        with Serving(path):  # what the dead one left is replaced
            assert path.is_socket()


def test_the_engine_needs_no_ring() -> None:
    async def main() -> None:
        async with Engine() as engine:
            server = RingServer(SimpleNamespace(engine=engine), "/nowhere")
            await server.stop()
            await server.stop()

    asyncio.run(main())
