"""What is known to be wrong in an engine's own kernels is recognised where it applies, and only there."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from grandopt.artifacts.store import Store
from grandopt.compiler.build import Candidate, build
from grandopt.compiler.capture.export import capture
from grandopt.compiler.checkpoints.module.memory import from_module
from grandopt.compiler.networks.attention import SelfAttention
from grandopt.config.engines import OpenVinoOptions
from tests.engines.conftest import need

HEADS = 4


@pytest.mark.parametrize(
    ("steps", "snippets"),
    [
        (HEADS, True),
        (HEADS, False),
        (HEADS + 1, True),
        pytest.param(HEADS + 1, False, marks=pytest.mark.slow),
    ],
)
def test_attention_with_as_many_heads_as_steps(store: Store, steps: int, snippets: bool) -> None:
    need("openvino")
    torch.manual_seed(0)
    of = capture(from_module("attention", nn.Sequential(SelfAttention(32, HEADS)), torch.zeros(2, steps, 32)))
    artifact = build(of, Candidate("float32", OpenVinoOptions(snippets=snippets)), store)
    said = artifact.manifest.known_defect
    assert (said is not None) == (snippets and steps == HEADS)
    assert said is None or "attention with 4 of each; the variant no-snippets does not" in said
