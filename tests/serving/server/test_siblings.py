"""What a worker makes of another that dies, stops or hangs while it is asked for its figures."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from grandopt.serving.server import siblings
from grandopt.serving.server.ended import keep
from grandopt.serving.server.siblings import Siblings

KEPT = "# HELP answers_total Answers.\n# TYPE answers_total counter\nanswers_total 40\n"
TOLD = KEPT.replace("40", "41")
Speaks = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def saying(text: bytes) -> Speaks:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(text)
        await writer.drain()
        writer.close()

    return speak


async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()  # until the asker gives up
    writer.close()


WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(TOLD) + TOLD.encode()


@pytest.mark.parametrize("length", [0, 1, 8, 15, 17, 30, len(WHOLE) - len(TOLD), len(WHOLE) - 1])
def test_a_worker_that_dies_in_the_middle_of_its_answer_is_told_by_what_it_wrote_down(
    tmp_path: Path, length: int
) -> None:
    assert asyncio.run(texts_beside(tmp_path, saying(WHOLE[:length]))) == ["", KEPT]


def test_a_whole_answer_is_taken(tmp_path: Path) -> None:
    assert asyncio.run(texts_beside(tmp_path, saying(WHOLE))) == [TOLD, ""]


def test_a_worker_that_hangs_or_fails_is_told_by_what_it_wrote_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(siblings, "WITHIN_S", 0.2)
    assert asyncio.run(texts_beside(tmp_path, hang)) == ["", KEPT]
    failed = saying(b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 2\r\n\r\n{}")
    assert asyncio.run(texts_beside(tmp_path, failed)) == ["", KEPT]


@pytest.mark.parametrize("left", [True, False])
def test_a_worker_that_is_gone_is_told_by_what_it_wrote_down(tmp_path: Path, left: bool) -> None:
    """Its socket is there without a listener, or is replaced at this moment and not there at all."""
    assert asyncio.run(texts_beside(tmp_path, None, left=left)) == ["", KEPT]


async def texts_beside(folder: Path, speak: Speaks | None, *, left: bool = False) -> list[str]:
    keep(folder / "1.last", [KEPT], {"model_stats": []})
    socket = folder / "1.sock"
    if speak is None:
        if left:
            socket.touch()
        return await Siblings(folder, 0).texts()
    server = await asyncio.start_unix_server(speak, socket)
    async with server:
        return await Siblings(folder, 0).texts()
