"""Real clients of gRPC ask a real server: bit for bit what the agent itself gives."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from grandopt.serving.grpc.descriptors import file_descriptor
from grandopt.serving.grpc.inference_schema import INFERENCE
from tests.serving.clients.cases import written_cases
from tests.serving.clients.environment import asks_with
from tests.serving.clients.process import serving


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with serving(shared_memory=True) as (addresses, _):
        yield addresses["grpc"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written_cases(tmp_path_factory.mktemp("cases"))


def test_tritons_messages_are_ours(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(file_descriptor(INFERENCE.file, (INFERENCE,)))
    found = json.loads(asks_with("tritonclient", "triton_messages", str(tmp_path / "file")))
    assert found["other"] == {}
    assert found["same"] > 250
    # Configurations of what is not served here: graphs of models, other devices, agents of a repository.
    assert all(name.startswith(("Model", "Batch", "call")) for name in found["absent"])
    assert "ModelInferRequest" not in found["absent"]


@pytest.mark.slow
def test_tritons_clients_get_the_agents_own_numbers(address: str, folder: Path) -> None:
    found = json.loads(asks_with("tritonclient", "triton_grpc", address, str(folder)))
    assert found == {
        "cases": len(list(folder.iterdir())),
        "refused": 6,
        "classes": ["18.000000:1", "10.000000:2"],
    }


@pytest.mark.slow
def test_kserves_client_gets_the_agents_own_numbers(address: str, folder: Path) -> None:
    found = json.loads(asks_with("kserve", "kserve_grpc", address, str(folder)))
    assert found == {"ready": [True] * 3, "cases": len(list(folder.iterdir()))}


def test_health_and_reflection_are_those_of_grpcs_own_clients(address: str) -> None:
    found = json.loads(asks_with("grpc_services", "services", address))
    assert found["status"] == found["watched"] == "SERVING"
    assert {"inference.GRPCInferenceService", "grpc.health.v1.Health"} <= set(found["services"])
    assert found["calls"] == 20
    assert found["fields"][:3] == ["model_name", "model_version", "id"]
