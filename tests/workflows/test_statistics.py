"""Statistics that are found with an agent reach report, table and page, and a later run sees new ones."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from grandopt.cli.render.report import summary
from grandopt.compiler.checkpoints import detect
from grandopt.compiler.identity import module_digest
from grandopt.config.schema import AgentConfig
from grandopt.reporting import view
from grandopt.reporting.report import StatisticsReport, load_report, write_report
from grandopt.workflows import records
from tests.checkpoints import sb3_zips as zips
from tests.checkpoints.sb3_zips import Weights
from tests.reporting.samples import optimized, report

LEFT = StatisticsReport(
    place="agent.pt: state_preprocessor",
    kind="normalisation statistics, 10 features",
    used=False,
    reason="it lies beside the weights that were chosen; give a network that normalises",
)
USED = StatisticsReport(place="ant/vecnormalize.pkl", kind="VecNormalize", used=True)


def test_the_table_names_what_was_left_out_within_80_columns() -> None:
    written = report(optimized(statistics=(USED, LEFT)))
    console = Console(width=80, record=True, file=io.StringIO())
    for part in summary(written, 80):
        console.print(part)
    text = console.export_text()
    assert all(len(line) <= 80 for line in text.splitlines())
    assert "statistics not used: agent.pt: state_preprocessor" in " ".join(text.split())
    assert "vecnormalize.pkl" not in text


def test_the_report_keeps_them_and_the_page_shows_them(tmp_path: Path) -> None:
    write_report(report(optimized(statistics=(USED, LEFT))), tmp_path / "report.json")
    (agent,) = load_report(tmp_path / "report.json").agents
    assert agent.statistics == (USED, LEFT)
    facts = dict(view.facts(agent))
    assert facts["Statistics folded in"] == "ant/vecnormalize.pkl (VecNormalize)"
    assert facts["Statistics left out"].startswith("agent.pt: state_preprocessor (normalisation")


@pytest.fixture
def zipped(tmp_path: Path) -> Path:
    made = Weights().layer("action_net", 2, 3)
    space, action = zips.box(-9, 9, (3,)), zips.box(-9, 9, (2,))
    return zips.write_zip(tmp_path / "ant.zip", zips.ON_POLICY, space, action, made.tensors)


def test_a_file_that_is_added_changed_or_removed_between_runs_is_another_agent(zipped: Path) -> None:
    def key() -> tuple[str | None, bool]:
        checkpoint = detect.load("ant", AgentConfig(checkpoint=zipped))
        used = any(item.used for item in records.statistics(checkpoint))
        return module_digest(checkpoint.module, checkpoint.inputs), used

    plain = key()
    zipped.with_suffix("").mkdir()
    file = zips.write_statistics(zipped.with_suffix("") / "vecnormalize.pkl", ([1.0] * 3, [2.0] * 3))
    added = key()
    zips.write_statistics(file, ([1.0] * 3, [3.0] * 3))
    changed = key()
    file.unlink()
    assert (plain[1], added[1], changed[1]) == (False, True, True)
    assert len({plain[0], added[0], changed[0]}) == 3
    assert key() == plain
