"""Passes run in the given order, each recorded if it did something, on top of an original that stays."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from grandopt.compiler.passes import pipeline
from grandopt.compiler.program import evaluate
from grandopt.errors import ConfigError, PassError, UnsupportedError
from tests.capture import agents
from tests.passes.programs import assert_untouched, fingerprint, program, shaken


def normalised() -> nn.Module:
    return shaken(nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Dropout(), nn.ReLU(), nn.Linear(8, 3)))


def test_every_pass_has_a_one_line_reason() -> None:
    precisions = ["quantize_dynamic", "quantize_dynamic_inside", "bfloat16", "bfloat16_inside"]
    assert list(pipeline.PASSES) == ["fold_batchnorm", "remove_identity", *precisions]
    assert all(item.name == name and item.reason for name, item in pipeline.PASSES.items())
    assert not any("\n" in item.reason for item in pipeline.PASSES.values())


def test_passes_build_on_each_other() -> None:
    before = program(normalised(), (8,))
    kept = fingerprint(before.module)
    after = pipeline.run(before, ["fold_batchnorm", "remove_identity", "quantize_dynamic"])
    assert after.passes == ("fold_batchnorm", "remove_identity", "quantize_dynamic")
    assert after.precision == "int8_dynamic"
    assert_untouched(before.module, kept)
    expected = evaluate(before.module, before.example)[0]
    torch.testing.assert_close(evaluate(after.module, before.example)[0], expected, rtol=0.1, atol=0.1)


def test_a_pass_with_nothing_to_do_is_not_recorded() -> None:
    before = program(agents.Policy(), (8,))
    assert pipeline.run(before, ["fold_batchnorm", "remove_identity"]) is before
    assert pipeline.run(before, []) is before


def test_the_two_precisions_exclude_each_other() -> None:
    with pytest.raises(UnsupportedError, match="not from"):
        pipeline.run(program(agents.Policy(), (8,)), ["quantize_dynamic", "bfloat16"])


def test_an_unknown_pass_gets_the_nearest_suggested() -> None:
    with pytest.raises(ConfigError, match="unknown pass 'fold_batchnom'; did you mean 'fold_batchnorm'"):
        pipeline.run(program(agents.Policy(), (8,)), ["fold_batchnom"])


def test_a_broken_program_is_refused_before_the_first_pass() -> None:
    broken = program(agents.Policy(), (8,)).but(module=nn.Identity())
    with pytest.raises(PassError, match=r"float32 \[2, 8\] instead of float32 \[2, 3\]"):
        pipeline.run(broken, ["remove_identity"])
