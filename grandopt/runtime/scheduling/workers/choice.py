"""Where an agent is best computed: on the event loop's thread, on other threads, or in other processes.

Found by measuring this agent on this machine, not by the name of its engine.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from grandopt.errors import ConfigError
from grandopt.reason import Reason, ReasonCode
from grandopt.runtime.executors.base import Executor
from grandopt.runtime.scheduling.workers.hops import handling_ns, process_hop_ns, thread_hop_ns
from grandopt.signature import Array

Kind = Literal["inline", "threads", "processes"]

OVERLAPS = 0.75
"""Two calls at once overlap when they take at most this share of one after the other: 0.5 where nothing holds
them up, 1 where one waits for the other."""
PAYS = 4.0
"""A call pays for the way to a process when it takes this many times as long: under traffic, with cold
caches, the way takes about twice what it takes when it is measured."""
CALLS = 9
"""Calls whose first quartile is what a call takes."""
BLOCK_NS = 4_000_000
"""What each side of a comparison takes at least: starting a thread must not count."""
ROUNDS = 5
BUDGET_NS = 200_000_000
"""After which no further round is begun."""


@dataclass(frozen=True)
class Evidence:
    """What the choice was made from, in nanoseconds; None for what needed no measuring.

    `call_ns` is one observation, computed on the calling thread; `thread_hop_ns` and `process_hop_ns` are
    what an answer of a thread and of a process takes, `handling_ns` what both sides do for a batch beside it.
    `one_after_other_ns` and `at_once_ns` are equal numbers of calls, on one thread and on two. `cores` is how
    many threads can run at once.
    """

    cores: int
    call_ns: int | None = None
    thread_hop_ns: int | None = None
    one_after_other_ns: int | None = None
    at_once_ns: int | None = None
    process_hop_ns: int | None = None
    handling_ns: int | None = None


@dataclass(frozen=True)
class Choice:
    """What kind of workers, how many, why, and what was measured."""

    kind: Kind
    size: int
    reason: Reason
    evidence: Evidence


def choose(
    executor: Executor,
    inputs: Sequence[Array],
    cores: int,
    *,
    processes: bool = True,
    clock: Callable[[], int] = time.perf_counter_ns,
) -> Choice:
    """Measure the executor with one observation, `inputs` [1, *shape], and choose.

    `cores` is how many threads can run at once here, `processes` whether the agent can be made in another
    process. It takes the calls of about a quarter of a second. What the agent raises passes through.
    """
    call = first = _once(executor, inputs, clock)
    call = min([first, *(_once(executor, inputs, clock) for _ in range(CALLS if first < BUDGET_NS else 0))])
    hop = thread_hop_ns()
    if call < hop:
        text = f"a call takes {_us(call)}, less than the way to a thread and back, {_us(hop)}"
        return Choice("inline", 1, Reason(ReasonCode.SHORTER_THAN_HOP, text), Evidence(cores, call, hop))
    if cores < 2:
        text = (
            f"one core: nothing can overlap, but a call takes {_us(call)}, more than the way to a thread "
            f"and back, {_us(hop)}, and the event loop goes on meanwhile"
        )
        return Choice("threads", 1, Reason(ReasonCode.ONE_CORE, text), Evidence(cores, call, hop))
    alone, both = overlap(executor, inputs, call, clock)
    shares = f"two calls at once take {both / alone:.2f} times what they take one after the other"
    if both <= OVERLAPS * alone:
        text = f"{shares}, and each more than the way to a thread and back"
        evidence = Evidence(cores, call, hop, alone, both)
        return Choice("threads", cores, Reason(ReasonCode.CALLS_OVERLAP, text), evidence)
    return _held(executor, Evidence(cores, call, hop, alone, both), shares, processes)


def by_hand(kind: str, size: int, cores: int) -> Choice:
    """The choice that was made by the user; raises ConfigError for one that cannot be."""
    if kind not in get_args(Kind):
        raise ConfigError(f"workers must be one of {', '.join(get_args(Kind))}, got {kind!r}")
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise ConfigError(f"concurrency must be at least 1, got {size!r}")
    if kind == "inline" and size != 1:
        raise ConfigError(f"an agent that is computed inline has 1 worker, {size} are not possible")
    reason = Reason(ReasonCode.SET_BY_HAND, "set by hand")
    return Choice(kind, size, reason, Evidence(cores))  # type: ignore[arg-type]


def overlap(
    executor: Executor, inputs: Sequence[Array], call_ns: int, clock: Callable[[], int] = time.perf_counter_ns
) -> tuple[int, int]:
    """Nanoseconds of 2 · n calls on one thread, and of n on each of two: the best of some rounds each.

    Less time for two threads says that the engine releases the GIL, and that there is a core for each.
    """
    calls = max(1, -(-BLOCK_NS // call_ns))
    barrier = threading.Barrier(2)

    def work(times: int) -> None:
        for _ in range(times):
            executor.run(inputs)

    def beside() -> None:
        barrier.wait()
        work(calls)

    alone, both, began = [], [], clock()
    for _ in range(ROUNDS):
        start = clock()
        work(2 * calls)
        alone.append(clock() - start)
        thread = threading.Thread(target=beside, name="grandopt-overlap", daemon=True)
        thread.start()
        barrier.wait()
        start = clock()
        work(calls)
        thread.join()
        both.append(clock() - start)
        if clock() - began > BUDGET_NS:
            break
    return min(alone), min(both)


def _held(executor: Executor, seen: Evidence, shares: str, processes: bool) -> Choice:
    """Threads gain nothing: processes, where a call pays for the way."""
    call = seen.call_ns or 0
    if not processes or not executor.signature.outputs:
        long = call > 1e9 * sys.getswitchinterval()  # the event loop gets its turns beside a thread
        text = f"{shares}, and the agent cannot be made in another process"
        return Choice("threads" if long else "inline", 1, Reason(ReasonCode.ONE_CALL_AT_A_TIME, text), seen)
    hop, handling = process_hop_ns(), handling_ns(executor.signature, 1)
    way = hop + handling
    evidence = Evidence(
        seen.cores, call, seen.thread_hop_ns, seen.one_after_other_ns, seen.at_once_ns, hop, handling
    )
    if call < PAYS * way:
        text = f"{shares}, and a call of {_us(call)} does not pay for the way to a process, {_us(way)}"
        return Choice("inline", 1, Reason(ReasonCode.ONE_CALL_AT_A_TIME, text), evidence)
    text = f"{shares}, and a call of {_us(call)} pays for the way to a process, {_us(way)}"
    return Choice("processes", seen.cores, Reason(ReasonCode.ONE_CALL_AT_A_TIME, text), evidence)


def _once(executor: Executor, inputs: Sequence[Array], clock: Callable[[], int]) -> int:
    began = clock()
    executor.run(inputs)
    return max(1, clock() - began)


def _us(nanoseconds: float) -> str:
    return f"{nanoseconds / 1e3:.3g} µs"
