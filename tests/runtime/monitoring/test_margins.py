"""The share of close decisions, against that of samples and of the first traffic."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from grandopt.runtime.monitoring.margins import BASELINE, CLOSE, EVIDENCE, CloseDecisions, usual_margins
from grandopt.signature import Array, Contract, Signature, TensorSpec

SIGNATURE = Signature(
    (TensorSpec("state", (4,)),),
    (TensorSpec("scores", (3,), role="scores"), TensorSpec("value", (1,))),
)
CONTRACT = Contract(action="argmax")


def scores(rng: np.random.Generator, count: int, close: float = 0.0) -> tuple[Array, Array]:
    """Scores of decisions, of which a share is closer than any usual one, and a value."""
    logits = rng.standard_normal((count, 3)) * 2
    near = rng.random(count) < close
    top = logits[near].max(axis=1)
    logits[near] = top[:, np.newaxis] - np.array([0.0, 1e-5, 3.0])
    return logits.astype(np.float32), np.zeros((count, 1), np.float32)


def recorded(rng: np.random.Generator, count: int) -> dict[str, Any]:
    """The evidence of a manifest whose agent was recorded on so many samples."""
    evidence = {EVIDENCE: usual_margins(SIGNATURE, CONTRACT, scores(rng, count))}
    return json.loads(json.dumps(evidence))


def test_the_usual_share_does_not_grow() -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        close = CloseDecisions(SIGNATURE, CONTRACT, recorded(rng, 2000))
        close.add(scores(rng, 2048))
        (report,) = close.report()
        assert report.grew is False
        assert (report.output, report.origin, report.usual) == ("scores", "samples", CLOSE)
        assert report.share is not None
        assert report.share == pytest.approx(CLOSE, abs=0.03)


@pytest.mark.parametrize("origin", ["samples", "traffic"])
def test_more_close_decisions_are_found(origin: str) -> None:
    rng = np.random.default_rng(2)
    close = CloseDecisions(SIGNATURE, CONTRACT, recorded(rng, 2000) if origin == "samples" else {})
    if origin == "traffic":
        (early,) = close.report()
        assert early.reason == f"needs {BASELINE} usual decisions to compare with, has 0"
        close.add(scores(rng, BASELINE))
    for _ in range(32):
        close.add(scores(rng, 64, close=0.2))
    (report,) = close.report()
    assert report.origin == origin
    assert report.grew is True
    assert report.low is not None
    assert report.high is not None
    assert report.low < 0.2 + 0.8 * CLOSE < report.high


def test_intervals_hold_the_truth() -> None:
    rng, held = np.random.default_rng(3), 0
    for _ in range(50):
        close = CloseDecisions(SIGNATURE, CONTRACT, recorded(rng, 20_000))
        close.add(scores(rng, 2048, close=0.1))
        (report,) = close.report()
        held += report.low < 0.1 + 0.9 * CLOSE < report.high
    assert held >= 47


def test_an_agent_that_gives_its_action_alone_shows_none() -> None:
    signature = Signature((TensorSpec("state", (4,)),), (TensorSpec("action", (1,), role="action"),))
    assert CloseDecisions(signature, Contract(action="argmax"), {}).report() == ()


def test_scores_without_another_decision_or_not_finite_are_left_out() -> None:
    single = Signature((TensorSpec("state", (4,)),), (TensorSpec("scores", (1,), role="scores"),))
    close = CloseDecisions(single, CONTRACT, {})
    close.add([np.ones((BASELINE, 1), np.float32)])
    (report,) = close.report()
    assert report.share is None
    close = CloseDecisions(SIGNATURE, CONTRACT, {"margins": {"scores": {"limit": None}}})
    close.add((np.full((BASELINE, 3), np.nan, np.float32), np.zeros((BASELINE, 1))))
    (report,) = close.report()
    assert report.reason == f"needs {BASELINE} usual decisions to compare with, has 0"
