"""Four processes as four machines tune a real agent: each candidate is built once, each choice tried once."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tuning.postgres import PASSWORD, PostgresServer, running_postgres
from tests.workflows import command
from tests.workflows.many_machines import begin, ended, tuned

AGENT = ("--agent", "lvn_embedder", "--profile", "basic", "--trials", "40", "--budget", "200")


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    with running_postgres() as server:
        yield server


@pytest.mark.slow
def test_four_machines_share_builds_and_trials(postgres: PostgresServer, tmp_path: Path) -> None:
    url = postgres.new_database("four")
    machines = tuned(tmp_path, (*AGENT, "--storage", url), 4, [None])
    studies = [machine.agent["tuning"] for machine in machines]
    numbers = [sorted(trial["number"] for trial in study["trials"]) for study in studies]
    assert numbers[1:] == numbers[:-1], "all report the whole study"
    choices = Counter(str(trial["choice"]) for trial in studies[0]["trials"])
    assert set(choices.values()) == {1}
    assert len({trial["host"] for trial in studies[0]["trials"]}) > 1
    verified = [
        sorted(
            row["label"] for row in machine.agent["candidates"] if (row["verification"] or {}).get("passed")
        )
        for machine in machines
    ]
    assert all(verified)
    assert PASSWORD not in "".join(str(machine.report) for machine in machines)
    names = postgres.ask("SELECT count(*) FROM grandopt_claims", "four")
    assert names == [(0,)], "nothing stays claimed"


@pytest.mark.slow
def test_a_machine_that_is_killed_while_it_builds_is_made_up_for(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    url = postgres.new_database("killed")
    arguments = (*AGENT, "--storage", url)
    killed = begin(tmp_path / "killed", tmp_path / "store", arguments)
    deadline = time.monotonic() + 120
    while not postgres.ask("SELECT 1 FROM pg_tables WHERE tablename = 'grandopt_claims'", "killed") or not (
        postgres.ask("SELECT 1 FROM grandopt_claims", "killed")
    ):
        assert killed.poll() is None, killed.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.1)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate()
    postgres.ask(
        "UPDATE grandopt_claims SET until = until - 50", "killed"
    )  # as if most of the lease was over
    other = ended(begin(tmp_path / "other", tmp_path / "store", arguments), time.monotonic())
    assert other.agent["tuning"]["best"] is not None
    rows = {row["label"]: row["reason_code"] for row in other.agent["candidates"]}
    assert "not_built_in_time" not in rows.values()


@pytest.mark.slow
def test_a_storage_that_is_not_there_leaves_everything_as_it_was(tmp_path: Path) -> None:
    done = command.run(tmp_path, "tune", *AGENT, "--storage", f"postgresql://fleet:{PASSWORD}@127.0.0.1:1/x")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "start the server, or give the right host and port" in done.stderr
    assert PASSWORD not in done.stderr
    assert not list(tmp_path.iterdir())
