"""A server that is asked twice as much as it can do."""

from __future__ import annotations

import asyncio
import itertools
import shutil
import time
from pathlib import Path

import numpy as np
import orjson
import pytest
from torch import nn

from grandopt.artifacts.store import Store
from grandopt.compiler.build import Candidate, build
from grandopt.compiler.capture.export import capture
from grandopt.compiler.checkpoints.module.memory import from_module
from grandopt.config.engines import NativeOptions
from grandopt.runtime.loader import load
from grandopt.signature import Array
from tests.serving.http.planes import post
from tests.serving.server.processes import address, served
from tests.serving.server.storms import a_minute, resident_mb
from tests.small_agents import EXAMPLES, Policy

ROWS = 64
DEADLINE_US = 500_000
CONNECTIONS = 600


class Load:
    """Requests at a rate of their own, whether or not the ones before are answered."""

    def __init__(self, port: int, request: bytes, expected: bytes) -> None:
        self.port, self.request, self.expected = port, request, expected
        self.times: list[float] = []
        self.refused = self.hinted = self.waiting = 0
        self._free: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()

    async def connect(self) -> None:
        for _ in range(CONNECTIONS):
            self._free.put_nowait(await asyncio.open_connection("127.0.0.1", self.port))

    async def close(self) -> None:
        while not self._free.empty():
            _, writer = self._free.get_nowait()
            writer.close()
            await writer.wait_closed()

    async def one(self) -> None:
        began = time.perf_counter()
        self.waiting += 1
        reader, writer = await self._free.get()
        try:
            writer.write(self.request)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            fields = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
            body = await reader.readexactly(int(fields[b"content-length"]))
        finally:
            self._free.put_nowait((reader, writer))
            self.waiting -= 1
        if head.startswith(b"http/1.1 200"):
            assert body.endswith(self.expected)
            self.times.append(time.perf_counter() - began)
        elif head.startswith(b"http/1.1 503"):
            self.refused += 1
            self.hinted += b"retry-after" in fields
        else:
            raise AssertionError(head + body)

    async def at(self, rate: float, seconds: float) -> None:
        """So many a second, each in its own time."""
        began, tasks = time.perf_counter(), set()
        for number in itertools.count():
            due = began + number / rate
            if due > began + seconds:
                break
            if (wait := due - time.perf_counter()) > 0:
                await asyncio.sleep(wait)
            task = asyncio.ensure_future(self.one())
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        await asyncio.gather(*tasks)

    async def saturation(self, seconds: float) -> float:
        """How many a second are answered when the next is asked as soon as one before is answered."""
        end = time.perf_counter() + seconds

        async def caller() -> None:
            while time.perf_counter() < end:
                await self.one()

        await asyncio.gather(*[caller() for _ in range(8)])
        found, self.times = len(self.times) / seconds, []
        return found


async def overload(port: int, pid: int, request: bytes, expected: bytes, seconds: float) -> None:
    load_, resident = Load(port, request, expected), []
    await load_.connect()
    rate = await load_.saturation(3.0)
    load_.refused = load_.hinted = 0

    async def watch() -> None:
        while True:
            await asyncio.sleep(1.0)
            resident.append((time.monotonic(), resident_mb(pid)))

    watching = asyncio.ensure_future(watch())
    await load_.at(2 * rate, seconds)
    watching.cancel()
    await load_.close()
    times = np.sort(load_.times)
    asked = len(times) + load_.refused
    p99 = float(times[int(len(times) * 0.99)])
    slope = a_minute(resident[len(resident) // 3 :])
    print(
        f"saturation {rate:.0f}/s, asked {asked / seconds:.0f}: {len(times)} right, p99 {p99 * 1e3:.0f} ms, "
        f"{load_.refused} refused; {resident[-1][1]:.0f} MB, {slope:+.2f} MB/min"
    )
    assert load_.refused, "it was not overloaded"
    assert load_.hinted == load_.refused, "each says when to try again"
    assert len(times) > 0.5 * rate * seconds
    assert p99 < 2 * DEADLINE_US / 1e6, "what is answered is answered in time, as the client sees it"
    assert slope < 5.0, resident
    assert not load_.waiting


class Wide(nn.Sequential):
    """Milliseconds of computing for 64 rows: a client in Python can ask for more than there is."""

    def __init__(self) -> None:
        super().__init__(nn.Linear(8, 1024), nn.Tanh(), nn.Linear(1024, 1024), nn.Tanh(), nn.Linear(1024, 3))


def asking(rows: Array, name: str) -> bytes:
    tensor = {
        "name": name,
        "shape": list(rows.shape),
        "datatype": "FP32",
        "parameters": {"binary_data_size": rows.nbytes},
    }
    parameters = {"binary_data_output": True, "timeout": DEADLINE_US}
    text = orjson.dumps({"inputs": [tensor], "parameters": parameters})
    return post("/v2/models/wide/infer", text + rows.tobytes(), Inference_Header_Content_Length=len(text))


@pytest.mark.stress
def test_twice_its_saturation_is_refused_in_words_and_the_rest_is_in_time(tmp_path: Path) -> None:
    candidate = Candidate("float32", NativeOptions())
    (tmp_path / "artifacts").mkdir()
    wide_program = capture(from_module("wide", Wide(), EXAMPLES[Policy]), 0)
    built = build(wide_program, candidate, Store(tmp_path / "store"))
    shutil.copytree(built.path, tmp_path / "artifacts" / "wide")
    rows = np.random.default_rng(0).normal(size=(ROWS, 8)).astype(np.float32)
    wide = load(built.path)
    (expected,) = wide.run([rows])
    request = asking(rows, wide.signature.inputs[0].name)
    wide.close()
    with served(tmp_path / "artifacts") as (told, process):
        asyncio.run(overload(address(told)[1], process.pid, request, expected.tobytes(), 120.0))
