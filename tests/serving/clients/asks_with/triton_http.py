"""ADDRESS FOLDER: Triton's HTTP clients ask for all cases, in all their ways, and make every call."""

import asyncio
import sys

import numpy as np
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio
import tritonclient.utils.shared_memory as shm
from cases import DATATYPES, cases, tell
from tritonclient.utils import InferenceServerException


def inputs_of(case, binary=True, client=triton):
    tensors = []
    for name, array in case.inputs.items():
        tensor = client.InferInput(name, list(array.shape), DATATYPES[array.dtype.name])
        tensor.set_data_from_numpy(array, binary_data=binary)
        tensors.append(tensor)
    return tensors


def plain(client, all_cases):
    as_text = 0
    for case in all_cases:
        case.check(client.infer(case.model, inputs_of(case)).as_numpy)
        for coding in (None, "gzip", "deflate"):
            wanted = [triton.InferRequestedOutput(name, binary_data=True) for name in reversed(case.outputs)]
            result = client.infer(
                case.model,
                inputs_of(case),
                model_version="1",
                outputs=wanted,
                request_id="7",
                priority=1,
                timeout=10_000_000,
                request_compression_algorithm=coding,
                response_compression_algorithm=coding,
            )
            case.check(result.as_numpy)
            assert result.get_response()["id"] == "7"
        if any(array.dtype == np.float16 for array in case.inputs.values()):
            continue  # which JSON has not
        wanted = [triton.InferRequestedOutput(name, binary_data=False) for name in case.outputs]
        case.check(client.infer(case.model, inputs_of(case, binary=False), outputs=wanted).as_numpy)
        as_text += 1
    return as_text


def later(client, all_cases):
    asked = [(case, client.async_infer(case.model, inputs_of(case))) for case in all_cases]
    for case, answer in asked:
        case.check(answer.get_result(timeout=20).as_numpy)


async def awaited(address, all_cases):
    async with triton_aio.InferenceServerClient(address) as client:
        assert await client.is_server_ready()
        for case in all_cases:
            result = await client.infer(case.model, inputs_of(case, client=triton_aio))
            case.check(result.as_numpy)


def shared(client, all_cases):
    for case in all_cases:
        sent = sum(array.nbytes for array in case.inputs.values())
        size = sent + sum(array.nbytes for array in case.outputs.values())
        handle = shm.create_shared_memory_region("frames", f"/http_{case.model}", size)
        try:
            client.register_system_shared_memory("frames", f"/http_{case.model}", size)
            (status,) = client.get_system_shared_memory_status("frames")
            assert status["byte_size"] == size
            shm.set_shared_memory_region(handle, list(case.inputs.values()))
            inputs, outputs, places, offset = [], [], {}, 0
            for name, array in case.inputs.items():
                tensor = triton.InferInput(name, list(array.shape), DATATYPES[array.dtype.name])
                tensor.set_shared_memory("frames", array.nbytes, offset)
                inputs.append(tensor)
                offset += array.nbytes
            for name, array in case.outputs.items():
                output = triton.InferRequestedOutput(name, binary_data=True)
                output.set_shared_memory("frames", array.nbytes, offset)
                outputs.append(output)
                places[name] = offset
                offset += array.nbytes
            result = client.infer(case.model, inputs, outputs=outputs)
            for name, expected in case.outputs.items():
                shape = result.get_output(name)["shape"]
                found = shm.get_contents_as_numpy(handle, expected.dtype, shape, places[name])
                assert found.tobytes() == expected.tobytes(), (case.model, name)
            client.unregister_system_shared_memory("frames")
            assert client.get_system_shared_memory_status() == []
        finally:
            shm.destroy_shared_memory_region(handle)


def refusal(ask):
    try:
        ask()
    except InferenceServerException as error:
        return error
    return None


def every_call(client):
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("pair")
    assert client.is_model_ready("pair", "1")
    assert client.get_server_metadata()["name"] == "grandopt"
    assert [tensor["name"] for tensor in client.get_model_metadata("pair")["inputs"]] == ["x", "n"]
    types = [tensor["data_type"] for tensor in client.get_model_config("pair")["input"]]
    assert types == ["TYPE_FP32", "TYPE_INT64"]
    (statistics,) = client.get_inference_statistics("pair")["model_stats"]
    assert statistics["inference_stats"]["success"]["count"] > 0
    assert {"line", "pair"} <= {model["name"] for model in client.get_model_repository_index()}
    assert client.get_trace_settings()["trace_level"] == ["OFF"]
    assert client.update_log_settings({"log_info": True})["log_info"] is True
    assert client.get_log_settings()["log_error"] is True
    codes = []
    for ask in (
        lambda: client.load_model("nobody"),
        lambda: client.get_cuda_shared_memory_status(),
        lambda: client.get_model_metadata("nobody"),
        lambda: client.infer("line", []),
        lambda: client.register_system_shared_memory("x", "/no-such-segment", 8),
        lambda: client.update_trace_settings(settings={"trace_level": ["TIMESTAMPS"]}),
    ):
        error = refusal(ask)
        assert error is not None
        assert error.message(), error
        codes.append(error.status())
    return codes


def main(address, folder):
    all_cases = cases(folder)
    with triton.InferenceServerClient(address, concurrency=4) as client:
        as_text = plain(client, all_cases)
        later(client, all_cases)
        asyncio.run(awaited(address, all_cases))
        shared(client, all_cases)
        tell(cases=len(all_cases), as_text=as_text, codes=every_call(client))


main(*sys.argv[1:])
