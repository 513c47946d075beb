"""Two runs over one folder: the second does what the first had no time for."""

from __future__ import annotations

from pathlib import Path

import pytest

from grandopt.reporting.report import CandidateReport
from tests.workflows import command

WANTED = ("optimize", "--agent", "lvn_embedder", "--profile", "basic", "--budget")


def rows(folder: Path) -> dict[str, CandidateReport]:
    return {row.label: row for row in command.report(folder).agents[0].candidates}


@pytest.mark.slow
def test_the_second_run_goes_on_where_the_first_stopped(tmp_path: Path) -> None:
    first = command.run(tmp_path, *WANTED, "1")
    assert first.returncode == 0, first.stderr
    agent = command.report(tmp_path).agents[0]
    assert agent.shipped is not None
    assert agent.shipped.engine == "native", "the first native candidate is finished whatever the budget"
    assert agent.continued == 0
    late = [label for label, row in rows(tmp_path).items() if row.reason_code == "not_built_in_time"]
    assert late
    second = command.run(tmp_path, *WANTED, "300")
    assert second.returncode == 0, second.stderr
    begun = [label for label in late if rows(tmp_path)[label].reason_code != "outpaced"]
    assert begun
    assert command.report(tmp_path).agents[0].continued == len(begun)
    assert not [row for row in rows(tmp_path).values() if row.reason_code == "not_built_in_time"]
    words = f"went on with {len(begun)} candidate"
    assert words in second.stdout.replace("\n", " ")
    assert words in (tmp_path / "reports" / "optimization.log").read_text(encoding="utf-8")
