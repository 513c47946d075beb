"""A job is resolved from defaults, profile, file and command line, and every mistake names its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from grandopt.config.agents import REFERENCE_AGENTS
from grandopt.config.load import Overrides, agent_names, load_file, reference_agents, resolve
from grandopt.config.profiles import PROFILES
from grandopt.config.schema import AgentConfig, FileConfig
from grandopt.errors import ConfigError

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "grandopt.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_example_is_valid(path: Path) -> None:
    config = load_file(path)
    assert config.agents
    assert resolve(config, {}, Overrides()).agents == config.agents


def test_the_reference_file_says_what_the_built_in_default_says() -> None:
    assert load_file(CONFIGS / "reference_agents.yaml").agents == reference_agents()
    assert list(reference_agents()) == list(REFERENCE_AGENTS)


@pytest.mark.parametrize(
    ("name", "trials", "budget", "latency", "throughput", "memory"),
    [
        ("basic", 0, 10, 50, 50, 500),
        ("standard", 20, 30, 10, 200, 1000),
        ("aggressive", 40, 60, 5, 500, 2000),
        ("maximum", 200, 300, 1, 1000, 4000),
    ],
)
def test_profiles_hold_the_designed_figures(
    name: str, trials: int, budget: float, latency: float, throughput: float, memory: float
) -> None:
    profile = PROFILES[name]  # type: ignore[index]
    assert (profile.trials, profile.budget_s) == (trials, budget)
    assert (profile.target_latency_ms, profile.target_throughput) == (latency, throughput)
    assert profile.memory_limit_mb == memory


def test_command_line_beats_file_beats_profile() -> None:
    file = FileConfig(profile="standard", budget_s=7, trials=3, seed=5)
    job = resolve(file, {}, Overrides(trials=9))
    assert job.profile.name == "standard"
    assert (job.profile.trials, job.profile.budget_s, job.seed) == (9, 7, 5)
    assert job.profile.target_latency_ms == 10
    assert list(job.agents) == list(REFERENCE_AGENTS)


def test_the_real_time_contract_is_asked_for_by_agent_or_for_all() -> None:
    agents = {
        "a": AgentConfig(reference="decision_gate", realtime=True),
        "b": AgentConfig(checkpoint=Path("x")),
    }
    by_file = resolve(FileConfig(agents=agents), {}, Overrides()).agents
    assert [agent.realtime for agent in by_file.values()] == [True, False]
    by_option = resolve(FileConfig(agents=agents), {}, Overrides(realtime=True)).agents
    assert [agent.realtime for agent in by_option.values()] == [True, True]


def test_paths_in_a_file_are_relative_to_it(tmp_path: Path) -> None:
    path = write(tmp_path, "agents: {a: {checkpoint: models/a.zip, samples: s.npz}}\noutput: out\n")
    config = load_file(path)
    assert config.agents["a"].checkpoint == tmp_path / "models/a.zip"
    assert config.agents["a"].samples == tmp_path / "s.npz"
    assert config.output == tmp_path / "out"
    assert config.agents["a"].vecnormalize == "auto"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("profile: agressive\n", r"grandopt.yaml:1: profile: 'agressive' is not one of .*'aggressive'"),
        ("seed: 1\nprofil: basic\n", r"grandopt.yaml:2: profil: unknown field \(did you mean 'profile'\?\)"),
        (
            "agents:\n  gate:\n    checkpoint: a.pt\n    netwrk: a:B\n",
            r"grandopt.yaml:4: agents.gate.netwrk: unknown field \(did you mean 'network'\?\)",
        ),
        ("agents:\n  gate: {key: a}\n", r"grandopt.yaml:2: agents.gate: .*exactly one of 'checkpoint'"),
        (
            "agents:\n  gate:\n    checkpoint: a.pt\n    network: nocolon\n",
            r"grandopt.yaml:4: agents.gate.network: must read 'module:callable', got 'nocolon'",
        ),
        ("budget_s: -3\n", r"grandopt.yaml:1: budget_s: .*greater than 0, got -3"),
        ("agents: {'../x': {reference: lvn_embedder}}\n", r"agent name '../x' may hold only"),
        ("profile: [\n", r"grandopt.yaml:2: not valid YAML"),
        ("- just\n- a list\n", r"grandopt.yaml:1: expected fields such as 'profile:'"),
    ],
)
def test_a_mistake_names_file_line_and_field(tmp_path: Path, text: str, expected: str) -> None:
    with pytest.raises(ConfigError, match=expected) as caught:
        load_file(write(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot be read \(No such file.*grandopt init"):
        load_file(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (Overrides(profile="agressive"), r"unknown profile 'agressive' \(did you mean 'aggressive'\?\)"),
        (Overrides(engines=("torchscrpt",)), r"unknown engine 'torchscrpt' \(did you mean 'torchscript'\?\)"),
        (Overrides(precisions=("int7",)), r"unknown precision 'int7'"),
        (
            Overrides(only=("decision_gat",)),
            r"unknown agent 'decision_gat' \(did you mean 'decision_gate'\?\)",
        ),
        (Overrides(threads=-2), r"threads must be at least 1 or 'auto', got -2"),
        (Overrides(budget_s=0), r"budget must be more than 0 seconds, got 0"),
        (Overrides(trials=-1), r"trials must be 0 or more, got -1"),
    ],
)
def test_a_wrong_override_suggests_the_nearest(overrides: Overrides, expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        resolve(FileConfig(), {}, overrides)


def test_agent_names_are_distinct_folder_names() -> None:
    paths = [Path("a/model.pt"), Path("b/model.pt"), Path("c/my model (1).zip"), Path("d/.hidden")]
    assert list(agent_names(paths)) == ["model", "model-2", "my_model__1_", "hidden"]
