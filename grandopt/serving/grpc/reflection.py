"""Server reflection: what services, calls and messages there are, for tools that have no copy of them."""

from __future__ import annotations

from typing import Any

from grandopt.serving.grpc.coding import decode, encode
from grandopt.serving.grpc.descriptors import file_descriptor, symbols
from grandopt.serving.grpc.http2.methods import Method, Stream, Streamed
from grandopt.serving.grpc.schema import Schema
from grandopt.serving.grpc.status import Status
from grandopt.serving.protocol.errors import Code, ProtocolError

Json = dict[str, Any]


class Reflection:
    """The one call, in the version of `schema`, about the services of `served`."""

    def __init__(self, schema: Schema, served: tuple[Schema, ...]) -> None:
        self._schema, self._served = schema, served

    def methods(self) -> dict[str, Method]:
        """What is served, by its name."""
        return {"ServerReflectionInfo": Streamed(answers=lambda call: Questions(self, call))}

    def told(self, data: bytes) -> bytes:
        """The answer to a question. Raises ProtocolError."""
        asked = decode(self._schema, "ServerReflectionRequest", data)
        answer = {"valid_host": asked.get("host", ""), "original_request": asked, **self._answer(asked)}
        return encode(self._schema, "ServerReflectionResponse", answer)

    def _answer(self, asked: Json) -> Json:
        if "list_services" in asked:
            names = [{"name": f"{one.package}.{one.service}"} for one in self._served]
            return {"list_services_response": {"service": names}}
        if "file_by_filename" in asked:
            return self._file(asked["file_by_filename"], asked["file_by_filename"])
        if "file_containing_symbol" in asked:
            symbol = asked["file_containing_symbol"]
            file = next((one.file for one in self._served if symbol in symbols(one)), "")
            return self._file(file, symbol)
        if "file_containing_extension" in asked or "all_extension_numbers_of_type" in asked:
            return _refusal(Status.NOT_FOUND, "there are no extensions here")
        return _refusal(Status.INVALID_ARGUMENT, "the request asks for nothing")

    def _file(self, file: str, asked: str) -> Json:
        found = file_descriptor(file, self._served)
        if not found:
            return _refusal(Status.NOT_FOUND, f"{asked!r:.80} is not known here")
        return {"file_descriptor_response": {"file_descriptor_proto": [found]}}


class Questions:
    """Those of one call, each answered when it comes."""

    def __init__(self, reflection: Reflection, call: Stream) -> None:
        self._reflection, self._call = reflection, call

    @property
    def room(self) -> bool:
        """Whether another is taken now."""
        return not self._call.blocked

    def message(self, data: bytes) -> None:
        """Answer one."""
        self._call.write(self._reflection.told(data))

    def end(self) -> None:
        """There are no more."""
        self._call.finish()

    def stop(self) -> None:
        """The server stops."""
        self._call.finish(ProtocolError(Code.UNAVAILABLE, "the server stops", 1.0))

    def gone(self) -> None:
        """Nothing is under way."""


def _refusal(code: Status, text: str) -> Json:
    return {"error_response": {"error_code": int(code), "error_message": text}}
