"""What need not be built because of the least that it takes, and when that is not known."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest

from grandopt.compiler.build import Candidate
from grandopt.config.engines import EagerOptions, NativeOptions, TorchScriptOptions
from grandopt.measurement.limit import MachineLimit
from grandopt.reason import ReasonCode
from grandopt.workflows.selection.outpaced import Leader, LeastCalls
from tests.workflows.fakes import MACHINE, WORK, built

LIMITS = partial(WORK.limit, MACHINE)
"""0.31 µs at float32, 0.11 at bfloat16."""

EXACT, REDUCED = (Candidate(kind, TorchScriptOptions()) for kind in ("float32", "bfloat16"))
NATIVE = built(Candidate("float32", NativeOptions()))


@pytest.mark.parametrize(
    ("candidate", "through", "leader_us", "words"),
    [
        (EXACT, {}, 0.32, None),
        (EXACT, {}, 0.30, "by the machine's limit a call at float32 takes at least 310 ns"),
        (REDUCED, {}, 0.30, None),
        (REDUCED, {}, 0.10, "by the machine's limit a call at bfloat16 takes at least 110 ns"),
        (
            EXACT,
            {"torchscript": 2.0},
            1.9,
            "a call through torchscript takes at least 2.00 µs on this machine",
        ),
        (EXACT, {"torchscript": 2.0}, 2.2, "takes at least 310 ns after 2.00 µs in torchscript"),
        (EXACT, {"torchscript": 2.0}, 2.4, None),
        (EXACT, {"eager": 9.0}, 0.32, None),
    ],
)
def test_what_takes_longer_at_least_is_outpaced(
    candidate: Candidate, through: dict[str, float], leader_us: float, words: str | None
) -> None:
    found = LeastCalls(LIMITS, through).outpaced(candidate, 1, Leader("native/int8_dynamic", leader_us))
    assert (found is None) == (words is None)
    if found is not None and words is not None:
        assert found.code is ReasonCode.OUTPACED
        assert words in found.text
        assert "and native/int8_dynamic takes" in found.text


def test_threads_share_the_least_work() -> None:
    leader = Leader("native/float32", 0.3)
    assert LeastCalls(LIMITS).outpaced(EXACT, 1, leader) is not None
    assert LeastCalls(LIMITS).outpaced(EXACT, 4, leader) is None


def test_without_limits_only_the_engine_counts() -> None:
    leader = Leader("native/float32", 1e-6)
    assert LeastCalls().outpaced(EXACT, 1, leader) is None
    assert LeastCalls(None, {"eager": 1.0}).outpaced(Candidate("float32", EagerOptions()), 1, leader)


@pytest.mark.parametrize(("us", "holds"), [(0.30, False), (0.32, True)])
def test_a_limit_that_a_build_passes_counts_for_none(us: float, holds: bool) -> None:
    found = LeastCalls(LIMITS, {"eager": 1.0}).holding_for([NATIVE], {NATIVE.label: us})
    assert (found.limits is not None) == holds
    assert found.through == {"eager": 1.0}


def test_a_limit_of_a_library_that_an_engine_may_pass_counts_for_none() -> None:
    blas: MachineLimit = replace(MACHINE, source="float32 BLAS")
    least = LeastCalls(partial(WORK.limit, blas)).holding_for([NATIVE], {NATIVE.label: 100.0})
    assert least.limits is None
    assert LeastCalls().holding_for([NATIVE], {}) == LeastCalls()
