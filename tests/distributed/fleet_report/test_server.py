"""What a real server of ours tells of its artifacts."""

from __future__ import annotations

from pathlib import Path

import pytest

from grandopt.distributed.fleet_report.sources import read_sources
from tests.serving.server.conftest import artifacts
from tests.serving.server.processes import address, served

__all__ = ["artifacts"]  # a fixture


@pytest.mark.slow
def test_a_server_tells_of_the_artifacts_that_it_serves(artifacts: Path) -> None:
    with served(artifacts) as (told, _):
        host, port = address(told)
        sources, unread = read_sources([f"http://{host}:{port}", f"http://{host}:{port}/"])
    assert unread == []
    record = sources[0].records[0]
    assert (record.agent.agent, record.agent.engine, record.agent.precision) == (
        "policy",
        "native",
        "float32",
    )
    assert (record.run.kind, record.run.machine, record.agent.p50_us) == ("served", "", None)
    assert len(record.agent.digest or "") == 64
