"""Two servers with one Redis between their caches: what one has answered, the other need not compute."""

from __future__ import annotations

import http.client
import json
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.runtime.cache.server import RedisServer, running_server
from tests.serving.server.processes import address, ask, served

pytestmark = pytest.mark.slow

Place = tuple[str, int]
REQUESTS, DIFFERENT = 3000, 100
POINTS = 2.0
"""Percent of look-ups by which the hit rates of the two may differ."""
NAME = "policy"


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with running_server(tmp_path) as server:
        yield server


def _settings(folder: Path, redis: RedisServer, extra: str = "") -> Path:
    file = folder / "cache.yaml"
    file.write_text(f"cache:\n  redis: {redis.url}\n  must_pay: false\n{extra}")
    return file


class Caller:
    """Asks one server over one connection, and keeps what was no answer."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self._connection = http.client.HTTPConnection(*place, timeout=30)
        self.errors: list[str] = []
        self.answers: dict[int, set[str]] = {}

    def ask(self, number: int) -> None:
        """The observation of that number; its answer must always be the same."""
        values = np.random.default_rng(number).random(8).round(3).tolist()
        body = {"inputs": [{"name": "state", "shape": [1, 8], "datatype": "FP32", "data": values}]}
        self._connection.request("POST", f"/v2/models/{NAME}/infer", json.dumps(body))
        response = self._connection.getresponse()
        content = response.read()
        if response.status != 200:
            self.errors.append(content.decode())
            return
        data = json.loads(content)["outputs"][0]["data"]
        self.answers.setdefault(number, set()).add(json.dumps(data))

    def close(self) -> None:
        self._connection.close()

    def lookups(self) -> tuple[int, int]:
        """Hits and misses of the server's cache so far."""
        content = ask(self.place, "GET", f"/v2/models/{NAME}/stats")[1]
        seen = json.loads(content)["model_stats"][0]["inference_stats"]
        return seen["cache_hit"]["count"], seen["cache_miss"]["count"]

    def hit_rate(self, since: tuple[int, int] = (0, 0)) -> float:
        hits, misses = (now - then for now, then in zip(self.lookups(), since, strict=True))
        return 100 * hits / (hits + misses)


def test_the_second_server_hits_as_often_as_the_first(
    artifacts: Path, tmp_path: Path, redis: RedisServer
) -> None:
    """One stream of requests, each of which goes to either of the two; then a third that starts late."""
    words = ("--cache", str(_settings(tmp_path, redis)))
    numbers = random.Random(0)
    with served(artifacts, *words) as (first, _), served(artifacts, *words) as (second, _):
        callers = [Caller(address(first)), Caller(address(second))]
        for _ in range(REQUESTS):
            numbers.choice(callers).ask(int(DIFFERENT * numbers.random() ** 2))
            time.sleep(0.0005)  # answers are put into Redis beside the requests
        rates = [caller.hit_rate() for caller in callers]
        print(f"hit rates {rates[0]:.1f} % and {rates[1]:.1f} %")
        assert abs(rates[0] - rates[1]) <= POINTS, rates
        alone = 100 * (1 - DIFFERENT / (REQUESTS / 2))
        assert min(rates) > alone + POINTS, (rates, alone)  # the best that each could do by itself
        with served(artifacts, *words) as (late, _):
            third = Caller(address(late))
            for number in range(DIFFERENT):
                third.ask(number)
            known = {number for caller in callers for number in caller.answers}
            assert third.hit_rate() >= 100 * len(known) / DIFFERENT - POINTS
        for number in known:
            given = [caller.answers.get(number, set()) for caller in (*callers, third)]
            assert len(set().union(*given)) == 1
        for caller in (*callers, third):
            caller.close()
        assert [caller.errors for caller in (*callers, third)] == [[], [], []]


def test_redis_is_killed_and_started_again_under_load(
    artifacts: Path, tmp_path: Path, redis: RedisServer
) -> None:
    """No caller sees an error; once it is back, answers are shared again."""
    words = ("--cache", str(_settings(tmp_path, redis, "  entries: 16\n")))  # most look-ups come to Redis
    with served(artifacts, *words) as (first, _), served(artifacts, *words) as (second, _):
        callers = [Caller(address(one)) for one in (first, second, first, second)]
        over = threading.Event()

        def load(caller: Caller, seed: int) -> None:
            numbers = random.Random(seed)
            while not over.is_set():
                caller.ask(numbers.randrange(DIFFERENT))

        threads = [threading.Thread(target=load, args=(one, n)) for n, one in enumerate(callers)]
        for thread in threads:
            thread.start()
        try:
            time.sleep(1.0)
            redis.stop()
            time.sleep(1.5)
            redis.start()
            begin, rate = time.monotonic(), 0.0
            while rate < 90 and time.monotonic() - begin < 30:
                since = callers[0].lookups()
                time.sleep(1.0)
                rate = callers[0].hit_rate(since)
        finally:
            over.set()
            for thread in threads:
                thread.join(30)
        for caller in callers:
            caller.close()
        assert [caller.errors for caller in callers] == [[], [], [], []]
        assert all(len(answers) == 1 for caller in callers for answers in caller.answers.values())
        assert rate >= 90, rate
