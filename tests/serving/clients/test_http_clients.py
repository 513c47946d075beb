"""Real clients of HTTP ask a real server: bit for bit what the agent itself gives."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serving.clients.cases import written_cases
from tests.serving.clients.environment import asks_with
from tests.serving.clients.process import serving


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving(shared_memory=True) as (addresses, _):
        yield addresses["http"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written_cases(tmp_path_factory.mktemp("cases"))


@pytest.mark.slow
def test_tritons_clients_get_the_agents_own_numbers(url: str, folder: Path) -> None:
    address = url.removeprefix("http://")
    found = json.loads(asks_with("tritonclient", "triton_http", address, str(folder)))
    assert found == {
        "cases": len(list(folder.iterdir())),
        "as_text": len([one for one in folder.iterdir() if "float16" not in one.name]),
        "codes": ["404", "501", "404", "400", "400", "501"],
    }


@pytest.mark.slow
def test_kserves_client_gets_the_agents_own_numbers(url: str, folder: Path) -> None:
    found = json.loads(asks_with("kserve", "kserve_rest", url, str(folder)))
    assert found["ready"] == [True] * 3
    assert found["as_text"] == len([one for one in folder.iterdir() if "float16" not in one.name])
