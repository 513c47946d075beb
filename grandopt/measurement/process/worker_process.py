"""One worker process as its parent holds it: started, asked, waited for and ended.

Requests go to its standard input and answers come from its standard output, one line each (see `wire.codec`).
The parent blocks in a read meanwhile: it neither polls nor spins beside what is measured.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

from grandopt.errors import MeasurementError
from grandopt.measurement.interpreter import Interpreter
from grandopt.measurement.wire.codec import AnswerT, RefusedRequest, Request, read_answer, request_line

DEFAULT_LOADER = "grandopt.runtime.loader:load"
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)

_LONGEST_ANSWER = 1 << 24
_STDERR_LINES = 3
_STDERR_BYTES = 4096
_FAREWELL_S = 2.0


class WorkerProcess:
    """A running worker; made for one thread count, which its libraries read at start.

    `module` is run with `python -m` and answers requests (see `worker.pipe`).

    It has the parent's interpreter and `sys.path` with the current folder added, or another interpreter with
    nothing of this one's but grandopt; and a session of its own, so that Ctrl-C in a terminal reaches only
    the parent. It ends when its standard input does, hence also when the parent dies.

    Not thread-safe but for `stop`. Whoever makes it owns it and must `close` or `kill` it. Making one raises
    MeasurementError when the system refuses another process.
    """

    def __init__(
        self,
        threads: int = 1,
        module: str = "grandopt.measurement.worker.main",
        interpreter: Interpreter | None = None,
    ) -> None:
        self._expired = False
        with contextlib.ExitStack() as files:
            self._stderr = files.enter_context(tempfile.TemporaryFile())
            try:
                self._process = subprocess.Popen(
                    [_python(interpreter), "-P", "-m", module],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=self._stderr,
                    env=_environment(threads, interpreter),
                    start_new_session=True,
                )
            except OSError as error:
                raise MeasurementError(f"cannot start a worker process: {error}") from error
            self._files = files.pop_all()

    @property
    def alive(self) -> bool:
        """Whether it can be asked."""
        return self._process.poll() is None

    def ask(self, request: Request[AnswerT], timeout_s: float) -> AnswerT:
        """Send a request and wait for its answer.

        Raises MeasurementError with the worker's own message when it refuses, and stays usable then; or when
        it dies, gives an answer that cannot be read, or takes longer than `timeout_s` seconds: then it is
        killed. It is killed, too, when the wait is interrupted.
        """
        self.send(request)
        return self.answer(request, timeout_s)

    def send(self, request: Request[Any]) -> None:
        """Hand over a request without waiting; `answer` must be called before the next one."""
        stdin = self._process.stdin
        if stdin is None:
            raise MeasurementError("the worker process was started without pipes")
        with contextlib.suppress(BrokenPipeError):  # it died; whoever waits for its answer learns why
            stdin.write(request_line(request))
            stdin.flush()

    def answer(self, request: Request[AnswerT], timeout_s: float) -> AnswerT:
        """Wait for the answer to the request that was sent; raises as `ask`."""
        timer = threading.Timer(timeout_s, self._expire)
        timer.daemon = True
        timer.start()
        answered = False
        try:
            answer = read_answer(request, self._line(timeout_s))
            answered = True
        finally:
            timer.cancel()
            if not answered:
                self.kill()
        if isinstance(answer, RefusedRequest):
            raise MeasurementError(answer.reason)
        return answer

    def close(self) -> None:
        """Let it end by itself, or kill it after two seconds. Calling it twice is allowed."""
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_FAREWELL_S)
        self.kill()

    def kill(self) -> None:
        """End it now, with the processes that it started. Calling it twice is allowed."""
        if self._process.returncode is None:
            self._kill_group()
            self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        self._files.close()

    def stop(self) -> None:
        """End the process, from any thread: whoever waits for its answer learns it, and cleans up."""
        if self._process.returncode is None:
            self._kill_group()

    def _expire(self) -> None:
        self._expired = True
        self._kill_group()

    def _kill_group(self) -> None:
        """Kill it and what it started. Its process id must not have been given back yet."""
        if hasattr(os, "killpg"):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        else:
            self._process.kill()

    def _ended(self) -> int:
        """Wait for its end and return its exit code; a compiler that it left running ends, too."""
        if hasattr(os, "waitid") and self._process.returncode is None:
            os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)
            self._kill_group()
        return self._process.wait()

    def _line(self, timeout_s: float) -> bytes:
        """A whole line of its output; raises MeasurementError when it ends before that."""
        stdout = self._process.stdout
        if stdout is None:
            raise MeasurementError("the worker process was started without pipes")
        line = stdout.readline(_LONGEST_ANSWER)
        if line.endswith(b"\n"):
            return line
        code = self._ended()
        if self._expired:
            raise MeasurementError(f"the worker process did not answer within {timeout_s:g} s{self._last()}")
        raise MeasurementError(f"the worker process ended with {_meaning(code)}{self._last()}")

    def _last(self) -> str:
        size = self._stderr.seek(0, os.SEEK_END)
        self._stderr.seek(max(0, size - _STDERR_BYTES))
        text = self._stderr.read().decode(errors="replace")
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        return f"; its last words: {' | '.join(lines[-_STDERR_LINES:])}" if lines else ""


def _python(interpreter: Interpreter | None) -> str:
    return sys.executable if interpreter is None else str(interpreter.executable)


def _environment(threads: int, interpreter: Interpreter | None) -> dict[str, str]:
    # The current folder comes last: the code of a pickled network may lie there, but must not hide a library.
    paths = dict.fromkeys(str(Path(entry).absolute()) for entry in [*sys.path, ""])
    if interpreter is not None:
        paths = dict.fromkeys([str(interpreter.library)])
    return {
        **os.environ,
        **dict.fromkeys(THREAD_VARIABLES, str(threads)),
        "PYTHONPATH": os.pathsep.join(paths),
    }


def _meaning(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
