"""The process that optimizes, as the serving process holds it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import tempfile
from pathlib import Path

import psutil

from grandopt.api.optimizing.main import LENGTH
from grandopt.api.optimizing.request import Answer

FAREWELL_S = 2.0
"""How long it may take to end its own workers before all are killed."""
LAST_LINES = 3
LAST_BYTES = 4096


async def optimized(content: bytes) -> Answer:
    """What a new process answers to the request `content`; it is gone when this returns or raises.

    Cancelling ends it, with all that it has started. It has a session of its own, so that Ctrl-C in a
    terminal reaches only the serving process, and ends by itself when that is gone. A process that ends
    without an answer is an answer, with its last words.
    """
    with tempfile.TemporaryFile() as errors, tempfile.TemporaryDirectory(prefix="grandopt-") as folder:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-m", "grandopt.api.optimizing.main", folder,
            stdin=asyncio.subprocess.PIPE, stdout=errors, stderr=errors,
            env=_environment(), start_new_session=True,
        )  # fmt: skip
        stdin = process.stdin
        try:
            if stdin is not None:
                with contextlib.suppress(ConnectionError):  # it died; its last words say why
                    stdin.write(LENGTH.pack(len(content)) + content)
                    await stdin.drain()
            code = await process.wait()
        finally:
            if stdin is not None:
                stdin.close()  # it takes that for a request to end
            await _ended(process)
        answer = await asyncio.to_thread(Answer.read, Path(folder))
        if answer is not None:
            return answer
        return Answer(
            "failed", f"the optimizing process ended with code {code}{_last_words(errors.fileno())}"
        )


async def _ended(process: asyncio.subprocess.Process) -> None:
    """Wait for the end of a process that was told to end, and kill what is left of it."""
    if process.returncode is not None:
        return
    with contextlib.suppress(psutil.NoSuchProcess):
        watched = psutil.Process(process.pid)
        others = watched.children(recursive=True)
        await asyncio.wait([asyncio.ensure_future(process.wait())], timeout=FAREWELL_S)
        if process.returncode is None:
            others += watched.children(recursive=True)
            process.kill()
        for other in others:  # psutil knows a process id that another one was given since
            with contextlib.suppress(psutil.NoSuchProcess):
                other.kill()
    await process.wait()


def _environment() -> dict[str, str]:
    # The current folder comes last: the code of a pickled network may lie there, but must not hide a library.
    paths = dict.fromkeys(str(Path(entry).absolute()) for entry in [*sys.path, ""])
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def _last_words(file: int) -> str:
    size = os.fstat(file).st_size
    text = os.pread(file, LAST_BYTES, max(0, size - LAST_BYTES)).decode(errors="replace")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return f"; its last words: {' | '.join(lines[-LAST_LINES:])}" if lines else ""
