"""The rows of figures without noise, and which two artifacts may be compared."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from grandopt.artifacts.artifact import Artifact, write
from grandopt.artifacts.machine import architecture
from grandopt.artifacts.manifest import Manifest, Source
from grandopt.errors import ArtifactError, ConfigError, SignatureError
from grandopt.measurement.instructions import Count
from grandopt.workflows.gate.artifacts import _accuracy, _counted, _distance, duel, threads_of
from grandopt.workflows.gate.rows import exact, sized

MANIFEST = Manifest(
    name="gate",
    engine="native",
    precision="float32",
    signature={"inputs": [{"name": "state", "shape": [7]}], "outputs": [{"name": "action", "shape": [2]}]},
    source=Source(format="sb3", path="gate.zip", sha256="0" * 64),
    payload=(),
    machine=architecture(),
    built_by="grandopt 0.1.0",
)


def artifact(folder: Path, name: str, content: bytes = b"a payload", **changes: object) -> Artifact:
    return write(folder / name, replace(MANIFEST, **changes), {"agent.so": content})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("baseline", "candidate", "outcome", "change"),
    [(100, 104, "pass", 0.04), (100, 106, "regression", 0.06), (100, 50, "pass", -0.5), (0, 0, "pass", 0.0)],
)
def test_size(baseline: float, candidate: float, outcome: str, change: float) -> None:
    row = exact("size", 0.05, baseline, candidate)
    assert (row.outcome, row.unit) == (outcome, "bytes")
    assert row.change == pytest.approx(change)


def test_a_size_counts_only_with_a_limit() -> None:
    free, held = sized({"p50": 0.01}, 100, 184), sized({"p50": 0.01, "size": 0.5}, 100, 184)
    assert (free.outcome, free.advisory) == ("regression", True)
    assert (held.outcome, held.advisory) == ("regression", False)


def test_the_change_of_an_error_is_its_difference() -> None:
    assert exact("accuracy", 0.02, 0.010, 0.025).change == pytest.approx(0.015)
    assert exact("accuracy", 0.02, 0.010, 0.035).outcome == "regression"


def test_distances_of_answers() -> None:
    one = np.array([[3.0, 4.0]], dtype=np.float32)
    assert _distance(one, one.copy()) == 0.0
    assert _distance(one, one * 1.1) == pytest.approx(0.1, rel=1e-5)
    assert _distance(np.zeros((1, 2)), np.array([[0.0, 2.0]])) == 2.0
    holed = np.array([[np.nan, 4.0]])
    assert _distance(holed, holed.copy()) == 0.0
    assert np.isnan(_distance(holed, np.array([[1.0, 4.0]])))
    assert _distance(np.array([1, 2]), np.array([1, 2])) == 0.0


def test_answers_of_other_weights_are_not_compared(tmp_path: Path) -> None:
    old = artifact(tmp_path, "old")
    new = artifact(tmp_path, "new", b"other", source=Source(format="sb3", path="gate.zip", sha256="1" * 64))
    row = _accuracy(duel("gate", old.path, new.path), 0.02, (), 1)
    assert row.outcome == "inconclusive"
    assert str(row.reason).startswith("the two do not say that they have the same weights")
    assert not row.advisory
    assert _accuracy(duel("gate", old.path, new.path), 0.02, (), 1, new_weights=True).outcome == "skipped"


@pytest.mark.parametrize(
    ("held", "outcome", "advisory"), [(True, "inconclusive", False), (False, "skipped", True)]
)
def test_instructions_that_were_not_counted(held: bool, outcome: str, advisory: bool) -> None:
    row = _counted([Count(None, reason="no perf"), Count(1000.0)], 0.02, held=held)
    assert (row.outcome, row.advisory, row.reason) == (outcome, advisory, "no perf")


def test_the_same_artifact_answers_the_same(tmp_path: Path) -> None:
    old, new = artifact(tmp_path, "old"), artifact(tmp_path, "new", evidence={"figures": {}})
    row = _accuracy(duel("gate", old.path, new.path), 0.0, (), 1)
    assert (row.outcome, row.change) == ("pass", 0.0)


def test_artifacts_of_different_agents_are_refused(tmp_path: Path) -> None:
    old = artifact(tmp_path, "old")
    wider = {"inputs": [{"name": "state", "shape": [8]}], "outputs": [{"name": "action", "shape": [2]}]}
    new = artifact(tmp_path, "new", signature=wider)
    with pytest.raises(
        SignatureError, match=r"different agents: .*state \[7\] float32 → action \[2\] float32"
    ):
        duel("gate", old.path, new.path)


def test_an_artifact_of_another_machine_is_refused(tmp_path: Path) -> None:
    old, new = artifact(tmp_path, "old"), artifact(tmp_path, "new", machine="z80")
    with pytest.raises(ArtifactError, match="built for z80"):
        duel("gate", old.path, new.path)


def test_what_must_be_unpickled_needs_trust_on_its_side(tmp_path: Path) -> None:
    old, new = artifact(tmp_path, "old"), artifact(tmp_path, "new", trusted_only=True)
    with pytest.raises(ArtifactError, match="--trust"):
        duel("gate", old.path, new.path, (True, False))
    duel("gate", old.path, new.path, (False, True))


def test_threads_are_those_of_both_or_those_asked_for(tmp_path: Path) -> None:
    one, two = artifact(tmp_path, "one"), artifact(tmp_path, "two", threads=2)
    pair = duel("gate", one.path, two.path)
    with pytest.raises(ConfigError, match=r"shipped for 1 and 2 threads; .*--threads 1"):
        threads_of([pair], None)
    assert threads_of([pair], 2) == 2
    assert threads_of([duel("gate", two.path, two.path)], None) == 2
