"""The silence covers one thread's exporter noise and nothing else."""

from __future__ import annotations

import io
import logging
import sys
import threading
import warnings
from contextlib import redirect_stderr

import pytest

from grandopt.compiler.capture.log_suppression import LOGGERS, quiet


def test_other_threads_keep_their_stderr() -> None:
    stream = io.StringIO()
    with redirect_stderr(stream), quiet():
        print("ours", file=sys.stderr)
        other = threading.Thread(target=lambda: print("theirs", file=sys.stderr))
        other.start()
        other.join()
    assert stream.getvalue() == "theirs\n"


def test_warnings_are_collected_and_everything_is_put_back_even_after_an_error() -> None:
    stderr, levels = sys.stderr, [logging.getLogger(name).level for name in LOGGERS]
    collected: list[warnings.WarningMessage] = []

    def fail() -> None:
        with quiet() as caught:
            warnings.warn("noise", UserWarning, stacklevel=1)
            collected.extend(caught)
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        fail()
    assert [str(item.message) for item in collected] == ["noise"]
    assert sys.stderr is stderr
    assert [logging.getLogger(name).level for name in LOGGERS] == levels
