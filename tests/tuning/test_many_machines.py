"""Processes that see nothing of each other but the storage work on one study, as machines do."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from grandopt.errors import TuningError
from grandopt.tuning.objective import TrialFigures
from grandopt.tuning.result import Prune, Trial
from grandopt.tuning.space import Choice, ChoiceSpace
from grandopt.tuning.study import finished, run
from grandopt.tuning.study.search import Evaluate
from tests.tuning.postgres import PostgresServer
from tests.tuning.worker import SPACE

ROOT = Path(__file__).resolve().parents[2]
LEASE = "1.5"
BEST = ["a", "1", str(SPACE.size), "exhausted"]


def start(url: str, log: Path, seconds: float, lease: str = LEASE) -> subprocess.Popen[str]:
    """A machine of its own, as far as the others can see: none sees its processes."""
    command = [sys.executable, "-m", "tests.tuning.worker", url, str(log), str(seconds), lease]
    environment = os.environ | {"GRANDOPT_HOST": log.stem}
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def said(worker: subprocess.Popen[str]) -> list[str]:
    out, err = worker.communicate(timeout=120)
    assert worker.returncode == 0, err
    return out.split()


def began(log: Path, worker: subprocess.Popen[str]) -> str:
    """The choice that a process evaluates, once it does."""
    deadline = time.monotonic() + 60
    while not log.exists() or not log.read_text().endswith("\n"):
        assert worker.poll() is None, worker.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return log.read_text().splitlines()[-1]


def lines(logs: Sequence[Path]) -> Counter[str]:
    return Counter(line for log in logs if log.exists() for line in log.read_text().splitlines())


def all_once(trials: Sequence[Trial]) -> bool:
    return sorted(trial.choice for trial in trials) == sorted(SPACE)


@contextmanager
def stopped(worker: subprocess.Popen[str]) -> Iterator[None]:
    worker.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        worker.send_signal(signal.SIGCONT)


@pytest.mark.slow
def test_four_machines_find_what_one_does_and_nothing_is_done_twice(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    url, alone = postgres.new_database("four"), postgres.new_database("one")
    logs = [tmp_path / f"machine{number}" for number in range(4)]
    workers = [start(url, log, 0.3) for log in logs]
    assert [said(worker) for worker in workers] == [BEST] * 4, "whoever ends sees all that the others found"
    assert set(lines(logs).values()) == {1}
    found = finished(url, "shared")
    assert all_once(found)
    assert {trial.host for trial in found} == {log.stem for log in logs}, "all had something to do"
    assert said(start(alone, tmp_path / "alone", 0.0)) == BEST
    same = {trial.choice: trial.score for trial in finished(alone, "shared")}
    assert {trial.choice: trial.score for trial in found} == same


@pytest.mark.slow
def test_a_killed_machine_is_made_up_for_by_one_that_waits(postgres: PostgresServer, tmp_path: Path) -> None:
    url = postgres.new_database("killed")
    dead, living = tmp_path / "dead", tmp_path / "living"
    killed = start(url, dead, 60.0)
    choice = began(dead, killed)
    other = start(url, living, 0.0)
    began(living, other)
    killed.kill()
    killed.communicate()
    assert said(other) == BEST
    assert choice in living.read_text().splitlines()
    assert all_once(finished(url, "shared"))


@pytest.mark.slow
def test_a_machine_that_was_held_up_gives_way(postgres: PostgresServer, tmp_path: Path) -> None:
    url = postgres.new_database("held_up")
    slow, quick = tmp_path / "slow", tmp_path / "quick"
    held_up = start(url, slow, 0.1)
    began(slow, held_up)
    with stopped(held_up):
        assert said(start(url, quick, 0.0)) == BEST
    assert said(held_up) == BEST
    assert all_once(finished(url, "shared")), "what it measured in the end is of a choice that was taken over"


@pytest.mark.slow
def test_a_server_that_restarts_ends_nobody(postgres: PostgresServer, tmp_path: Path) -> None:
    url = postgres.new_database("restart")
    logs = [tmp_path / f"machine{number}" for number in range(2)]
    workers = [start(url, log, 0.3, "20") for log in logs]
    for log, worker in zip(logs, workers, strict=True):
        began(log, worker)
    postgres.stop()
    time.sleep(1.0)
    postgres.start()
    assert [said(worker) for worker in workers] == [BEST] * 2
    assert all_once(finished(url, "shared"))
    assert set(lines(logs).values()) == {1}


@pytest.mark.stress
def test_ten_rounds_of_random_kills(postgres: PostgresServer, tmp_path: Path) -> None:
    rng = random.Random(0)
    for round_ in range(10):
        url = postgres.new_database(f"round{round_}")
        logs = [tmp_path / f"{round_}-{number}" for number in range(4)]
        workers = [start(url, log, 0.2) for log in logs]
        began(logs[0], workers[0])
        for victim in rng.sample(workers[1:], 2):
            time.sleep(rng.uniform(0.0, 0.6))
            victim.kill()
            victim.communicate()
        for worker in workers:
            if worker.returncode is None:
                assert said(worker) == BEST
        assert all_once(finished(url, "shared"))
        repeated = [line for line, count in lines(logs).items() if count > 1]
        assert len(repeated) <= 2, "only what a killed one was at is done again"


def evaluate(choice: Choice, prune: Prune) -> TrialFigures:
    return TrialFigures(1.0, None, 1.0, 1.0)


def tune(url: str, evaluation: Evaluate = evaluate, **changes: Any) -> None:
    given: dict[str, Any] = {"goal": "latency", "trials": 9, "budget_s": 60.0, "study_name": "s", "seed": 0}
    run(ChoiceSpace(("a", "b")), evaluation, storage_url=url, **(given | changes))


def test_figures_of_another_kind_of_machine_are_not_mixed_in(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'studies.db'}"
    tune(url, machine={"identity": "1", "cpu": "Zen 4"})
    tune(url, machine={"identity": "1", "cpu": "Zen 4"})
    with pytest.raises(TuningError, match=r"another kind of machine \(Zen 4; this is Xeon\)"):
        tune(url, machine={"identity": "2", "cpu": "Xeon"})


def test_a_study_that_others_work_on_is_not_started_anew(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'studies.db'}"

    def nested(choice: Choice, prune: Prune) -> TrialFigures:
        with pytest.raises(TuningError, match=r"process \d+ on .* works on study 's'; .* wait for it"):
            tune(url, resume=False)
        return evaluate(choice, prune)

    tune(url, nested)
    assert len(finished(url, "s")) == 2
