"""Calls as a client makes them, in mappings; what reads and writes them here is the server's schema, which
`test_schema.py` holds against protobuf's own."""

from __future__ import annotations

from typing import Any

import grpc
import numpy as np

from grandopt.serving.grpc.coding import decode, encode
from grandopt.serving.grpc.inference_schema import INFERENCE
from grandopt.serving.protocol.datatypes import datatype_of
from grandopt.signature import Array

SERVICE = "/inference.GRPCInferenceService"
TIME_S = 20.0


def call(channel: grpc.Channel, name: str, /, metadata: Any = None, **request: Any) -> dict[str, Any]:
    """The response of a call; raises grpc.RpcError."""
    data = encode(INFERENCE, f"{name}Request", request)
    answer = channel.unary_unary(f"{SERVICE}/{name}")(data, timeout=TIME_S, metadata=metadata)
    return decode(INFERENCE, f"{name}Response", answer)


def infer_request(model: str, *, raw: bool = True, **content: Any) -> dict[str, Any]:
    """A request of the arrays among `content`; the rest of it is taken as it is."""
    inputs, raws, rest = [], [], {}
    for name, value in content.items():
        if isinstance(value, np.ndarray):
            tensor = {"name": name, "datatype": datatype_of(value.dtype.name), "shape": list(value.shape)}
            inputs.append(tensor)
            raws.append(value.tobytes())
        else:
            rest[name] = value
    return {"model_name": model, "inputs": inputs, "raw_input_contents": raws if raw else [], **rest}


def array(response: dict[str, Any], place: int) -> Array:
    """An output of a response."""
    dtypes = {"FP32": "<f4", "FP64": "<f8", "FP16": "<f2", "BOOL": "?"}
    datatype = response["outputs"][place]["datatype"]
    dtype = dtypes.get(datatype) or datatype.lower()
    return np.frombuffer(response["raw_output_contents"][place], dtype).reshape(
        response["outputs"][place]["shape"]
    )
