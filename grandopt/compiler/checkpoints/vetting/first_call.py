"""The first call of a network of a stranger, which may never end."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from grandopt import limits
from grandopt.compiler.program import FORWARD_ERRORS
from grandopt.errors import CheckpointError, GrandoptError


def first_call(call: Callable[[], Any], path: Path, *, trust: bool) -> Any:
    """What `call` returns, without gradients; what it raises (see FORWARD_ERRORS) is raised here.

    Without `trust`, raises CheckpointError when it takes longer than the limit. Nothing can stop it then: it
    goes on in a thread of its own until this process ends, which does not wait for it.
    """
    if trust:
        with torch.no_grad():
            return call()
    done: list[tuple[Any, BaseException | None]] = []

    def run() -> None:
        try:
            with torch.no_grad():
                done.append((call(), None))
        except (*FORWARD_ERRORS, GrandoptError, MemoryError) as error:
            done.append((None, error))

    thread = threading.Thread(target=run, name="first call", daemon=True)
    thread.start()
    thread.join(limits.FIRST_CALL_S)
    if not done:
        raise CheckpointError(
            f"{path}: the network's first call did not end within {limits.FIRST_CALL_S:g} s; if it must be "
            f"so slow, pass --trust (or `trust: true`)"
        )
    result, failure = done[0]
    if failure is not None:
        raise failure
    return result
