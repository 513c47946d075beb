"""A command line becomes a job, and a report becomes an exit code."""

from __future__ import annotations

from pathlib import Path

import pytest

from grandopt.cli.exit_codes import ExitCode
from grandopt.cli.job import job, outcome
from grandopt.cli.option_groups import CheckpointReading, JobOptions
from grandopt.config.agents import REFERENCE_AGENTS
from grandopt.errors import ConfigError
from grandopt.reporting.report import AgentReport, TargetsReport
from tests.reporting.samples import failed, figures, kept, optimized, report, shipped


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def missed() -> AgentReport:
    return optimized(targets=TargetsReport(latency_ms=0.01, met=False, misses=("p50 too long",)))


def unsteady() -> AgentReport:
    return optimized(shipped=shipped(figures=figures(25.0, stable=False)))


@pytest.mark.parametrize(
    ("agents", "strict", "code"),
    [
        ([optimized(), kept()], True, ExitCode.DONE),
        ([missed()], False, ExitCode.DONE),
        ([missed()], True, ExitCode.FAILED),
        ([unsteady()], False, ExitCode.DONE),
        ([unsteady()], True, ExitCode.INCONCLUSIVE),
        ([unsteady(), missed()], True, ExitCode.FAILED),
        ([optimized(), failed(error_kind="other")], False, ExitCode.FAILED),
        ([failed(error_kind="input"), failed("b", error_kind="other")], False, ExitCode.BAD_INPUT),
    ],
)
def test_the_exit_code_says_how_it_ended(agents: list[AgentReport], strict: bool, code: ExitCode) -> None:
    assert outcome(report(*agents), strict=strict) is code


def test_each_failed_agent_is_one_line_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    outcome(report(failed("a"), failed("b"), optimized()))
    out, err = capsys.readouterr()
    assert out == ""
    assert [line.split(":")[:2] for line in err.splitlines()] == [["error", " a"], ["error", " b"]]


def test_without_anything_the_reference_agents_are_the_job() -> None:
    assert list(job([]).agents) == list(REFERENCE_AGENTS)


def test_the_file_of_the_folder_is_the_job_when_no_checkpoint_is_named(tmp_path: Path) -> None:
    (tmp_path / "grandopt.yaml").write_text("profile: basic\nagents: {a: {reference: lvn_embedder}}\n")
    described = job([])
    assert (list(described.agents), described.profile.name) == (["a"], "basic")
    named = job([Path("b.zip")])
    assert (list(named.agents), named.profile.name) == (["b"], "aggressive")
    both = job([Path("b.zip")], config=Path("grandopt.yaml"))
    assert (list(both.agents), both.profile.name) == (["b"], "basic")


def test_how_to_read_goes_to_every_named_checkpoint() -> None:
    reading = CheckpointReading("actors.0", "my_agents:Actor", ["state=7", "window=60x7"], "none", trust=True)
    agent = job([Path("a.pth")], reading).agents["a"]
    assert (agent.key, agent.network, agent.vecnormalize, agent.trust) == (
        "actors.0",
        "my_agents:Actor",
        "none",
        True,
    )
    assert [(each.name, each.shape) for each in agent.inputs] == [("state", (7,)), ("window", (60, 7))]
    fixed = job([Path("a.pt")], CheckpointReading(fix=["deterministic=true"])).agents["a"]
    assert fixed.fix == {"deterministic": True}


def test_outputs_and_state_go_to_every_named_checkpoint() -> None:
    agent = job([Path("a.onnx")], CheckpointReading(outputs="action,next", state=["h=next"])).agents["a"]
    assert agent.outputs == ("action", "next")
    assert agent.state["h"].output == "next"


@pytest.mark.parametrize(
    ("reading", "settings", "words"),
    [
        (
            CheckpointReading(key="a", trust=True),
            JobOptions(),
            "--key, --trust say how to read a checkpoint",
        ),
        (CheckpointReading(), JobOptions(threads="many"), "--threads must be a whole number"),
        (CheckpointReading(), JobOptions(config=Path("none.yaml")), r"none.yaml: cannot be read"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    reading: CheckpointReading, settings: JobOptions, words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        job([], reading, settings.config, settings.overrides())


def test_a_network_without_a_colon_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"MODULE:CALLABLE.*'Actor'"):
        job([Path("a.pth")], CheckpointReading(network="Actor"))
