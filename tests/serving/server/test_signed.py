"""A server that requires signatures: an unsigned replacement leaves the old version in its place."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from grandopt.artifacts.artifact import read, write
from grandopt.artifacts.signing.keys import read_private, write_new_key
from grandopt.artifacts.signing.release import sign_artifact
from tests.serving.server.processes import address, ask, observation, served

LIMIT_S = 30


def _index(place: tuple[str, int]) -> dict[str, Any]:
    rows = json.loads(ask(place, "POST", "/v2/repository/index", {})[1])
    return {f"{row['name']} {row['state']}": row.get("reason", "") for row in rows}


def _until(place: tuple[str, int], state: str) -> str:
    """The reason in the index, once that has a row of this agent and state."""
    begin = time.monotonic()
    while state not in (rows := _index(place)):
        assert time.monotonic() - begin < LIMIT_S, rows
        time.sleep(0.05)
    return str(rows[state])


@pytest.mark.parametrize("workers", ["1", pytest.param("2", marks=pytest.mark.slow)])
def test_an_unsigned_replacement_is_refused(artifacts: Path, tmp_path: Path, workers: str) -> None:
    folder = Path(shutil.copytree(artifacts, tmp_path / "artifacts"))
    agent, key = folder / read(folder / "policy").manifest.name, tmp_path / "release.key"
    (folder / "policy").rename(agent)
    name = agent.name
    write_new_key(key)
    private = read_private(key)
    sign_artifact(agent, private)
    first = read(agent)
    words = ("--require-signature", f"{key}.pub", "--model-control", "poll", "--workers", workers)
    with served(folder, *words) as (told, _):
        place = address(told)
        question = ("POST", f"/v2/models/{name}/infer", observation())
        status, before = ask(place, *question)
        assert status == 200, before
        write(agent, first.manifest, {**first.payloads(), "more.txt": b"an unsigned build"})
        assert "changed after it was signed" in _until(place, f"{name} UNAVAILABLE")
        assert _index(place)[f"{name} READY"] == ""
        assert json.loads(ask(place, *question)[1])["outputs"] == json.loads(before)["outputs"]
        sign_artifact(agent, private)
        begin = time.monotonic()
        while f"{name} UNAVAILABLE" in _index(place):
            assert time.monotonic() - begin < LIMIT_S
            time.sleep(0.05)
        shutil.copytree(agent, folder / "another")
        assert f"is signed as '{name}', and would be served as 'another'" in _until(
            place, "another UNAVAILABLE"
        )
