"""Server reflection: what services, calls and messages there are, for tools that have no copy of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc

from grandopt.serving.grpc.arrivals import Arrivals
from grandopt.serving.grpc.coding import decode, encode
from grandopt.serving.grpc.descriptors import file_descriptor, symbols
from grandopt.serving.grpc.schema import Schema
from grandopt.serving.grpc.status import Context, abort
from grandopt.serving.protocol.errors import ProtocolError

Json = dict[str, Any]


class Reflection:
    """The one call, in the version of `schema`, about the services of `served`."""

    def __init__(self, schema: Schema, served: tuple[Schema, ...], arrivals: Arrivals) -> None:
        self._schema, self._arrivals = schema, arrivals
        self._served = served

    def handler(self) -> grpc.GenericRpcHandler:
        """What gRPC serves."""
        return grpc.method_handlers_generic_handler(
            f"{self._schema.package}.{self._schema.service}",
            {"ServerReflectionInfo": self._arrivals.streamed(self.info)},
        )

    async def info(self, requests: AsyncIterator[bytes], context: Context) -> None:
        """An answer to each question."""
        async for data in requests:
            try:
                asked = decode(self._schema, "ServerReflectionRequest", data)
            except ProtocolError as error:
                await abort(context, error)
            answer = {"valid_host": asked.get("host", ""), "original_request": asked, **self._answer(asked)}
            await context.write(encode(self._schema, "ServerReflectionResponse", answer))

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
            return _refusal(grpc.StatusCode.NOT_FOUND, "there are no extensions here")
        return _refusal(grpc.StatusCode.INVALID_ARGUMENT, "the request asks for nothing")

    def _file(self, file: str, asked: str) -> Json:
        found = file_descriptor(file, self._served)
        if not found:
            return _refusal(grpc.StatusCode.NOT_FOUND, f"{asked!r:.80} is not known here")
        return {"file_descriptor_response": {"file_descriptor_proto": [found]}}


def _refusal(code: grpc.StatusCode, text: str) -> Json:
    return {"error_response": {"error_code": code.value[0], "error_message": text}}
