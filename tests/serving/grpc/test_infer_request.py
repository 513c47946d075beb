"""Requests for inference, written by protobuf and read by the server's own reader."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from grandopt.serving.grpc.infer_request import REMEMBERED, RequestReader
from grandopt.serving.grpc.inference_schema import INFERENCE
from grandopt.serving.protocol.datatypes import DTYPES
from grandopt.serving.protocol.errors import Code, ProtocolError
from grandopt.serving.protocol.messages import InferRequest, OutputRequest, Region
from tests.serving.grpc.test_schema import protobuf

TYPED = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
}


def made(*tensors: dict[str, Any], **content: Any) -> Any:
    return protobuf(INFERENCE, "ModelInferRequest")(inputs=tensors, **content)


def read(message: Any) -> InferRequest:
    return RequestReader().read(message.SerializeToString())


def extremes(datatype: str) -> np.ndarray[Any, Any]:
    dtype = DTYPES[datatype]
    if dtype.kind == "b":
        return np.array([[True, False, True]])
    if dtype.kind == "f":
        limits = np.finfo(dtype.name)
        return np.array([[limits.max, -limits.tiny, np.nan], [-0.0, np.inf, -np.inf]], dtype)
    whole = np.iinfo(dtype.name)
    return np.array([[whole.min, whole.max, 1], [0, 5, whole.max // 2]], dtype)


@pytest.mark.parametrize("datatype", DTYPES)
def test_raw_numbers_are_read_bit_for_bit(datatype: str) -> None:
    x = extremes(datatype)
    message = made(
        {"name": "x", "datatype": datatype, "shape": x.shape},
        model_name="m",
        raw_input_contents=[x.tobytes()],
    )
    (tensor,) = read(message).inputs
    assert (tensor.name, tensor.datatype, tensor.shape) == ("x", datatype, x.shape)
    assert tensor.data is not None
    assert tensor.data.dtype == x.dtype
    assert tensor.data.tobytes() == x.tobytes()


@pytest.mark.parametrize("datatype", TYPED)
def test_typed_numbers_are_read_bit_for_bit(datatype: str) -> None:
    x = extremes(datatype)
    message = made({"name": "x", "datatype": datatype, "shape": x.shape}, model_name="m")
    getattr(message.inputs[0].contents, TYPED[datatype]).extend(x.ravel().tolist())
    (tensor,) = read(message).inputs
    assert tensor.data is not None
    assert tensor.data.dtype == x.dtype
    assert tensor.data.tobytes() == x.tobytes()


def test_all_that_a_request_says_is_read() -> None:
    message = made(
        {"name": "x", "datatype": "FP32", "shape": [2]},
        {"name": "n", "datatype": "INT64", "shape": [1, 2]},
        model_name="größe",
        model_version="3",
        id="id-7",
        raw_input_contents=[bytes(8), bytes(16)],
        outputs=[{"name": "a"}, {"name": "b"}],
    )
    message.outputs[1].parameters["classification"].int64_param = 4
    message.parameters["sequence_id"].uint64_param = 2**64 - 1
    message.parameters["sequence_start"].bool_param = True
    message.parameters["tag"].string_param = "später"
    message.parameters["share"].double_param = 0.25
    message.parameters["timeout"].int64_param = -3
    request = read(message)
    assert (request.model, request.version, request.id) == ("größe", "3", "id-7")
    assert request.outputs == (OutputRequest("a"), OutputRequest("b", 4))
    assert [tensor.name for tensor in request.inputs] == ["x", "n"]
    assert request.parameters == {
        "sequence_id": 2**64 - 1,
        "sequence_start": True,
        "tag": "später",
        "share": 0.25,
        "timeout": -3,
    }


def test_tensors_in_shared_memory_have_no_raw_bytes() -> None:
    message = made(
        {"name": "a", "datatype": "FP32", "shape": [2]},
        {"name": "b", "datatype": "FP32", "shape": [2]},
        model_name="m",
        raw_input_contents=[np.array([1, 2], "<f4").tobytes()],
        outputs=[{"name": "c"}],
    )
    for tensor in (message.inputs[0], message.outputs[0]):
        tensor.parameters["shared_memory_region"].string_param = "frames"
        tensor.parameters["shared_memory_byte_size"].int64_param = 8
        tensor.parameters["shared_memory_offset"].int64_param = 16
    request = read(message)
    shared, here = request.inputs
    assert shared.region == Region("frames", 8, 16)
    assert shared.data is None
    np.testing.assert_array_equal(here.data, [1, 2])  # type: ignore[arg-type]
    assert request.outputs == (OutputRequest("c", region=Region("frames", 8, 16)),)


def _input(**changes: Any) -> Any:
    return {"name": "x", "datatype": "FP32", "shape": [2], **changes}


def _with(message: Any, where: str, name: str, **value: Any) -> Any:
    getattr(message, where)[0].parameters[name].CopyFrom(protobuf(INFERENCE, "InferParameter")(**value))
    return message


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (
            lambda: _with(
                made(_input(), raw_input_contents=[bytes(8)]), "inputs", "binary_data_size", int64_param=9
            ),
            "binary_data_size is 9, and 8 bytes came",
        ),
        (lambda: made(_input(), raw_input_contents=[bytes(7)]), r"'x': \[2\] of FP32 takes 8 bytes, got 7"),
        (lambda: made(_input(shape=[-1]), raw_input_contents=[bytes(4)]), "wanted at most 32 dimensions"),
        (lambda: made(_input(shape=[-1, -2]), raw_input_contents=[bytes(8)]), "wanted at most 32 dimensions"),
        (lambda: made(_input(shape=[1] * 33), raw_input_contents=[bytes(4)]), "wanted at most 32 dimensions"),
        (lambda: made(_input(shape=[0, 2**62]), raw_input_contents=[b""]), "wanted at most 32 dimensions"),
        (lambda: made(_input(datatype="FP8"), raw_input_contents=[bytes(2)]), "'FP8' is none of BOOL"),
        (lambda: made(_input(datatype="BYTES"), raw_input_contents=[bytes(2)]), "these are BYTES"),
        (lambda: made(_input(datatype="FP16")), "'FP16' has no typed contents; send raw_input_contents"),
        (
            lambda: made(_input(), _input(), raw_input_contents=[bytes(8)]),
            "1 raw_input_contents for 2 inputs",
        ),
        (lambda: made(raw_input_contents=[bytes(8)]), "1 raw_input_contents for 0 inputs"),
        (lambda: made(_input()), "has 2 elements, got 0 in fp32_contents"),
        (
            lambda: made(_input(contents={"fp32_contents": [1, 2]}), raw_input_contents=[bytes(8)]),
            "contents and raw_input_contents are both given",
        ),
        (lambda: made(_input(contents={"int_contents": [1, 2]})), "belong in fp32_contents alone"),
        (
            lambda: made(_input(contents={"fp32_contents": [1, 2], "fp64_contents": [1]})),
            "belong in fp32_contents alone",
        ),
        (
            lambda: made(_input(datatype="INT8", contents={"int_contents": [1, 128]})),
            "INT8 holds -128 to 127, and an element is outside",
        ),
        (
            lambda: made(_input(datatype="UINT8", contents={"uint_contents": [256, 1]})),
            "UINT8 holds 0 to 255",
        ),
        (
            lambda: _with(made(_input()), "inputs", "binary_data_output", int64_param=8),
            "is none of binary_data_size",
        ),
        (
            lambda: _with(made(_input()), "inputs", "shared_memory_offset", int64_param=8),
            "shared memory takes",
        ),
        (
            lambda: _with(
                _with(made(_input()), "inputs", "shared_memory_region", string_param="a"),
                "inputs",
                "shared_memory_byte_size",
                int64_param=-8,
            ),
            "wanted no negative number",
        ),
        (
            lambda: _with(made(outputs=[{"name": "y"}]), "outputs", "classification", int64_param=0),
            "at least 1",
        ),
        (
            lambda: _with(made(outputs=[{"name": "y"}]), "outputs", "classification", bool_param=True),
            "at least 1",
        ),
        (lambda: _with(made(outputs=[{"name": "y"}]), "outputs", "classification"), "has no value"),
        (lambda: made(outputs=[{"name": "y"}] * 200), "over 128 inputs, outputs and parameters"),
    ],
)
def test_what_is_wrong_is_said(message: Any, why: str) -> None:
    with pytest.raises(ProtocolError, match=why):
        read(message())


def test_what_is_remembered_is_bounded_and_right() -> None:
    reader = RequestReader()
    for index in range(2 * REMEMBERED + 10):
        message = made(_input(name=f"x{index}"), model_name="m", raw_input_contents=[bytes(8)])
        for _ in range(2):
            assert reader.read(message.SerializeToString()).inputs[0].name == f"x{index}"
    assert len(reader._inputs) <= REMEMBERED
    long = made(_input(name="x" * 3000), model_name="m" * 3000, raw_input_contents=[bytes(8)])
    before = len(reader._inputs)
    reader.read(long.SerializeToString())
    assert len(reader._inputs) == before


@pytest.mark.parametrize("changes", [{}, {"id": "7"}, {"model_version": "3"}, {"outputs": [{"name": "y"}]}])
def test_a_request_that_comes_again_is_read_the_same(changes: dict[str, Any]) -> None:
    """By a reader that knows all before its numbers, and by one that sees it for the first time."""
    reader = RequestReader()
    draws = np.random.default_rng(0)
    for index in range(30):
        name = "xyz"[index % 3]  # requests of one length with different heads
        x = draws.normal(size=(1, 2 + index % 2)).astype("f")
        tensor = _input(name=name, shape=x.shape)
        message = made(tensor, model_name="m", raw_input_contents=[x.tobytes()], **changes)
        message.parameters["priority"].int64_param = index % 2
        known, new = reader.read(message.SerializeToString()), read(message)
        assert known._replace(inputs=()) == new._replace(inputs=())
        (known_tensor,), (new_tensor,) = known.inputs, new.inputs
        assert known_tensor[:3] == new_tensor[:3] == (name, "FP32", x.shape)
        assert known_tensor.data is not None
        assert known_tensor.data.flags.aligned
        np.testing.assert_array_equal(known_tensor.data, x)


def test_numbers_are_the_end_of_a_request_only_where_they_come_last() -> None:
    reader = RequestReader()
    numbers = made(raw_input_contents=[np.array([1, 2], "<f4").tobytes()]).SerializeToString()
    rest = made(_input(), model_name="m").SerializeToString()
    for _ in range(2):
        for data in (numbers + rest, rest + numbers):
            (tensor,) = reader.read(data).inputs
            np.testing.assert_array_equal(tensor.data, [1, 2])  # type: ignore[arg-type]


def test_what_is_known_of_heads_is_bounded() -> None:
    reader = RequestReader()
    for index in range(2 * REMEMBERED + 10):
        x = np.zeros(index, "f")
        message = made(_input(shape=x.shape), model_name="m", raw_input_contents=[x.tobytes()])
        for _ in range(2):
            assert reader.read(message.SerializeToString()).inputs[0].shape == x.shape
    assert len(reader._forms) <= REMEMBERED + 1
    assert sum(len(form.requests) for form in reader._forms.values()) <= REMEMBERED


def test_a_refused_part_is_refused_again() -> None:
    reader = RequestReader()
    data = made(_input(shape=[-1])).SerializeToString()
    for _ in range(2):
        with pytest.raises(ProtocolError) as refusal:
            reader.read(data)
        assert refusal.value.code is Code.INVALID
