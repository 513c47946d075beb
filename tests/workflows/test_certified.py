"""What the report says is proven of what was shipped."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from grandopt.compiler.bounds.certificate import certify
from grandopt.compiler.build import Candidate
from grandopt.compiler.capture.export import capture
from grandopt.compiler.checkpoints.module.memory import from_module
from grandopt.compiler.program import Program
from grandopt.config.engines import NativeOptions, TorchScriptOptions
from grandopt.workflows.building.built import BuildInputs, BuiltCandidate
from grandopt.workflows.selection import certificate
from grandopt.workflows.selection.certificate import certificate_of, certified
from tests.bounds.networks import drawn, observations
from tests.workflows.conftest import MakeRun

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


def test_what_was_found_out_once_is_kept(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def counted(*given: Any) -> Any:
        asked.append(given)
        return certify(*given)

    monkeypatch.setattr(certificate, "certify", counted)
    program, given = agent(), tuple(observations("relu", 3, 20))
    nothing: Any = None
    inputs = BuildInputs(program, nothing, {}, nothing, "", given)
    with make_run([]) as run:
        first = certificate_of(run, inputs, INT8, given)
        assert certificate_of(run, inputs, INT8, given) == first
        assert first is not None
        assert first.share is not None
        assert len(asked) == 1
        fewer = tuple(array[:10] for array in given)
        assert certificate_of(run, inputs, INT8, fewer) != first
        certificate_of(run, replace(inputs, calibration=fewer), INT8, given)
        anew = replace(run, job=run.job.model_copy(update={"resume": False}))
        assert certificate_of(anew, inputs, INT8, given) == first
        assert len(asked) == 4
