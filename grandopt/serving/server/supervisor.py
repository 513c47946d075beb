"""Several worker processes as one server: started, replaced when they die, stopped together."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grandopt.errors import ServingError
from grandopt.serving.server.extra import require
from grandopt.serving.server.listeners import Listeners, listeners, with_ports
from grandopt.serving.server.options import ServerOptions
from grandopt.serving.server.process import SIGNALS, Started
from grandopt.serving.server.summary import Summary

_log = logging.getLogger(__name__)
STARTING_S = 120.0
SHORT_S, MOST_SHORT = 2.0, 5
"""A worker that ends so soon is not worth another one so many times in a row."""
_AGAIN_S, _LONGEST_PAUSE_S = 0.1, 10.0
"""The pause before another try after one that failed doubles from the first to the second."""
_AFTER_S = 2.0
"""More than the grace, before a worker that does not end is killed."""


@dataclass
class _Worker:
    process: asyncio.subprocess.Process
    began: float


class Supervisor:
    """Owns the ports, on which it does not listen itself, and the workers that do."""

    def __init__(self, options: ServerOptions, made: Listeners, folder: Path) -> None:
        self._made = made
        self._options = with_ports(options, made)
        self._folder = folder
        self._stopping = asyncio.Event()
        self._failed: str | None = None

    async def run(self, started: Started, *, once: bool = False) -> None:
        """Serve until a signal comes. Raises ServingError where workers cannot start."""
        loop, slots = asyncio.get_running_loop(), range(self._options.workers)
        for number in SIGNALS:
            loop.add_signal_handler(number, self._stopping.set)
        workers: list[_Worker] = []
        try:
            if await self._start_all(workers, started) and not once:
                await asyncio.gather(*[self._watch(slot, workers) for slot in slots])
        finally:
            self._stopping.set()
            await asyncio.gather(*[self._end(worker) for worker in workers])
        if self._failed is not None:
            raise ServingError(self._failed)

    async def _start_all(self, workers: list[_Worker], started: Started) -> bool:
        """Whether all have started; else a signal came first."""
        for slot in range(self._options.workers):
            try:
                worker, summary = await self._start(slot)
            except ServingError:
                if self._stopping.is_set():
                    return False
                raise
            workers.append(worker)
            if slot == 0:
                first = summary
        started(first)
        return True

    async def _start(self, slot: int) -> tuple[_Worker, Summary]:
        unix = [one.fileno() for one in self._made.unix]
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "grandopt.serving.server.worker"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            pass_fds=unix,
            start_new_session=True,  # Ctrl-C is for the supervisor, which stops them
            limit=1 << 24,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        given = {"options": self._options.to_json(), "unix": unix, "slot": slot, "folder": str(self._folder)}
        process.stdin.write(json.dumps(given).encode() + b"\n")
        told = await self._told(process.stdout)
        worker = _Worker(process, time.monotonic())
        if "error" in told:
            await self._end(worker)
            raise ServingError(f"a worker did not start: {told['error']}")
        return worker, Summary(**told)

    async def _told(self, output: asyncio.StreamReader) -> dict[str, Any]:
        """What a worker says of its start, or that as an error."""
        line = asyncio.ensure_future(output.readline())
        stop = asyncio.ensure_future(self._stopping.wait())
        await asyncio.wait((line, stop), timeout=STARTING_S, return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        if not line.done():
            line.cancel()
            stopped = self._stopping.is_set()
            return {"error": "the server stops" if stopped else f"it took longer than {STARTING_S:g} s"}
        answer: dict[str, Any] = json.loads(line.result() or b'{"error": "it ended without a word"}')
        return answer

    async def _watch(self, slot: int, workers: list[_Worker]) -> None:
        """Replace the worker of a slot whenever it ends."""
        short = 0
        while not self._stopping.is_set():
            stop = asyncio.ensure_future(self._stopping.wait())
            ended = asyncio.ensure_future(workers[slot].process.wait())
            await asyncio.wait((stop, ended), return_when=asyncio.FIRST_COMPLETED)
            stop.cancel()
            if self._stopping.is_set():
                ended.cancel()
                return
            worker = workers[slot]
            _log.warning("worker %d ended with %s and is replaced", slot, worker.process.returncode)
            short = short + 1 if time.monotonic() - worker.began < SHORT_S else 0
            short = await self._replace(slot, workers, short)

    async def _replace(self, slot: int, workers: list[_Worker], short: int) -> int:
        """Start a worker again, until it does or a signal comes; `short` is how often it ended too soon, and
        is given back. Where no other worker serves, too many times are the end of the server."""
        why = f"it ended {short} times within {SHORT_S:g} s of its start"
        while not self._stopping.is_set():
            alone = all(one.process.returncode is not None for one in workers)
            if short >= MOST_SHORT and alone:
                self._failed = f"worker {slot} cannot be replaced: {why}"
                self._stopping.set()
                break
            if short:
                await self._pause(min(_AGAIN_S * 2.0 ** min(short, 10), _LONGEST_PAUSE_S))
            try:
                workers[slot], _ = await self._start(slot)
                break
            except ServingError as error:
                short, why = short + 1, str(error)
                if not self._stopping.is_set():
                    _log.warning("worker %d is not replaced yet: %s", slot, why)
        return short

    async def _pause(self, seconds: float) -> None:
        """So long, or until a signal comes."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)

    async def _end(self, worker: _Worker) -> None:
        process = worker.process
        if process.returncode is None:
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), self._options.grace_s + _AFTER_S)
            except TimeoutError:
                process.kill()
                await process.wait()


def serve_with_workers(options: ServerOptions, started: Started, *, once: bool = False) -> None:
    """The same as `serve_here`, by `options.workers` processes."""
    require("uvloop", "httptools", "orjson")
    made = listeners(options)
    try:
        with tempfile.TemporaryDirectory(prefix="grandopt-") as folder:
            asyncio.run(Supervisor(options, made, Path(folder)).run(started, once=once))
    finally:
        made.close()
