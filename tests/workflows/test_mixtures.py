"""When layers are weighed, and that what comes of it is verified like any other build."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from grandopt.artifacts.store import Store
from grandopt.compiler import build
from grandopt.compiler.build import Candidate
from grandopt.compiler.checkpoints.module.memory import from_module
from grandopt.config.engines import ALIKE, NativeOptions
from grandopt.config.profiles import PROFILES
from grandopt.config.schema import AgentConfig, Limits
from grandopt.reason import Reason, ReasonCode
from grandopt.verification.excerpt import KINDS, excerpt
from grandopt.workflows.building.built import BuiltCandidate
from grandopt.workflows.building.request import BuildStatus
from grandopt.workflows.open_agents import OpenedAgent
from grandopt.workflows.selection.build_stage import BuildStage
from grandopt.workflows.selection.candidate_set import CandidateSet
from grandopt.workflows.selection.input_evidence import limits_of
from grandopt.workflows.selection.mixtures import needless
from grandopt.workflows.selection.recipe import build_recipe, candidate_of, payload_digests
from tests.native.conftest import REDUCED
from tests.native.test_mixed import Sensitive
from tests.workflows.conftest import MakeRun
from tests.workflows.test_input_evidence import Judge

MIXED, CAREFUL = (
    Candidate("mixed", NativeOptions(weights="mixed", careful=careful)) for careful in (False, True)
)
INT8 = Candidate("int8_dynamic", NativeOptions(weights="int8"))
REFUSED = Reason(ReasonCode.ERROR_TOO_LARGE, "too far off")


def limits(error: float) -> Limits:
    return Limits(relative_l2=error, agreement=0.99)


def one(candidate: Candidate, status: BuildStatus) -> BuiltCandidate:
    return BuiltCandidate(candidate, 1, status, None if status == "verified" else REFUSED)


def test_layers_are_weighed_where_int8_for_all_was_refused() -> None:
    assert needless(MIXED, [one(INT8, "refused")]) is None
    assert needless(MIXED, []) is None  # int8 alone is not among the precisions
    assert needless(CAREFUL, [one(INT8, "refused"), one(MIXED, "refused")]) is None


@pytest.mark.parametrize(
    ("candidate", "builds", "code", "words"),
    [
        (MIXED, [one(INT8, "verified")], ReasonCode.NEEDLESS, "native/int8_dynamic was admitted"),
        (CAREFUL, [one(INT8, "refused"), one(MIXED, "verified")], ReasonCode.NEEDLESS, "native/mixed was"),
        (MIXED, [one(INT8, "failed")], REFUSED.code, "native/int8_dynamic: too far off"),
        (MIXED, [one(INT8, "not measured")], REFUSED.code, "native/int8_dynamic: too far off"),
        (CAREFUL, [one(INT8, "refused"), one(MIXED, "failed")], REFUSED.code, "native/mixed: too far off"),
    ],
)
def test_elsewhere_it_is_said_why_not(
    candidate: Candidate, builds: list[BuiltCandidate], code: ReasonCode, words: str
) -> None:
    reason = needless(candidate, builds)
    assert reason is not None
    assert reason.code is code
    assert words in reason.text


def test_where_int8_is_refused_a_mixture_is_admitted(tmp_path: Path) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        checkpoint = from_module("agent", Sensitive().eval(), (torch.zeros(1, 48),))
    samples = np.random.default_rng(1).standard_normal((512, 48)).astype(np.float32)
    judge = Judge(checkpoint, Store(tmp_path), samples)
    limits = limits_of(PROFILES["aggressive"].limits, judge.evidence)
    judge.candidates = {
        found.label: found
        for found in (candidate.within(limits).at_levels((REDUCED[0],)) for candidate in (INT8, MIXED))
    }
    whole, mixed = judge.builds()
    assert whole.status == "refused"
    assert (mixed.status, mixed.reason) == ("verified", None)
    assert mixed.label.startswith("native/mixed/")
    assert mixed.artifact is not None
    layers = mixed.artifact.manifest.options["layers"]
    assert "wide 256×256" in layers["int8"]
    assert "sensitive 64×256" not in layers["int8"]


def test_an_excerpt_has_rows_of_one_kind_side_by_side(tmp_path: Path) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        checkpoint = from_module("agent", torch.nn.Linear(8, 2), (torch.zeros(1, 8),))
    oracle = Judge(checkpoint, Store(tmp_path)).oracle
    assert oracle.wide is not None
    (rows,) = excerpt(oracle, ALIKE)
    assert rows.shape == (KINDS * ALIKE, 8)
    worlds = [item.case.inputs[0] for item in oracle.wide.known]
    last = rows[-ALIKE:]
    assert all((last[:, None] == worlds[-1][None]).all(-1).any(-1))
    (alone,) = excerpt(replace(oracle, wide=None), ALIKE)
    assert len(alone) <= KINDS * ALIKE
    drawn = [item.case.inputs[0] for item in oracle.known if item.case.kind == "drawn"]
    assert all(any((row == part).all(-1).any() for part in drawn) for row in alone)


def test_what_is_weighed_depends_on_the_limit_and_on_the_observations(tmp_path: Path) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        checkpoint = from_module("agent", torch.nn.Linear(8, 2), (torch.zeros(1, 8),))
    judge = Judge(checkpoint, Store(tmp_path))
    rows = excerpt(judge.oracle, ALIKE)
    keys = [
        build.key(judge.program, MIXED.within(limits(error)), 1, observations)
        for error, observations in ((0.01, rows), (0.02, rows), (0.02, tuple(2 * array for array in rows)))
    ]
    assert len({*keys}) == 3


@pytest.mark.slow
def test_a_run_builds_one_after_int8_was_refused_and_builds_it_again_alike(
    make_run: MakeRun, tmp_path: Path
) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        checkpoint = from_module("agent", Sensitive().eval(), (torch.zeros(1, 48),))
    samples = np.random.default_rng(1).standard_normal((512, 48)).astype(np.float32)
    opened = OpenedAgent("agent", AgentConfig(checkpoint=Path("agent")), checkpoint, samples=(samples,))
    with make_run([]) as made:
        chosen = {"engines": ("native",), "precisions": ("int8_dynamic", "mixed")}
        profile = made.job.profile.model_copy(update=chosen)
        job = made.job.model_copy(update={"profile": profile, "levels": (REDUCED[0],)})
        run = replace(made, job=job)
        agent = CandidateSet(run, opened, build.capture(checkpoint, 0))
        BuildStage(run, agent, 300.0).build_all()
        found = {(built.candidate.precision, built.label.count("careful")): built for built in agent.builds()}
        assert {place: built.status for place, built in found.items()} == {
            ("int8_dynamic", 0): "refused",
            ("mixed", 0): "verified",
            ("mixed", 1): "not measured",
        }
        careful, mixed = found["mixed", 1], found["mixed", 0]
        assert careful.reason is not None
        assert careful.reason.code is ReasonCode.NEEDLESS
        recorded = candidate_of(build_recipe(agent, mixed))
        assert recorded == mixed.candidate
        again = build.build(
            agent.program,
            recorded,
            Store(tmp_path / "again"),
            calibration=agent.build_inputs.grounds(recorded),
        )
        assert payload_digests(again) == payload_digests(agent.artifact(mixed))
