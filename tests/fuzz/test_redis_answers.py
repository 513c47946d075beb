"""A server that is no Redis: whatever it says, a look-up is a miss, in time."""

from __future__ import annotations

import logging
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from grandopt.errors import CacheError
from grandopt.runtime.cache.envelope import seal
from grandopt.runtime.cache.levels.breaker import Breaker
from grandopt.runtime.cache.levels.redis import RedisLevel

pytest.importorskip("redis", reason="skipped: the Redis client is not installed")

KEY = b"p" * 16 + b"key"
OTHER = b"p" * 16 + b"another key"

WRONG: list[bytes] = [
    b"", b"\r\n", b"hello\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"+OK\r\n", b"-ERR no\r\n",
    b"-MOVED 1 127.0.0.1:1\r\n", b"-LOADING\r\n", b"-NOAUTH\r\n", b":1\r\n", b":x\r\n", b":\r\n",
    b":99999999999999999999999999\r\n", b"$-1\r\n", b"$-5\r\n", b"$x\r\n", b"$3\r\nab\r\n",
    b"$5\r\nhello\r\n",
    b"$99999999999\r\n" + b"x" * 1000, b"$4\r\n\xff\xfe\x00\x80\r\n", b"*-1\r\n", b"*0\r\n", b"*1\r\n:1\r\n",
    b"*2\r\n$1\r\na\r\n$1\r\nb\r\n", b"*3\r\n:1\r\n+a\r\n*0\r\n", b"*999999999\r\n", b"*1\r\n" * 3000,
    b"*x\r\n",
    b"%1\r\n+a\r\n:1\r\n", b"~1\r\n:1\r\n", b"_\r\n", b"#t\r\n", b",1.5\r\n", b"(123\r\n", b"=5\r\ntxt:a\r\n",
    b">2\r\n+a\r\n+b\r\n", b"!3\r\nERR\r\n", b"\x00" * 100, b"\xff" * 100,
    b"$40\r\n" + seal(OTHER, b"x" * 23) + b"\r\n",
]  # fmt: skip


class Liar:
    """A server that answers whatever it reads with what `answer()` yields, piece by piece."""

    def __init__(self, answer: Callable[[], Iterator[bytes]]) -> None:
        self._answer = answer
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self._server.getsockname()[1]}/0"
        self._ended = False
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    def _accept(self) -> None:
        while not self._ended:
            connection, _ = self._server.accept()
            with connection:
                connection.settimeout(2)
                try:
                    while not self._ended and connection.recv(65536):
                        for piece in self._answer():
                            connection.sendall(piece)
                except OSError:
                    continue

    def close(self) -> None:
        self._ended = True
        socket.create_connection(self._server.getsockname()).close()
        self._thread.join()
        self._server.close()


def use(answer: Callable[[], Iterator[bytes]]) -> RedisLevel:
    """Every command of the level against such a server."""
    server = Liar(answer)
    level = RedisLevel(server.url, limit=0.2, breaker=Breaker(clock=lambda: 0.0))
    level._breaker.allows = lambda: True  # type: ignore[method-assign]  # each command is to be sent
    try:
        start = time.monotonic()
        assert level.get(KEY) is None
        assert level.get_many([KEY, OTHER]) == [None, None]
        level.put(KEY, b"value", 10.0)
        level.holds(KEY)
        level.discard(KEY)
        for command in (lambda: level.discard_prefix(b"p" * 16), level.clear):
            with suppress(CacheError):
                command()
        assert time.monotonic() - start < 30
        assert level.counts().misses == 3
    finally:
        level.close()
        server.close()
    return level


@pytest.mark.parametrize("answer", WRONG, ids=lambda answer: repr(answer[:24]))
def test_a_wrong_answer(answer: bytes) -> None:
    use(lambda: iter([answer] if answer else []))


def test_random_answers() -> None:
    draw = random.Random(0)

    def answer() -> Iterator[bytes]:
        pieces = draw.choices(WRONG, k=draw.choice((1, 1, 2, 5)))
        content = bytearray(b"".join(pieces)) or bytearray(b"+")
        for _ in range(draw.choice((0, 1, 5))):
            content[draw.randrange(len(content))] = draw.randrange(256)
        yield bytes(content[: draw.randrange(1, len(content) + 1)])

    for _ in range(12):
        use(answer)


def test_an_answer_that_does_not_end() -> None:
    def drip() -> Iterator[bytes]:
        yield b"$1000000\r\n"
        for _ in range(200):
            time.sleep(0.01)
            yield b"x"

    use(drip)


def test_an_answer_of_gigabytes() -> None:
    def flood() -> Iterator[bytes]:
        yield b"$4000000000\r\n"
        for _ in range(4000):
            yield b"x" * 1_000_000

    use(flood)


def test_it_is_logged_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="grandopt"):
        level = use(lambda: iter([b"hello\r\n"]))
    assert level.counts().failures > 0
    lines = [record.getMessage() for record in caplog.records if "does not answer" in record.getMessage()]
    assert lines
    assert len(lines) < level.counts().failures
