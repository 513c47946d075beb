"""A capture is made once, and made again when the network's code has changed."""

from __future__ import annotations

import re
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch

from grandopt.artifacts.store import Store
from grandopt.compiler import build
from grandopt.compiler.backends.float64 import reference
from grandopt.workflows.memo.programs import capture_or_load
from grandopt.workflows.memo.reference_answers import KnownAnswers
from tests.small_agents import Policy, program
from tests.workflows.conftest import opened

FACTOR = [1.0]


class Elsewhere(Policy):
    """Depends on something that is no part of the network."""

    def forward(self, state: torch.Tensor) -> torch.Tensor:
        return super().forward(state) * FACTOR[0]


def test_a_capture_is_made_once(tmp_path: Path) -> None:
    store = Store(tmp_path)
    first = capture_or_load(opened().checkpoint, store)
    with patch.object(build, "capture", side_effect=AssertionError("captured anew")):
        second = capture_or_load(opened().checkpoint, store)
    assert second.identity == first.identity is not None
    assert second.exported is not None


def test_a_network_that_changed_elsewhere_is_captured_again(tmp_path: Path) -> None:
    store = Store(tmp_path)
    first = capture_or_load(opened(Elsewhere).checkpoint, store)
    FACTOR[0] = 2.0
    try:
        second = capture_or_load(opened(Elsewhere).checkpoint, store)
    finally:
        FACTOR[0] = 1.0
    assert first.exported is not None
    assert second.exported is not None
    one = torch.zeros(1, 8)
    assert torch.allclose(second.exported.module()(one), 2.0 * first.exported.module()(one))


class Branching(Policy):
    """Its control flow depends on the data, so it is not exported."""

    def forward(self, state: torch.Tensor) -> torch.Tensor:
        return super().forward(state if state.sum() > 0 else -state)


def test_that_a_network_is_not_exported_is_found_out_once(tmp_path: Path) -> None:
    store = Store(tmp_path)
    first = capture_or_load(opened(Branching).checkpoint, store)
    assert first.exported is None
    with patch.object(build, "capture", side_effect=AssertionError("captured anew")):
        second = capture_or_load(opened(Branching).checkpoint, store)
    assert second.exported is None
    assert second.identity == first.identity
    assert re.fullmatch(
        re.escape(first.refusal("export").text) + r" \(kept from \d{4}-\d\d-\d\d; --no-resume tries again\)",
        second.refusal("export").text,
    )
    again = capture_or_load(opened(Branching).checkpoint, store, resume=False)
    assert again.refusals == first.refusals


def test_the_reference_answers_a_question_once(tmp_path: Path) -> None:
    of, store = program(Policy), Store(tmp_path)
    inputs = [np.ones((3, 8), np.float32)]
    first = KnownAnswers(lambda: reference(of), store, ["policy"])
    expected = first.outputs(inputs)
    assert expected[0].dtype == np.float64
    assert first.scores(inputs) is None
    first.keep()

    def broken() -> None:
        raise AssertionError("asked again")

    second = KnownAnswers(broken, store, ["policy"])  # type: ignore[arg-type]
    assert np.array_equal(second.outputs(inputs)[0], expected[0])
    assert second.scores(inputs) is None
    assert (second.precision, second.reason) == ("float64", None)
    other = KnownAnswers(lambda: reference(of), store, ["another"])
    assert np.array_equal(other.outputs(inputs)[0], expected[0])
