"""Inference over real sockets: JSON and bytes, in and out."""

from __future__ import annotations

import gzip
import zlib

import numpy as np
import orjson
import pytest

from grandopt.serving.protocol.datatypes import DTYPES
from tests.serving.http.planes import Client, Doubling, binary, error, infer, json_body, run, serving


def test_numbers_in_json_come_back_as_the_same_numbers() -> None:
    async def test() -> None:
        async with serving() as (_, port):
            client = await Client.of(port)
            status, headers, body = await client.ask(infer(json_body([0.1, -3.0, 1e-40])))
            assert status == 200
            assert headers["content-type"] == "application/json"
            (output,) = orjson.loads(body)["outputs"]
            wanted = np.array([0.1, -3.0, 1e-40], np.float32) * 2
            assert np.array(output["data"], np.float32).tobytes() == wanted.tobytes()
            assert (output["name"], output["shape"], output["datatype"]) == ("y", [1, 3], "FP32")
            client.close()

    run(test)


@pytest.mark.parametrize("datatype", sorted(DTYPES))
def test_bytes_of_every_datatype_come_back_bit_for_bit(datatype: str) -> None:
    async def test() -> None:
        async with serving() as (_, port):
            client = await Client.of(port)
            array = np.array([[0, 1, 1, 0, 1]], DTYPES[datatype])
            for _ in range(2):  # the second is answered by what was kept of the first
                status, headers, body = await client.ask(binary(array, datatype))
                assert status == 200, body
                size = int(headers["inference-header-content-length"])
                (output,) = orjson.loads(body[:size])["outputs"]
                wanted = array if datatype == "BOOL" else array * array.dtype.type(2)
                assert body[size:] == wanted.tobytes()
                assert output["parameters"] == {"binary_data_size": wanted.nbytes}
            client.close()

    run(test)


def test_nan_stays_nan_as_bytes_and_is_refused_as_json() -> None:
    async def test() -> None:
        async with serving() as (_, port):
            client = await Client.of(port)
            array = np.array([[np.nan, np.inf, -0.0]], np.float32)
            _, headers, body = await client.ask(binary(array, "FP32"))
            raw = body[int(headers["inference-header-content-length"]) :]
            assert raw == (array * np.float32(2)).tobytes()
            text = binary(array, "FP32").replace(b',"parameters":{"binary_data_output":true}', b"")
            length = int(headers["inference-header-content-length"])
            assert length
            shorter = text.split(b"\r\n\r\n", 1)[1].index(array.tobytes())
            head, _, rest = text.partition(b"\r\n\r\n")
            lines = [
                b"Content-Length: %d" % len(rest) if b"t-Length: " in line and b"Inf" not in line else line
                for line in head.split(b"\r\n")
            ]
            lines = [
                b"Inference-Header-Content-Length: %d" % shorter if b"Inference" in line else line
                for line in lines
            ]
            status, _, body = await client.ask(b"\r\n".join(lines) + b"\r\n\r\n" + rest)
            assert status == 400
            assert "output 'y': a value is not finite" in error(body)
            assert "binary_data" in error(body)
            client.close()

    run(test)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"[1]", "the body must be a JSON object"),
        (b'{"inputs":[{"name":"x","shape":[1,1],"datatype":"FP32","data":[NaN]}]}', "the body is not JSON"),
        (b"{}", "the request has no inputs"),
        (json_body(["1", "2"]), "FP32 takes numbers in data"),
        (json_body([True, 1.0]), "FP32 takes numbers in data"),
        (json_body([None, 1.0]), "FP32 takes numbers in data"),
        (json_body([1.5], "INT8"), "INT8 takes whole numbers in data"),
        (json_body([300], "INT8"), "a number in data is too large for INT8"),
        (json_body([1e300]), "a number in data is too large for FP32"),
        (json_body([1], "BOOL"), "BOOL takes true and false in data"),
        (json_body([1.0], "FP16"), "FP16 is not in JSON; send bytes"),
        (json_body([1.0], "FP33"), "datatype 'FP33' is none of BOOL"),
        (json_body([1.0, 2.0], shape=[1, 3]), "[1, 3] takes 3 values, got 2"),
        (json_body([[1.0], [2.0, 3.0]], shape=[2, 2]), "data is neither flat nor nested as [2, 2]"),
        (json_body([1.0], shape=[1, -1]), "shape must be a list of sizes of 0 or more"),
        (json_body(shape=[1] * 40), "at most 32"),
        (json_body(further=1), "the request: 'further' is not known"),
        (json_body(parameters={"a": [1]}), "the parameter 'a' must be a number"),
        (json_body(parameters={"binary_data_output": 1}), "binary_data_output must be true or false"),
        (json_body(outputs=[{"name": "y", "parameters": {"color": 1}}]), "output 'y': 'color' is not known"),
        (json_body(id=7), "id must be a text"),
        (b'{"a":' + b"[" * 200 + b"]" * 200 + b"}", "nested more than 100 deep"),
        (orjson.dumps({"inputs": [{"name": "x", "shape": [1], "datatype": "FP32"}]}), "give one of data"),
    ],
)
def test_what_is_no_request_is_refused_in_one_line(body: bytes, words: str) -> None:
    async def test() -> None:
        async with serving() as (_, port):
            client = await Client.of(port)
            status, headers, answer = await client.ask(infer(body))
            assert status == 400
            assert headers["content-type"] == "application/json"
            assert words in error(answer)
            assert "\n" not in error(answer)
            status, _, _ = await client.ask(infer(json_body()))
            assert status == 200, "the connection goes on"
            client.close()

    run(test)


def test_lengths_of_bytes_must_add_up() -> None:
    async def test() -> None:
        async with serving() as (_, port):
            client = await Client.of(port)
            good = binary(np.ones((1, 2), np.float32), "FP32")
            wrong = good.replace(b'size":8', b'size":4')
            status, _, answer = await client.ask(wrong)
            assert status == 400
            assert "add up to 4 bytes, 8 follow" in error(answer)
            long = good.replace(b"Inference-Header-Content-Length: 1", b"Inference-Header-Content-Length: 91")
            status, _, answer = await client.ask(long)
            assert status == 400
            assert "Inference-Header-Content-Length is 91" in error(answer)
            client.close()

    run(test)


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_bodies_and_answers_are_compressed_both_ways(coding: str) -> None:
    async def test() -> None:
        async with serving() as (_, port):
            client = await Client.of(port)
            pack = gzip.compress if coding == "gzip" else zlib.compress
            array = np.arange(600, dtype=np.float32)[None]
            head, _, body = binary(array, "FP32", Content_Encoding=coding, Accept_Encoding=coding).partition(
                b"\r\n\r\n"
            )
            packed = pack(body)
            head = head.replace(b"nt-Length: %d" % len(body), b"nt-Length: %d" % len(packed))
            status, headers, answer = await client.ask(head + b"\r\n\r\n" + packed)
            assert status == 200
            assert headers["content-encoding"] == coding
            plain = gzip.decompress(answer) if coding == "gzip" else zlib.decompress(answer)
            raw = plain[int(headers["inference-header-content-length"]) :]
            assert raw == (array * 2).tobytes()
            client.close()

    run(test)


def test_the_request_reaches_the_plane_as_it_was_asked() -> None:
    async def test() -> None:
        plane = Doubling()
        async with serving(plane) as (_, port):
            client = await Client.of(port)
            asked = json_body(
                id="a\u00e9", parameters={"priority": 2, "sequence_id": "s"}, outputs=[{"name": "y"}]
            )
            status, _, body = await client.ask(infer(asked, "odd%20name/versions/3"))
            assert status == 200
            assert orjson.loads(body)["id"] == "a\u00e9"
            (request,) = plane.requests
            assert (request.model, request.version, request.id) == ("odd name", "3", "a\u00e9")
            assert request.parameters == {"priority": 2, "sequence_id": "s"}
            assert [one.name for one in request.outputs] == ["y"]
            client.close()

    run(test)
