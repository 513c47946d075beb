"""Answers of inference as JSON, and as bytes after it."""

from __future__ import annotations

import orjson

from grandopt.serving.http.head import HEADER_LENGTH
from grandopt.serving.http.infer_request import Asked
from grandopt.serving.http.tensors import to_json
from grandopt.serving.protocol.datatypes import BYTES, bytes_to_raw
from grandopt.serving.protocol.errors import Code, ProtocolError
from grandopt.serving.protocol.messages import InferResponse, OutputTensor
from grandopt.serving.routes import JSON, HttpResponse

BINARY = "application/octet-stream"
NAME = HEADER_LENGTH.title()
_KEPT = 512
"""Forms of answers that are remembered; more of them would be made for the purpose."""
Key = tuple[object, ...]


class AnswerWriter:
    """Writes answers. The text around the numbers is the same for all answers of one form, and is kept."""

    def __init__(self) -> None:
        self._heads: dict[Key, bytes] = {}
        self._texts: dict[Key, tuple[bytes, bytes]] = {}

    def at_once(self, response: InferResponse, given: Asked) -> bytes | None:
        """The lines after the first and the body of a plain answer; None for any other form.

        Plain is one output, all of it bytes or all of it JSON, without an id and parameters.
        """
        outputs = response.outputs
        if len(outputs) != 1 or response.id or response.parameters:
            return None
        output = outputs[0]
        data = output.data
        if data is None or output.datatype == BYTES:
            return None
        asked = given.base.outputs
        binary = asked[0].binary if asked else given.binary
        key = (response.model, response.version, output.name, output.datatype, output.shape)
        if binary:
            head = self._heads.get(key)
            if head is None:
                head = self._head(key, response, output)
            return head + data.tobytes()
        around = self._texts.get(key)
        if around is None:
            around = self._text(key, response, output)
        numbers = to_json(output)
        return b"%bContent-Length: %d\r\n\r\n%b%b%b" % (
            _JSON_LINE,
            len(around[0]) + len(numbers) + len(around[1]),
            around[0],
            numbers,
            around[1],
        )

    def _head(self, key: Key, response: InferResponse, output: OutputTensor) -> bytes:
        assert output.data is not None
        text, size = _json(response, (True,)), output.data.nbytes
        head = b"Content-Type: %b\r\n%b: %d\r\nContent-Length: %d\r\n\r\n%b" % (
            BINARY.encode(),
            NAME.encode(),
            len(text),
            len(text) + size,
            text,
        )
        if len(self._heads) >= _KEPT:
            self._heads.clear()
        self._heads[key] = head
        return head

    def _text(self, key: Key, response: InferResponse, output: OutputTensor) -> tuple[bytes, bytes]:
        text = (
            b'{"model_name":%b,"model_version":%b,"outputs":[{"name":%b,"datatype":%b,"shape":%b,"data":'
            % tuple(
                map(
                    orjson.dumps,
                    (response.model, response.version, output.name, output.datatype, output.shape),
                )
            )
        )
        if len(self._texts) >= _KEPT:
            self._texts.clear()
        self._texts[key] = text, b"}]}"
        return text, b"}]}"


_JSON_LINE = f"Content-Type: {JSON}\r\n".encode()


def written(response: InferResponse, given: Asked) -> HttpResponse:
    """An answer of any form; raises ProtocolError for values that JSON cannot say."""
    asked = given.base.outputs
    binary = tuple(one.binary for one in asked) or (given.binary,) * len(response.outputs)
    if len(binary) != len(response.outputs):
        raise ProtocolError(
            Code.INTERNAL, f"{len(binary)} outputs were asked for, {len(response.outputs)} were answered"
        )
    text = _json(response, binary)
    raw = [
        _raw(output)
        for output, is_binary in zip(response.outputs, binary, strict=True)
        if is_binary and output.data is not None
    ]
    if not any(binary):
        return HttpResponse(200, text, JSON)
    return HttpResponse(200, b"".join([text, *raw]), BINARY, ((NAME, str(len(text))),))


def _raw(output: OutputTensor) -> bytes:
    assert output.data is not None
    return bytes_to_raw(output.data) if output.datatype == BYTES else output.data.tobytes()


def _json(response: InferResponse, binary: tuple[bool, ...]) -> bytes:
    """The JSON text of an answer; of binary outputs it says only how long they are."""
    outputs = []
    for output, is_binary in zip(response.outputs, binary, strict=True):
        item: dict[str, object] = {
            "name": output.name,
            "datatype": output.datatype,
            "shape": list(output.shape),
        }
        if output.region is not None:
            region = output.region
            item["parameters"] = {
                "shared_memory_region": region.name,
                "shared_memory_byte_size": region.byte_size,
            } | ({"shared_memory_offset": region.offset} if region.offset else {})
        elif is_binary:
            size = len(_raw(output)) if output.datatype == BYTES else output.data.nbytes  # type: ignore[union-attr]
            item["parameters"] = {"binary_data_size": size}
        else:
            item["data"] = orjson.Fragment(to_json(output))
        outputs.append(item)
    whole: dict[str, object] = {"model_name": response.model, "model_version": response.version}
    if response.id:
        whole["id"] = response.id
    if response.parameters:
        whole["parameters"] = dict(response.parameters)
    return orjson.dumps(whole | {"outputs": outputs})
