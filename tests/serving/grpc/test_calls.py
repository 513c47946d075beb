"""Every call of the protocol over a real connection, with and without versions."""

from __future__ import annotations

import time
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from grandopt.serving.grpc.coding import encode
from grandopt.serving.grpc.inference_schema import INFERENCE
from tests.serving.clients.agents import DTYPES, mirror
from tests.serving.clients.process import serving
from tests.serving.grpc.asking import SERVICE, array, call, infer_request


def refusal(channel: grpc.Channel, name: str, /, **request: Any) -> tuple[str, str]:
    """The status with which a call ends."""
    with pytest.raises(grpc.RpcError) as error:
        call(channel, name, **request)
    return error.value.code().name, error.value.details()


def test_the_server_says_what_it_is(channel: grpc.Channel) -> None:
    assert call(channel, "ServerLive") == {"live": True}
    assert call(channel, "ServerReady") == {"ready": True}
    metadata = call(channel, "ServerMetadata")
    assert metadata["name"] == "grandopt"
    assert "system_shared_memory" in metadata["extensions"]


@pytest.mark.parametrize("version", ["", "1"])
def test_a_model_says_what_it_is(channel: grpc.Channel, version: str) -> None:
    asked = {"name": "pair", "version": version}
    assert call(channel, "ModelReady", **asked) == {"ready": True}
    metadata = call(channel, "ModelMetadata", **asked)
    assert [tensor["datatype"] for tensor in metadata["inputs"]] == ["FP32", "INT64"]
    assert metadata["inputs"][0]["shape"] == [-1, 2]
    config = call(channel, "ModelConfig", **asked)["config"]
    assert config["input"][1]["data_type"] == "TYPE_INT64"
    (statistics,) = call(channel, "ModelStatistics", **asked)["model_stats"]
    assert statistics["name"] == "pair"


@pytest.mark.parametrize("name", ["ModelReady", "ModelMetadata", "ModelConfig", "ModelStatistics"])
def test_what_is_not_there_is_not_found(channel: grpc.Channel, name: str) -> None:
    code, text = refusal(channel, name, name="nobody")
    assert code == "NOT_FOUND"
    assert "nobody" in text
    assert refusal(channel, name, name="line", version="99")[0] == "NOT_FOUND"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rows", [1, 5])
def test_numbers_come_back_bit_for_bit(channel: grpc.Channel, dtype: str, rows: int) -> None:
    draws = np.random.default_rng(0)
    size = rows * 6 * np.dtype(dtype).itemsize
    raw = draws.integers(0, 2 if dtype == "bool" else 256, size, np.uint8)
    x = raw.view(dtype).reshape(rows, 2, 3)
    response = call(channel, "ModelInfer", **infer_request(f"mirror_{dtype}", x=x, id="7"))
    assert response["id"] == "7"
    assert response["model_version"] == "1"
    for place, expected in enumerate(mirror(dtype).run([x])):
        assert array(response, place).dtype == expected.dtype
        assert array(response, place).tobytes() == expected.tobytes()


def test_typed_contents_are_answered_raw(channel: grpc.Channel) -> None:
    request = infer_request("line", raw=False, x=np.zeros((1, 4), "f"))
    request["inputs"][0]["contents"] = {"fp32_contents": [1.0, -2.0, 0.5, 3.0]}
    response = call(channel, "ModelInfer", **request)
    np.testing.assert_array_equal(array(response, 0), [[2.0, -4.0, 1.0, 6.0]])
    assert "contents" not in response["outputs"][0]


def test_outputs_are_chosen_and_classified(channel: grpc.Channel) -> None:
    x, n = np.array([[3, 4]], "f"), np.array([2])
    wanted = [{"name": "n"}]
    response = call(channel, "ModelInfer", **infer_request("pair", x=x, n=n, outputs=wanted))
    assert [output["name"] for output in response["outputs"]] == ["n"]
    classes = [{"name": "y", "parameters": {"classification": {"int64_param": 2}}}]
    request = infer_request("line", x=np.array([[1, 9, 5, 2]], "f"), outputs=classes)
    response = call(channel, "ModelInfer", **request)
    assert response["outputs"][0]["datatype"] == "BYTES"
    raw = response["raw_output_contents"][0]
    assert raw[4 : 4 + raw[0]].endswith(b":1")


@pytest.mark.parametrize(
    ("request_", "code", "text"),
    [
        ({"model_name": "nobody"}, "NOT_FOUND", "nobody"),
        (infer_request("line", x=np.zeros((1, 5), "f")), "INVALID_ARGUMENT", "shape"),
        (infer_request("line", x=np.zeros((1, 4), "d")), "INVALID_ARGUMENT", "FP64"),
        (infer_request("line", z=np.zeros((1, 4), "f")), "INVALID_ARGUMENT", "'z'"),
        (
            infer_request("line", x=np.zeros((1, 4), "f"), parameters={"triton_x": {"bool_param": True}}),
            "INVALID_ARGUMENT",
            "triton_x",
        ),
        (
            infer_request("line", x=np.zeros((1, 4), "f"), outputs=[{"name": "y"}, {"name": "y"}]),
            "INVALID_ARGUMENT",
            "twice",
        ),
    ],
)
def test_requests_that_do_not_fit_are_refused(
    channel: grpc.Channel, request_: dict[str, Any], code: str, text: str
) -> None:
    status, said = refusal(channel, "ModelInfer", **request_)
    assert status == code
    assert text in said


def test_a_calls_deadline_is_the_requests(channel: grpc.Channel) -> None:
    busy = channel.unary_unary(f"{SERVICE}/ModelInfer").future(_slow(1.0))
    time.sleep(0.4)  # two calls of one client may overtake each other
    late = channel.unary_unary(f"{SERVICE}/ModelInfer").future(_slow(0.0), timeout=0.1)
    assert late.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert busy.code() is grpc.StatusCode.OK


def _slow(seconds: float) -> bytes:
    return encode(INFERENCE, "ModelInferRequest", infer_request("slow", x=np.array([[seconds]], "f")))


def test_the_repository_is_listed(channel: grpc.Channel) -> None:
    models = call(channel, "RepositoryIndex")["models"]
    assert {"name": "line", "version": "1", "state": "READY"} in models
    code, _ = refusal(channel, "RepositoryModelLoad", model_name="nobody")
    assert code == "NOT_FOUND"


def test_a_model_is_unloaded_and_gone() -> None:
    with serving() as (addresses, _), grpc.insecure_channel(addresses["grpc"]) as channel:
        unload = {"model_name": "line", "parameters": {"unload_dependents": {"bool_param": False}}}
        assert call(channel, "RepositoryModelUnload", **unload) == {}
        assert refusal(channel, "ModelInfer", model_name="line")[0] in ("NOT_FOUND", "UNAVAILABLE")
        code, text = refusal(channel, "SystemSharedMemoryStatus")
        assert code == "UNIMPLEMENTED"
        assert "--allow-client-shm" in text


def test_settings_are_shown_and_set(channel: grpc.Channel) -> None:
    settings = call(channel, "LogSettings")["settings"]
    assert settings["log_error"] == {"bool_param": True}
    changed = call(channel, "LogSettings", settings={"log_info": {"bool_param": True}})["settings"]
    assert changed["log_info"] == {"bool_param": True}
    assert (
        refusal(channel, "LogSettings", settings={"nonsense": {"bool_param": True}})[0] == "INVALID_ARGUMENT"
    )
    assert call(channel, "TraceSetting")["settings"]["trace_level"] == {"value": ["OFF"]}
    off = {"trace_level": {"value": ["OFF"]}, "trace_rate": {"value": []}}
    assert call(channel, "TraceSetting", settings=off, model_name="line")["settings"]
    on = {"trace_level": {"value": ["TIMESTAMPS"]}}
    assert refusal(channel, "TraceSetting", settings=on)[0] == "UNIMPLEMENTED"


@pytest.mark.parametrize("verb", ["Status", "Register", "Unregister"])
def test_cuda_is_not_implemented(channel: grpc.Channel, verb: str) -> None:
    assert refusal(channel, f"CudaSharedMemory{verb}")[0] == "UNIMPLEMENTED"


def test_tensors_travel_through_shared_memory(channel: grpc.Channel) -> None:
    memory = SharedMemory(create=True, size=64)
    try:
        region = {"name": "frames", "key": f"/{memory.name}", "offset": 0, "byte_size": 64}
        assert call(channel, "SystemSharedMemoryRegister", **region) == {}
        listed = call(channel, "SystemSharedMemoryStatus")["regions"]
        assert listed == {"frames": {key: value for key, value in region.items() if value}}
        memory.buf[:16] = np.array([1, 2, 3, 4], "<f4").tobytes()
        request = _through("frames", 16)
        response = call(channel, "ModelInfer", **request)
        assert bytes(memory.buf[16:32]) == np.array([2, 4, 6, 8], "<f4").tobytes()
        assert response["raw_output_contents"] == [b""]
        assert response["outputs"][0]["parameters"]["shared_memory_byte_size"] == {"int64_param": 16}
        with (Path("/dev/shm") / memory.name).open("r+b") as file:
            file.truncate(8)
        assert refusal(channel, "ModelInfer", **request)[0] == "INVALID_ARGUMENT"
        assert call(channel, "SystemSharedMemoryUnregister", name="frames") == {}
        assert refusal(channel, "ModelInfer", **request)[0] == "NOT_FOUND"
        assert call(channel, "ServerLive") == {"live": True}
    finally:
        memory.close()
        memory.unlink()


def _through(region: str, size: int) -> dict[str, Any]:
    def placed(offset: int) -> dict[str, Any]:
        return {
            "shared_memory_region": {"string_param": region},
            "shared_memory_byte_size": {"int64_param": size},
            "shared_memory_offset": {"int64_param": offset},
        }

    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 4], "parameters": placed(0)}
    return {
        "model_name": "line",
        "inputs": [tensor],
        "outputs": [{"name": "y", "parameters": placed(16)}],
    }


def test_all_calls_are_served_and_no_others(channel: grpc.Channel) -> None:
    assert len(INFERENCE.calls) == 20
    with pytest.raises(grpc.RpcError) as error:
        channel.unary_unary(f"{SERVICE}/Nonsense")(b"", timeout=10)
    assert error.value.code() is grpc.StatusCode.UNIMPLEMENTED
    with pytest.raises(grpc.RpcError) as error:
        channel.unary_unary(f"{SERVICE}/ModelInfer")(b"\xff\xff\xff", timeout=10)
    assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT
