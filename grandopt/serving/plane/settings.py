"""The protocol's settings of logging and tracing."""

from __future__ import annotations

import logging

from grandopt.serving.plane.metadata import Json
from grandopt.serving.protocol.errors import Code, ProtocolError

LOGGER = "grandopt"
LEVELS = {"log_info": logging.INFO, "log_warning": logging.WARNING, "log_error": logging.ERROR}
"""From the finest on: what is on lets all above it through, too."""
VERBOSE = "log_verbose_level"
FIXED = {"log_file": "", "log_format": "default"}
NO_TRACE: Json = {
    "trace_level": ["OFF"],
    "trace_rate": "1000",
    "trace_count": "-1",
    "log_frequency": "0",
    "trace_file": "",
    "trace_mode": "triton",
}
"""Nothing is traced."""


def logging_settings() -> Json:
    """What the log of the library lets through."""
    level = logging.getLogger(LOGGER).getEffectiveLevel()
    on = {name: level <= its for name, its in LEVELS.items()}
    return {**FIXED, **on, VERBOSE: int(level <= logging.DEBUG)}


def change_logging(changes: Json) -> None:
    """Let another part of the log through; raises ProtocolError for what cannot be set, and sets nothing."""
    for name, value in changes.items():
        _check(name, value)
    wanted = {**logging_settings(), **changes}
    if wanted[VERBOSE]:
        level = logging.DEBUG
    else:
        level = min((its for name, its in LEVELS.items() if wanted[name]), default=logging.CRITICAL)
    logging.getLogger(LOGGER).setLevel(level)


def check_trace(changes: Json) -> None:
    """Raise ProtocolError unless the changes leave tracing switched off."""
    for name, value in changes.items():
        if name not in NO_TRACE:
            raise ProtocolError(
                Code.INVALID, f"trace setting {name!r:.60} is unknown; known are {', '.join(NO_TRACE)}"
            )
        if value is not None and value != NO_TRACE[name]:
            raise ProtocolError(
                Code.UNSUPPORTED, f"this server does not trace: {name} stays {NO_TRACE[name]!r}"
            )


def _check(name: str, value: object) -> None:
    if name in FIXED:
        if value != FIXED[name]:
            raise ProtocolError(
                Code.UNSUPPORTED, f"{name} cannot be changed while the server runs: it stays {FIXED[name]!r}"
            )
    elif name in LEVELS:
        if not isinstance(value, bool):
            raise ProtocolError(Code.INVALID, f"{name} is true or false, got {value!r:.60}")
    elif name == VERBOSE:
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise ProtocolError(Code.INVALID, f"{name} is a whole number from 0 on, got {value!r:.60}")
    else:
        known = ", ".join([*FIXED, *LEVELS, VERBOSE])
        raise ProtocolError(Code.INVALID, f"log setting {name!r:.60} is unknown; known are {known}")
