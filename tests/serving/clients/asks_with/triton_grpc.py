"""ADDRESS FOLDER: Triton's gRPC clients ask for all cases, in all their ways, and make every call."""

import asyncio
import queue
import sys

import numpy as np
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
import tritonclient.utils.shared_memory as shm
from cases import DATATYPES, cases, tell
from tritonclient.utils import InferenceServerException


def inputs_of(case, client=triton):
    tensors = []
    for name, array in case.inputs.items():
        tensor = client.InferInput(name, list(array.shape), DATATYPES[array.dtype.name])
        tensor.set_data_from_numpy(array)
        tensors.append(tensor)
    return tensors


def plain(client, all_cases):
    for case in all_cases:
        case.check(client.infer(case.model, inputs_of(case)).as_numpy)
        wanted = [triton.InferRequestedOutput(name) for name in reversed(case.outputs)]
        for compression in (None, "gzip", "deflate"):
            result = client.infer(
                case.model,
                inputs_of(case),
                model_version="1",
                outputs=wanted,
                request_id="7",
                priority=1,
                timeout=10_000_000,
                compression_algorithm=compression,
            )
            case.check(result.as_numpy)
            response = result.get_response()
            assert response.id == "7"
            assert [output.name for output in response.outputs] == list(reversed(case.outputs))


def later(client, all_cases):
    answers = queue.Queue()
    for case in all_cases:
        client.async_infer(
            case.model,
            inputs_of(case),
            callback=lambda result, error, case=case: answers.put((case, result, error)),
        )
    for _ in all_cases:
        case, result, error = answers.get(timeout=20)
        assert error is None, error
        case.check(result.as_numpy)


def streamed(client, all_cases):
    answers = queue.Queue()
    client.start_stream(callback=lambda result, error: answers.put((result, error)))
    for case in all_cases:
        client.async_stream_infer(case.model, inputs_of(case), enable_empty_final_response=True)
    client.async_stream_infer("nobody", inputs_of(all_cases[0]))
    client.async_stream_infer(all_cases[0].model, inputs_of(all_cases[0]))
    for case in all_cases:
        result, error = answers.get(timeout=20)
        assert error is None, error
        case.check(result.as_numpy)
        assert result.get_response().parameters["triton_final_response"].bool_param
    _, error = answers.get(timeout=20)
    assert "nobody" in str(error)
    result, error = answers.get(timeout=20)
    all_cases[0].check(result.as_numpy)
    client.stop_stream()


async def awaited(address, all_cases):
    async with triton_aio.InferenceServerClient(address) as client:
        assert await client.is_server_ready()
        for case in all_cases:
            result = await client.infer(case.model, inputs_of(case, triton_aio))
            case.check(result.as_numpy)

        async def requests():
            for case in all_cases:
                yield {"model_name": case.model, "inputs": inputs_of(case, triton_aio)}

        answers = client.stream_infer(requests())
        for case in all_cases:
            result, error = await anext(answers)
            assert error is None, error
            case.check(result.as_numpy)


def shared(client, all_cases):
    for case in all_cases:
        sent = sum(array.nbytes for array in case.inputs.values())
        size = sent + sum(array.nbytes for array in case.outputs.values())
        handle = shm.create_shared_memory_region("frames", f"/grpc_{case.model}", size)
        try:
            client.register_system_shared_memory("frames", f"/grpc_{case.model}", size)
            (status,) = client.get_system_shared_memory_status("frames").regions.values()
            assert status.byte_size == size
            shm.set_shared_memory_region(handle, list(case.inputs.values()))
            inputs, outputs, offset = [], [], 0
            for name, array in case.inputs.items():
                tensor = triton.InferInput(name, list(array.shape), DATATYPES[array.dtype.name])
                tensor.set_shared_memory("frames", array.nbytes, offset)
                inputs.append(tensor)
                offset += array.nbytes
            places = {}
            for name, array in case.outputs.items():
                output = triton.InferRequestedOutput(name)
                output.set_shared_memory("frames", array.nbytes, offset)
                outputs.append(output)
                places[name] = offset
                offset += array.nbytes
            result = client.infer(case.model, inputs, outputs=outputs)
            case.check(
                lambda name, case=case, places=places, result=result, handle=handle: (
                    shm.get_contents_as_numpy(
                        handle, case.outputs[name].dtype, list(result.get_output(name).shape), places[name]
                    )
                )
            )
            client.unregister_system_shared_memory("frames")
            assert not client.get_system_shared_memory_status().regions
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
    assert client.get_server_metadata().name == "grandopt"
    metadata = client.get_model_metadata("pair", as_json=True)
    assert [tensor["name"] for tensor in metadata["inputs"]] == ["x", "n"]
    config = client.get_model_config("pair", as_json=True)["config"]
    assert [tensor["data_type"] for tensor in config["input"]] == ["TYPE_FP32", "TYPE_INT64"]
    statistics = client.get_inference_statistics("pair").model_stats[0]
    assert statistics.inference_count > 0
    assert statistics.inference_stats.success.count > 0
    names = {model.name for model in client.get_model_repository_index().models}
    assert {"line", "pair"} <= names
    assert client.get_trace_settings(as_json=True)["settings"]["trace_level"]["value"] == ["OFF"]
    assert client.get_log_settings(as_json=True)["settings"]["log_error"]["bool_param"]
    assert client.update_log_settings({"log_info": True}, as_json=True)["settings"]["log_info"]["bool_param"]
    refused = 0
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
        assert error.status().startswith("StatusCode."), error
        assert error.message(), error
        refused += 1
    return refused


def classified(client):
    tensor = triton.InferInput("x", [1, 4], "FP32")
    tensor.set_data_from_numpy(np.array([[1, 9, 5, 2]], np.float32))
    output = triton.InferRequestedOutput("y", class_count=2)
    return [one.decode() for one in client.infer("line", [tensor], outputs=[output]).as_numpy("y").ravel()]


def main(address, folder):
    all_cases = cases(folder)
    with triton.InferenceServerClient(address) as client:
        plain(client, all_cases)
        later(client, all_cases)
        streamed(client, all_cases)
        asyncio.run(awaited(address, all_cases))
        shared(client, all_cases)
        refused = every_call(client)
        tell(cases=len(all_cases), refused=refused, classes=classified(client))


main(*sys.argv[1:])
