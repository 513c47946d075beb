"""From the zips of real agents to artifacts that act as SB3 says they must."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from grandopt.artifacts.artifact import read
from grandopt.reporting.schema import shipped_schema
from grandopt.signature import Array
from tests.workflows import command

RANGE_SHARE = 1e-4
"""How far a continuous action may be off, as a share of the distance between its bounds."""

RAW = ("a2c-Hopper-v3", "a2c-Pendulum-v1", "ars-Pendulum-v1", "ppo-BipedalWalker-v3")
"""Agents with recorded raw observations, for the statistics that lie beside their zips."""

OTHERS = (
    "ars-CartPole-v1",
    "ddpg-Pendulum-v1",
    "dqn-CartPole-v1",
    "ppo-CartPole-v1",
    "ppo-LunarLander-v2",
    "qrdqn-CartPole-v1",
    "sac-Hopper-v3",
    "sac-Pendulum-v1",
    "tqc-PandaReach-v1",
    "tqc-Pendulum-v1",
    "trpo-CartPole-v1",
)

# Little search: what is shipped is decided by the measurement at the end, whatever the budget.
QUICKLY = ("--profile", "basic", "--budget", "1")


def _expected(folder: Path, name: str) -> dict[str, Array]:
    with np.load(folder / "sb3" / f"{name}.expected.npz") as file:
        return dict(file)


def _observations(artifact: Path, expected: dict[str, Array], kind: str) -> list[Array]:
    if kind in expected:
        return [expected[kind]]
    return [expected[f"{kind}.{spec.name}"] for spec in read(artifact).manifest.parsed_signature().inputs]


def _assert_same(artifact: Path, action: Array, wanted: Array) -> None:
    contract = read(artifact).manifest.parsed_contract()
    assert action.shape == wanted.shape
    if contract.action == "argmax":
        np.testing.assert_array_equal(action, wanted)
        return
    assert contract.action == "continuous"
    assert contract.low is not None
    assert contract.high is not None
    span = np.subtract(contract.high, contract.low)
    assert np.isfinite(span).all()
    assert (np.abs(action - wanted) <= RANGE_SHARE * span).all()


def _assert_all_act_as_sb3(
    shared: Path, folder: Path, names: Iterable[str], kind: str, scratch: Path
) -> None:
    expected = {name: _expected(shared, name) for name in names}
    places = {name: folder / "artifacts" / name for name in expected}
    asked = {name: _observations(places[name], expected[name], kind) for name in expected}
    found = command.answers(folder, asked, scratch)
    for name, (action,) in found.items():
        _assert_same(places[name], action, expected[name]["action"])


def _zips(shared: Path, names: Iterable[str]) -> list[Path]:
    return [shared / "sb3" / f"{name}.zip" for name in names]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("names", "vecnormalize", "kind"),
    [
        (RAW, "auto", "raw_obs"),
        ((*RAW[:1], *OTHERS[::3]), "none", "obs"),  # the first one's statistics lie beside it all the same
        pytest.param(OTHERS, "none", "obs", marks=pytest.mark.stress),
    ],
    ids=["raw", "normalised-before", "all-normalised-before"],
)
def test_every_zip_acts_as_sb3(
    shared_checkpoints: Path, tmp_path: Path, names: tuple[str, ...], vecnormalize: str, kind: str
) -> None:
    folder, scratch = tmp_path / "job", tmp_path / "scratch"
    folder.mkdir()
    scratch.mkdir()
    zips = _zips(shared_checkpoints, names)
    options = ("--vecnormalize", vecnormalize, "--json", "-q")
    result = command.run(folder, "optimize", *zips, *QUICKLY, *options)
    assert (result.returncode, result.stderr) == (0, "")
    document = json.loads(result.stdout)  # one document, and nothing before or after it
    jsonschema.validate(document, shipped_schema())
    assert document == json.loads((folder / "reports" / "optimization_report.json").read_text("utf-8"))
    agents = command.report(folder).agents
    assert tuple(agent.name for agent in agents) == names
    assert {agent.status for agent in agents} <= {"optimized", "original kept"}
    assert [path.name for path in command.artifacts(folder)] == sorted(names)
    for path in command.artifacts(folder):
        assert read(path).manifest.parsed_contract().normalised == (vecnormalize == "auto")
    _assert_all_act_as_sb3(shared_checkpoints, folder, names, kind, scratch)


def test_the_lists_above_name_every_zip(shared_checkpoints: Path) -> None:
    present = {path.name.removesuffix(".zip") for path in (shared_checkpoints / "sb3").glob("*.zip")}
    assert present == {*RAW, *OTHERS}
    assert len(present) == 15
