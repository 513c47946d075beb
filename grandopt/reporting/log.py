"""`optimization.log`: what a run did, line by line, for people and for `grep`.

A line reads `time level agent step message`, single spaces between the first four; "-" stands for no agent
and for no step. Runs are appended to one another, each starting with a header line (agent and step "-").
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

from grandopt.errors import OutputError


def utc_now() -> datetime:
    """The time of day, in UTC."""
    return datetime.now(UTC)


def one_line(text: str) -> str:
    """`text` with what would break a line or drive a terminal made visible (`\\n`, `\\x1b`, …)."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


class RunLog:
    """The log of one run, open for appending.

    Thread safety: `write` may be called from several threads, and several processes may append to one file;
    a line is handed to the operating system whole, and at once. Ownership: the log owns its file until
    `close`. Makes the folder. Raises OutputError, also from `write`, when the file cannot be written.
    """

    def __init__(self, path: Path, header: str, clock: Callable[[], datetime] = utc_now) -> None:
        self._path = path
        self._clock = clock
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("ab", buffering=0)
        except OSError as error:
            raise self._unwritable(error) from error
        try:
            self.write("info", "", "", header)
        except OutputError:
            self.close()
            raise

    def write(self, level: str, agent: str, step: str, message: str) -> None:
        """Append one line."""
        moment = self._clock().astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        words = [moment, level, _word(agent), _word(step), one_line(message)]
        line = " ".join(words).encode("utf-8", errors="backslashreplace") + b"\n"
        try:
            self._file.write(line)
        except OSError as error:
            raise self._unwritable(error) from error

    def close(self) -> None:
        """Give the file back. Calling it twice is allowed; writing afterwards is not."""
        self._file.close()

    def __enter__(self) -> RunLog:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _unwritable(self, error: OSError) -> OutputError:
        return OutputError(
            f"{self._path}: cannot be written ({error.strerror}); choose another folder with --output"
        )


def _word(text: str) -> str:
    """`text` as one word, so that the message always starts at the fifth."""
    return one_line("_".join(text.split())) or "-"
