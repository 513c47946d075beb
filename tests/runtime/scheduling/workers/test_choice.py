"""Choosing who computes: by what the agent does here, not by what it is called."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from grandopt.errors import ConfigError
from grandopt.reason import ReasonCode
from grandopt.runtime.scheduling.workers import choice, hops
from grandopt.runtime.scheduling.workers.choice import by_hand, choose, overlap
from grandopt.signature import Array, Signature, TensorSpec
from tests.fakes import FakeExecutor

SIGNATURE = Signature((TensorSpec("x", (2,)),), (TensorSpec("y", (2,)),))
ONE = [np.zeros((1, 2), np.float32)]
MS = 1_000_000
LOCK = threading.Lock()


def at_once(inputs: Sequence[Array]) -> tuple[Array, ...]:
    return (inputs[0],)


def sleeping(inputs: Sequence[Array]) -> tuple[Array, ...]:
    time.sleep(0.004)  # releases the GIL, and needs no core
    return (inputs[0],)


def one_at_a_time(inputs: Sequence[Array]) -> tuple[Array, ...]:
    with LOCK:  # as the GIL, of which a test on a busy machine could not be sure
        time.sleep(0.004)
    return (inputs[0],)


@pytest.fixture(autouse=True)
def ways(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "thread_hop_ns", lambda: MS)
    monkeypatch.setattr(choice, "process_hop_ns", lambda: MS // 10)


def chosen(function: Callable[..., Any], cores: int = 2, **given: Any) -> choice.Choice:
    return choose(FakeExecutor(SIGNATURE, function), ONE, cores, **given)


@pytest.mark.parametrize("cores", [1, 2, 8])
def test_less_than_a_hop_is_computed_inline(cores: int) -> None:
    found = chosen(at_once, cores)
    assert (found.kind, found.size, found.reason.code) == ("inline", 1, ReasonCode.SHORTER_THAN_HOP)
    assert found.evidence.call_ns is not None
    assert found.evidence.call_ns < MS
    assert found.evidence.at_once_ns is None


def test_calls_that_overlap_get_threads() -> None:
    found = chosen(sleeping, 3)
    assert (found.kind, found.size, found.reason.code) == ("threads", 3, ReasonCode.CALLS_OVERLAP)
    evidence = found.evidence
    assert evidence.one_after_other_ns is not None
    assert evidence.at_once_ns is not None
    assert evidence.at_once_ns <= choice.OVERLAPS * evidence.one_after_other_ns
    assert evidence.process_hop_ns is None


def test_calls_that_wait_for_each_other_get_processes() -> None:
    found = chosen(one_at_a_time)
    assert (found.kind, found.size, found.reason.code) == ("processes", 2, ReasonCode.ONE_CALL_AT_A_TIME)
    assert found.evidence.process_hop_ns == MS // 10
    assert found.evidence.handling_ns is not None


def test_calls_that_do_not_pay_for_the_way_stay_inline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "process_hop_ns", lambda: 400 * MS)
    found = chosen(one_at_a_time)
    assert (found.kind, found.reason.code) == ("inline", ReasonCode.ONE_CALL_AT_A_TIME)
    assert "does not pay" in found.reason.text


def test_agents_that_cannot_be_made_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "getswitchinterval", lambda: 10.0)
    assert chosen(one_at_a_time, processes=False).kind == "inline"
    monkeypatch.setattr(sys, "getswitchinterval", lambda: 0.001)
    found = chosen(one_at_a_time, processes=False)
    assert (found.kind, found.size) == ("threads", 1)


def test_one_core_gets_one_thread_so_that_the_loop_goes_on() -> None:
    found = chosen(one_at_a_time, 1)
    assert (found.kind, found.size, found.reason.code) == ("threads", 1, ReasonCode.ONE_CORE)


def test_what_the_agent_raises_passes_through() -> None:
    def broken(_: Sequence[Array]) -> tuple[Array, ...]:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        chosen(broken)


def test_by_hand() -> None:
    found = by_hand("processes", 5, 2)
    assert (found.kind, found.size, found.reason.code) == ("processes", 5, ReasonCode.SET_BY_HAND)


@pytest.mark.parametrize(
    ("kind", "size", "words"),
    [
        ("fibres", 1, "one of inline, threads, processes, got 'fibres'"),
        ("threads", 0, "at least 1, got 0"),
        ("threads", True, "at least 1, got True"),
        ("inline", 2, "2 are not possible"),
    ],
)
def test_what_cannot_be_set_by_hand(kind: str, size: int, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        by_hand(kind, size, 2)


def test_the_ways_are_measured() -> None:
    assert 100 < hops.thread_hop_ns() < 100 * MS
    assert 100 < hops.process_hop_ns() < 100 * MS
    assert hops.handling_ns(SIGNATURE, 4) < 100 * MS


def test_an_agent_that_waits_for_itself_does_not_overlap() -> None:
    alone, both = overlap(FakeExecutor(SIGNATURE, sleeping), ONE, 4 * MS)
    assert both < 0.75 * alone
    alone, both = overlap(FakeExecutor(SIGNATURE, one_at_a_time), ONE, 4 * MS)
    assert both > 0.75 * alone
