"""What `grandopt benchmark --suite serving` and `--suite loadgen` show."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from grandopt.cli.commands.benchmarks.loadgen import benchmark_loadgen
from grandopt.cli.commands.benchmarks.serving import benchmark_serving, served_job
from grandopt.cli.console import Terminal
from grandopt.cli.exit_codes import ExitCode
from grandopt.cli.option_groups import JobOptions
from grandopt.errors import ConfigError
from grandopt.measurement.environment import environment
from grandopt.suites.serving import mlperf, suite
from grandopt.suites.serving.mlperf import LoadgenBenchmark, LoadgenTry, WayTested
from grandopt.suites.serving.result import Callers, Contestant, Line, ServingBenchmark
from grandopt.suites.serving.wire import LoadgenVerdict
from tests.cli.conftest import Grandopt, assert_one_error_line

ABSENT = "not installed; python -m venv ray && ray/bin/pip install ray, then --rival ray=ray/bin/python"


def serving() -> ServingBenchmark:
    callers = (Callers(64, 412_345.6, (4e5, 4.2e5), 1e-4, 2.5e-3, 99_999, 6000, 6443.0),)
    return ServingBenchmark(
        lines=(
            Line("64 callers", "÷ batched", "times", 3.0, True, 3.456, 3.2, 3.7),
            Line("64 callers", "÷ ray, throughput", "times", 150.0, True, None, reason=ABSENT),
            Line("a lone caller", "await infer − direct call", "µs", 25.0, False, 31.2, 30.1, 33.0),
        ),
        contestants=(
            Contestant("grandopt engine", "decision_gate", "", callers, 0.01, ("computed by: inline",), {}),
            Contestant("ray", "decision_gate", "", (), None, (), {}, ABSENT),
        ),
        under_load={},
        artifacts={"decision_gate": "native/float32"},
        rounds=3,
        seconds=2.0,
        crowded=True,
        environment=environment(),
    )


def loadgen(highest: float | None) -> LoadgenBenchmark:
    run = LoadgenTry(20_000.0, LoadgenVerdict(highest is not None, 2e4, 2e4, 5e-4, 200_000))
    ways = (WayTested("torchscript", 10_000.0, (run,)), WayTested("infer_now", highest, (run,)))
    ratio = None if highest is None else highest / 1e4
    return LoadgenBenchmark(
        "decision_gate",
        "native/float32",
        1e-3,
        10.0,
        ways,
        "infer_now",
        ratio,
        1.3,
        "6.0",
        False,
        environment(),
    )


def shown(found: Any, monkeypatch: pytest.MonkeyPatch, terminal: Terminal, *, strict: bool) -> ExitCode:
    monkeypatch.setenv("COLUMNS", "80")
    job = served_job(JobOptions(), "serving")
    if isinstance(found, ServingBenchmark):
        monkeypatch.setattr(suite, "benchmark_serving", lambda *_: found)
        return benchmark_serving([], job, {}, terminal, budget_s=None, strict=strict)
    monkeypatch.setattr(mlperf, "benchmark_loadgen", lambda *_: found)
    monkeypatch.setattr(mlperf, "loadgen_version", lambda: "6.0")
    return benchmark_loadgen([], job, terminal, budget_s=None, strict=strict)


def test_serving_fits_eighty_columns_and_names_who_is_absent(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert shown(serving(), monkeypatch, Terminal(), strict=False) is ExitCode.DONE
    text = capsys.readouterr().out
    command, *_ = [line for line in text.splitlines() if ABSENT in line]
    assert command == f"ray: {ABSENT}"
    assert max(len(line) for line in text.splitlines() if line != command) <= 80
    for part in ("3.46×", "3.2–3.7", "absent", "missed", "412k", "2.50 ms", "busy machine"):
        assert part in " ".join(text.split())


def test_serving_is_one_document(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    shown(serving(), monkeypatch, Terminal(as_json=True), strict=False)
    document = json.loads(capsys.readouterr().out)
    assert [line["met"] for line in document["lines"]] == [True, None, False]
    assert document["contestants"][1]["reason"] == ABSENT


def test_strict_names_what_was_missed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert shown(serving(), monkeypatch, Terminal(), strict=True) is ExitCode.FAILED
    errors = capsys.readouterr().err
    assert "await infer − direct call: missed" in errors
    assert "÷ ray, throughput: not installed" in errors
    assert "batched" not in errors


@pytest.mark.parametrize(
    ("highest", "words", "code"),
    [
        (15_000.0, "1.50 (wanted: 1.3, met)", ExitCode.DONE),
        (12_000.0, "1.20 (wanted: 1.3, missed)", ExitCode.FAILED),
        (None, "infer_now: no rate VALID", ExitCode.FAILED),
    ],
)
def test_loadgen_says_the_ratio(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    highest: float | None,
    words: str,
    code: ExitCode,
) -> None:
    assert shown(loadgen(highest), monkeypatch, Terminal(), strict=True) is code
    text = capsys.readouterr().out
    assert words in text
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize("name", ["serving", "loadgen"])
def test_bad_input_is_one_error(grandopt: Grandopt, name: str) -> None:
    done = grandopt("benchmark", "--suite", name, "a")
    assert done.returncode == 2
    assert_one_error_line(done)
    assert "name no paths" in done.stderr


def test_other_agents_are_refused() -> None:
    for given in (JobOptions(agent=["gate"]), JobOptions(config=Path("grandopt.yaml"))):
        with pytest.raises(ConfigError, match="takes reference agents"):
            served_job(given, "serving")
