"""What the report says is proven of what was shipped."""

from __future__ import annotations

from dataclasses import replace

import torch

from grandopt.compiler.build import Candidate
from grandopt.compiler.capture.export import capture
from grandopt.compiler.checkpoints.module.memory import from_module
from grandopt.compiler.program import Program
from grandopt.config.engines import NativeOptions, TorchScriptOptions
from grandopt.workflows.building.built import BuiltCandidate
from grandopt.workflows.selection.certificate import certified
from tests.bounds.networks import drawn, observations

INT8 = BuiltCandidate(Candidate("int8_dynamic", NativeOptions(weights="int8")), 1, "verified")


def agent() -> Program:
    return capture(from_module("agent", drawn("relu", 2), torch.zeros(2, 64)), 0)


def test_recorded_states_are_certified_within_the_recorded_or_the_declared_box() -> None:
    program, given = agent(), observations("relu", 3, 20)
    recorded = certified(program, INT8, given, given)
    assert recorded is not None
    assert recorded.states > 0
    assert recorded.share is not None
    assert recorded.share > 0
    assert recorded.box == "recorded"
    (spec,) = program.signature.inputs
    bounded = program.but(signature=replace(program.signature, inputs=(replace(spec, low=-1.0, high=1.0),)))
    declared = certified(bounded, INT8, None, None)
    assert declared is not None
    assert declared.share is None
    assert declared.box == "declared"
    assert declared.bound is not None


def test_what_has_no_bound_says_why() -> None:
    program = agent()
    original = BuiltCandidate(Candidate("float32", NativeOptions()), 1, "verified", is_original=True)
    assert certified(program, original, None, None) is None
    exact = BuiltCandidate(Candidate("float32", NativeOptions()), 1, "verified")
    assert certified(program, exact, None, None) is None
    other = BuiltCandidate(Candidate("int8_dynamic", TorchScriptOptions()), 1, "verified")
    found = certified(program, other, None, None)
    assert found is not None
    assert found.reason == "no bound: torchscript is not open to bounds, the native engine is"
    unknown = certified(program, INT8, None, None)
    assert unknown is not None
    assert unknown.reason == "no bound over a box: the inputs have no finite one"
