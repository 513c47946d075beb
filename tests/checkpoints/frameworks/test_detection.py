"""One framework, or none, reads a file; what would run code in it is left out or refused."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from grandopt.cli.app import main
from grandopt.compiler.checkpoints import detect
from grandopt.compiler.checkpoints.frameworks import detection
from grandopt.compiler.checkpoints.vetting.plain_entries import without_foreign
from grandopt.config.schema import AgentConfig
from grandopt.errors import CheckpointError, UntrustedError
from tests.checkpoints.frameworks import files

SIZE = 5


def _both() -> files.Content:
    """What looks like an agent of rl_games and like one of skrl."""
    policy = {"log_std_parameter": torch.zeros(2), **files.named(files.mlp(SIZE, 2), "net_container")}
    network = {**files.named(files.mlp(SIZE, 4), "actor_mlp"), **files.named(files.mlp(4, 2), "mu")}
    network = {key.replace("mu.0.", "mu."): value for key, value in network.items()}
    return {**files.skrl(policy), **files.rl_games(network)}


def test_a_file_that_fits_two_is_refused_until_one_is_named(tmp_path: Path) -> None:
    path = files.saved(_both(), tmp_path / "agent.pt")
    agent = AgentConfig(checkpoint=path, activation="elu")
    with pytest.raises(CheckpointError) as caught:
        detect.load("agent", agent)
    assert str(caught.value) == (
        f"{path}: may be a checkpoint of rl_games or of skrl; say which with --framework NAME"
    )
    assert detect.describe(path)["fits"] == ["rl_games", "skrl"]
    for name in ("rl_games", "skrl"):
        found = detect.load("agent", agent.model_copy(update={"framework": name}))
        assert found.source.format == name


def test_no_member_recognises_what_is_another_kind_of_thing() -> None:
    for content in (
        None,
        [],
        {},
        {"model": 3},
        {"policy": {"a": torch.ones(1)}},
        {1: 2},
        torch.ones(2),
        "text",
    ):
        assert [member.NAME for member in detection.MEMBERS if member.recognises(content)] == []


def test_members_have_names_of_their_own_and_settings_that_exist() -> None:
    assert len({member.NAME for member in detection.MEMBERS}) == len(detection.MEMBERS)
    for member in detection.MEMBERS:
        assert set(detection.SETTINGS) >= member.TAKES


def test_bad_input_ends_with_2_and_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = files.saved(_both(), tmp_path / "agent.pt")
    for words in (["--action-bounds", "1,-1"], ["--distribution", "flat"], []):
        assert main(["optimize", str(path), "--output", str(tmp_path / "out"), *words]) == 2
        printed = capfd.readouterr()
        assert printed.err.count("error: ") == 1, printed.err


def test_a_tensor_that_is_none_of_plain_numbers_is_one_line(tmp_path: Path) -> None:
    content = files.skrl(
        {"log_std_parameter": torch.zeros(2), **files.named(files.mlp(SIZE, 2), "a_container")}
    )
    held = files.skrl_statistics(SIZE)
    content["observation_preprocessor"] = {**held, "running_mean": held["running_mean"].to_sparse()}
    path = files.saved(content, tmp_path / "agent.pt")
    for read in (
        lambda: detect.load("agent", AgentConfig(checkpoint=path, activation="elu")),
        lambda: detect.describe(path),
    ):
        with pytest.raises(
            CheckpointError, match=r"tensor 'observation_preprocessor\.running_mean' is sparse"
        ):
            read()


class _Code:
    def __reduce__(self) -> Any:
        return exec, ("raise SystemExit('run')",)


@pytest.mark.parametrize(
    ("content", "left"),
    [
        ({"a": 1, "b": np.float32(2), "c": [1, {"d": 2}]}, ("b",)),
        ({"a": [_Code()], "b": {"x": (1, 2)}, "c": _Code()}, ("a", "c")),
        ({"only": np.float64(1)}, ("only",)),
        ({"a": 1}, ()),
    ],
)
def test_entries_that_need_code_are_replaced_by_nothing(
    content: dict[str, Any], left: tuple[str, ...]
) -> None:
    found = without_foreign(pickle.dumps(content, protocol=2))
    assert found is not None
    assert found[1] == left
    assert pickle.loads(found[0]) == {key: None if key in left else value for key, value in content.items()}


def test_what_refers_into_what_is_left_out_is_left_out_as_well() -> None:
    shared = ["shared"]
    found = without_foreign(pickle.dumps({"a": [_Code(), shared], "b": shared, "c": 1}, protocol=2))
    assert found is not None
    assert (found[1], pickle.loads(found[0])) == (("a", "b"), {"a": None, "b": None, "c": 1})
    found = without_foreign(pickle.dumps({"b": shared, "a": [_Code(), shared]}, protocol=2))
    assert found is not None
    assert (found[1], pickle.loads(found[0])) == (("a",), {"b": shared, "a": None})


@pytest.mark.parametrize("data", [b"", b"junk", pickle.dumps([1]), pickle.dumps({"a": 1}, protocol=4)])
def test_other_pickles_are_not_taken_apart(data: bytes) -> None:
    found = without_foreign(data)
    assert found is None or found[1] == ()


def test_a_foreign_entry_alone_makes_no_file_readable(tmp_path: Path) -> None:
    path = files.saved({"weights": {"a": torch.ones(2)}, "code": _Code()}, tmp_path / "agent.pt")
    with pytest.raises(UntrustedError, match="would have to be unpickled"):
        detect.load("agent", AgentConfig(checkpoint=path))
    assert detect.describe(path)["trusted"] is False
