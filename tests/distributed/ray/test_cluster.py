"""Ray Serve on a real cluster of three nodes, each a process: everything that is tried in `on_cluster`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.distributed.environment import RAY
from tests.distributed.ray.artifacts import written

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[3]
LIMIT_S = 300
BACK_S = 10.0


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    if not RAY.is_there:
        pytest.skip("ray is not installed: python -m tests.distributed.environment")
    folder = tmp_path_factory.mktemp("cluster")
    written(folder)
    done = subprocess.run(
        [sys.executable, "-P", "-W", "ignore", str(Path(__file__).parent / "on_cluster.py"), str(folder)],
        env=RAY.variables(ROOT),
        timeout=LIMIT_S,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return json.loads((folder / "found.json").read_text())


def of(found: dict[str, Any], name: str) -> dict[str, Any]:
    assert "raised" not in found[name], found[name]["raised"]
    return found[name]


def test_replicas_serve_native_artifacts_without_torch(found: dict[str, Any]) -> None:
    it = of(found, "deploys")
    assert (it["replicas"], it["nodes"], list(it["builds"])) == (2, 3, ["scaled"])
    assert it["torch"] == [False, False]


def test_callers_of_one_process_share_calls(found: dict[str, Any]) -> None:
    it = of(found, "answers")
    assert it["alone"]
    assert it["whole"]
    assert it["many"] == [[0, 2, 4, 6], [8, 10, 12, 14], [16, 18, 20, 22]]
    assert it["refused"] == ["SignatureError", "DeadlineExceeded"]
    assert it["calls"] < 200


def test_handles_answer_without_our_client(found: dict[str, Any]) -> None:
    it = of(found, "handles")
    assert it["answer"] == [2, 2, 2, 2]
    assert it["error"] == "x: expected shape [4] or [batch, 4], got [3]"


def test_http_is_the_open_inference_protocol(found: dict[str, Any]) -> None:
    it = of(found, "speaks_http")
    assert it["live"] == [200, {"live": True}]
    assert it["model"][1]["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}]
    status, answer = it["infer"]
    assert (status, answer["id"], answer["outputs"][0]["data"]) == (200, "7", [2, 4, 6, 8])
    assert [it[name][0] for name in ("unknown", "wrong", "changes")] == [404, 400, 403]
    assert all(list(it[name][1]) == ["error"] for name in ("unknown", "wrong", "changes"))


def test_a_new_build_takes_over_without_a_lost_or_mixed_answer(found: dict[str, Any]) -> None:
    it = of(found, "replaces")
    assert it["errors"] == {}
    assert it["wrong"] == 0
    assert set(it["answers"]) == {"2.0", "3.0"}
    assert it["after"] == [3, 3, 3, 3]
    assert it["builds"] == 2


def test_what_cannot_be_deployed_leaves_what_was(found: dict[str, Any]) -> None:
    it = of(found, "keeps_what_was")
    assert len(it["said"]) == 2
    assert all("not ready in time" in text or "was not deployed" in text for text in it["said"])
    assert it["answer"] == [3, 3, 3, 3]
    assert it["applications"] == ["agents"]


def test_versions_and_damage_are_told_before_anything_is_deployed(found: dict[str, Any]) -> None:
    it = of(found, "refuses")
    versions, damage = it["said"]
    assert "has grandopt" in versions
    assert "here is 9.9" in versions
    assert "damaged" in damage
    assert it["applications"] == ["agents"]


@pytest.mark.parametrize("what", ["loses_its_replicas", "loses_a_node"])
def test_only_what_was_under_way_is_lost(found: dict[str, Any], what: str) -> None:
    it = of(found, what)
    assert set(it["errors"]) <= {"WorkerLost"}
    assert sum(it["errors"].values()) <= 2 * 32
    assert it["wrong"] == 0
    assert it["silent_s"] < BACK_S  # that all replicas are there again is waited for where it is tried


def test_a_pipeline_goes_over_deployments(found: dict[str, Any]) -> None:
    it = of(found, "composes")
    assert it["one"] == {"output_0": [10, 10, 10, 10, 15, 15, 15, 15]}
    assert it["many"] == [10 * number for number in range(50)]


def test_ctrl_c_takes_a_deployment_back(found: dict[str, Any]) -> None:
    it = of(found, "stops")
    assert it["codes"] == [130, 130]
    for said in it["said"]:
        assert "Traceback" not in said
        assert said.splitlines()[-1] == "error: interrupted"
    assert it["answer"] == [3, 3, 3, 3]  # of what ran before
    assert it["applications"] == ["agents"]


def test_auto_adds_a_replica_and_gives_it_back_without_a_lost_answer(found: dict[str, Any]) -> None:
    it = of(found, "grows")
    assert (it["before"], it["after"], it["again"]) == (1, 2, 1)
    assert (it["errors"], it["wrong"]) == ({}, 0)
    assert it["answers"]["2.0"] > 0


def test_a_replica_that_ends_and_a_worker_of_it_are_both_workers_lost(found: dict[str, Any]) -> None:
    assert of(found, "translates")["said"] == [
        ["WorkerLost", "gate: the worker ended"],
        ["WorkerLost", "gate: the replica ended before it answered; ask again"],
    ]
