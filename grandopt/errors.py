"""Every error that grandopt raises on purpose.

GrandoptError
├── InputError                what the user gave cannot be used
│   ├── ConfigError           a configuration file, a field of it, or an option
│   ├── CheckpointError       a file that should hold an agent
│   │   ├── UntrustedError    … that would have to be unpickled first
│   │   └── UnknownFormatError    … of none of the known formats
│   ├── SignatureError        inputs that do not fit the agent
│   ├── SamplesError          recorded observations that cannot be used
│   ├── OutputError           a place that cannot be written
│   ├── ArtifactError         a damaged or unfitting artifact
│   ├── ReportError           a damaged or unfitting report
│   ├── HistoryError          a history of runs that cannot be read or written
│   ├── StorageError          a storage of studies that cannot be used, or was lost
│   └── UnknownAgentError     a name that no served agent has
├── EngineError               an engine and a program do not come together
│   ├── EngineUnavailableError    the engine is not installed here
│   ├── UnsupportedError          the engine cannot take this program
│   ├── BuildError                the engine tried and failed
│   └── CrashError                its process ended when it was called
├── CaptureError              a network cannot be turned into a graph
├── PassError                 a pass left a broken program behind
├── VerificationError         a candidate could not be compared at all
├── MeasurementError          a figure could not be taken
├── CacheError                a value that cannot be cached, or a cache that cannot be used
├── MemoryPoolError           memory that a pool cannot lend, or a lease that is over
├── ServingError              a request that got no answer
│   ├── Overloaded                too many wait already
│   ├── DeadlineExceeded          its deadline has passed, or would before the answer
│   ├── AgentFailed               the agent raised an error on it
│   ├── WorkerLost                the process that computed it ended
│   ├── SessionClosed             its session was closed, or had been idle for too long
│   └── EngineClosed              the engine was shut down, or never started
└── TuningError               a study could not be run

A message says what happened, with the offending value, and what to do next. Exit codes and HTTP
statuses are not here: `cli/app` maps these classes to exit codes.
"""

from __future__ import annotations

import re


class GrandoptError(Exception):
    """Base of all errors that grandopt raises on purpose; `str()` of it is one clear line.

    `remedy` is what to type against it, where that is one shell line or one option of grandopt.
    """

    def __init__(self, *words: object, remedy: str | None = None) -> None:
        super().__init__(*words)
        self.remedy = remedy


class InputError(GrandoptError):
    """What the user gave cannot be used."""


class ConfigError(InputError):
    """A configuration file, one of its fields, or a command-line option is wrong."""


class CheckpointError(InputError):
    """A file that should hold an agent cannot be read as one."""


class UntrustedError(CheckpointError):
    """Reading the file would run code from it; the caller has not said that it is trusted."""


class UnknownFormatError(CheckpointError):
    """The file is of none of the formats that agents come in."""


class SignatureError(InputError):
    """Inputs do not fit the agent's names, shapes or dtypes."""


class UnknownAgentError(InputError):
    """No served agent has that name; the message lists those that there are."""


class SamplesError(InputError):
    """Recorded observations cannot be used."""


class OutputError(InputError):
    """A file or folder cannot be written."""


class ArtifactError(InputError):
    """An artifact is damaged, or does not fit this machine or these libraries."""


class ReportError(InputError):
    """A report is damaged, or of a version that this grandopt does not know."""


class HistoryError(InputError):
    """A history is damaged, locked, of another program, or of a version that this grandopt does not know."""


class StorageError(InputError):
    """The database that studies are kept in cannot be used, or was lost for longer than it is waited for."""


class EngineError(GrandoptError):
    """An engine and a program do not come together."""


class EngineUnavailableError(EngineError):
    """The engine is not installed here; the message says how to install it."""


class UnsupportedError(EngineError):
    """The engine cannot take this program; the message names the operator or the reason."""


class BuildError(EngineError):
    """The engine tried to build the program and failed; the message holds its first error line."""


class CrashError(EngineError):
    """What the engine built ended the process that called it, or damaged its memory."""


class CaptureError(GrandoptError):
    """A network cannot be turned into a graph that computes the same."""


class PassError(GrandoptError):
    """A pass left a program behind that its own check refuses."""


class VerificationError(GrandoptError):
    """A candidate could not be compared with its original at all."""


class MeasurementError(GrandoptError):
    """A figure could not be taken."""


class CacheError(GrandoptError):
    """A value cannot be cached, or a cache cannot be used."""


class MemoryPoolError(GrandoptError):
    """A pool cannot lend what was asked for, or a lease was used after its return."""


class TuningError(GrandoptError):
    """A study could not be opened or run."""


class ServingError(GrandoptError):
    """A request got no answer."""


class Overloaded(ServingError):  # noqa: N818 - the names that callers of servers know
    """Too many requests wait already; `retry_after_s` is when there is likely to be room, in seconds."""

    def __init__(self, message: str, retry_after_s: float = 0.0) -> None:
        super().__init__(message)  # alone, so that a copy or a pickle is made of it and takes the rest over
        self.retry_after_s = retry_after_s


class DeadlineExceeded(ServingError):  # noqa: N818
    """The deadline has passed, or would before the answer; `retry_after_s` as for Overloaded.

    That is 0 where the same request with the same time to live could be taken at once.
    """

    def __init__(self, message: str, retry_after_s: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class AgentFailed(ServingError):  # noqa: N818
    """The agent raised an error on this request; `__cause__` is that error."""


class WorkerLost(ServingError):  # noqa: N818
    """The process that computed the request ended before it answered."""


class SessionClosed(ServingError):  # noqa: N818
    """The session was closed, or ended because nobody had called it for its idle time."""


class EngineClosed(ServingError):  # noqa: N818
    """The engine was shut down, or was not initialized yet."""


_RAISED = re.compile(r"[\w.]*(Error|Exception): (?P<cause>.+)")
"""The line of a traceback that says what was raised."""


def first_line(error: BaseException) -> str:
    """What a third-party error says, in one line.

    That is its first line that is not blank, or, for an error of the TorchScript interpreter, the line below
    its own tracebacks that names the cause; the class's name for an error that says nothing.
    """
    try:
        said = str(error)
    except Exception:  # noqa: BLE001 - an error whose words are broken is still to be told
        said = ""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    if "TorchScript interpreter" in lines[0]:
        causes = [found for line in lines if (found := _RAISED.fullmatch(line))]
        return causes[-1]["cause"] if causes else lines[-1]
    return f"{type(error).__name__}: {lines[0]}" if isinstance(error, KeyError) else lines[0]


def named_line(error: BaseException) -> str:
    """The type of a third-party error and, where it says something, its `first_line`."""
    name, said = type(error).__name__, first_line(error)
    return said if said.startswith(name) else f"{name}: {said}"
