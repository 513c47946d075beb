"""The protocol's calls over HTTP, on a real data plane."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import orjson

from grandopt.serving.http.protocol_routes.protocol import OPENAPI, protocol_routes
from grandopt.serving.shared_memory.regions import SharedRegions
from grandopt.signature import Signature, TensorSpec
from tests.fakes import FakeExecutor
from tests.serving.agents import plane_of
from tests.serving.http.planes import Client, error, get, infer, json_body, post, run, serving


def doubling() -> FakeExecutor:
    signature = Signature((TensorSpec("x", (2,)),), (TensorSpec("y", (2,)),))
    return FakeExecutor(signature, lambda inputs: (inputs[0] * np.float32(2),))


CALLS = [
    (get("/v2"), 200, '"name":"grandopt"'),
    (get("/v2/"), 200, '"extensions":['),
    (get("/v2/health/live"), 200, '{"live":true}'),
    (get("/v2/health/ready"), 200, '"ready":true'),
    (get("/v2/models"), 200, '{"models":["gate-1"]}'),
    (get("/v2/models/gate%2D1"), 200, '"versions":["1"]'),
    (get("/v2/models/gate%2D1/versions/1"), 200, '"datatype":"FP32"'),
    (get("/v2/models/gate%2D1/versions/7"), 404, "has no version '7'"),
    (get("/v2/models/gaet"), 404, "no model 'gaet' is served"),
    (get("/v2/models/gate%2D1/ready"), 200, '"ready":true'),
    (get("/v2/models/gate%2D1/versions/1/ready"), 200, '"ready":true'),
    (get("/v2/models/gaet/ready"), 404, "error"),
    (get("/v2/models/gate%2D1/config"), 200, '"max_batch_size":'),
    (get("/v2/models/gate%2D1/versions/1/config"), 200, "TYPE_FP32"),
    (get("/v2/models/stats"), 200, '{"model_stats":[{'),
    (get("/v2/models/gate%2D1/stats"), 200, '"inference_count":'),
    (get("/v2/models/gate%2D1/versions/1/stats"), 200, '"inference_count":'),
    (post("/v2/repository/index"), 200, '"state":"READY"'),
    (post("/v2/repository/index", b'{"ready":true}'), 200, '"gate-1"'),
    (post("/v2/repository/index", b'{"ready":1}'), 400, "ready must be true or false"),
    (post("/v2/repository/models/none/load", b"{}"), 404, "holds no agent 'none'"),
    (post("/v2/repository/models/none/unload"), 404, "holds no agent 'none'"),
    (post("/v2/repository/models/a/load", b'{"parameters":[]}'), 400, "parameters must be an object"),
    (post("/v2/repository/models/a/load", b'{"parameters":{"config":"{}"}}'), 501, "'config'"),
    (get("/v2/logging"), 200, '"log_verbose_level":'),
    (post("/v2/logging", b'{"log_verbose_level":1}'), 200, '"log_verbose_level":1'),
    (post("/v2/logging", b'{"log_verbose_level":0}'), 200, '"log_verbose_level":0'),
    (get("/v2/trace/setting"), 200, "trace_level"),
    (get("/v2/models/gate%2D1/trace/setting"), 200, "trace_level"),
    (get("/v2/systemsharedmemory/status"), 200, "[]"),
    (get("/v2/systemsharedmemory/region/r/status"), 404, "'r'"),
    (
        post("/v2/systemsharedmemory/region/r/register", b'{"key":"/no-such-region","byte_size":8}'),
        400,
        "error",
    ),
    (post("/v2/systemsharedmemory/region/r/register", b'{"byte_size":8}'), 400, "key must be the name"),
    (post("/v2/systemsharedmemory/region/r/register", b'{"key":"k","byte_size":-8}'), 400, "byte_size must"),
    (post("/v2/systemsharedmemory/unregister"), 200, "{}"),
    (post("/v2/systemsharedmemory/region/r/unregister"), 200, "{}"),
    (get("/v2/cudasharedmemory/status"), 501, "GPUs"),
    (post("/v2/cudasharedmemory/region/r/register", b"{}"), 501, "GPUs"),
    (post("/v2/cudasharedmemory/unregister"), 501, "GPUs"),
    (post("/v2/models"), 405, "POST is not for '/v2/models'"),
    (get("/openapi.json"), 200, '"openapi": "3.1.0"'),
]


def test_every_call_is_answered_as_the_protocol_says(tmp_path: Path) -> None:
    async def test() -> None:
        async with (
            plane_of(tmp_path, regions=SharedRegions(), **{"gate-1": doubling()}) as plane,
            serving(plane, protocol_routes(plane)) as (_, port),
        ):
            client = await Client.of(port)
            for asked, status, words in CALLS:
                got, headers, body = await client.ask(asked)
                assert (got, headers["content-type"]) == (status, "application/json"), (asked, body)
                assert words in body.decode(), (asked, body)
                if status != 200:
                    assert list(orjson.loads(body)) == ["error"]

    run(test)


def test_inference_through_a_real_plane(tmp_path: Path) -> None:
    async def test() -> None:
        async with (
            plane_of(tmp_path, gate=doubling()) as plane,
            serving(plane, protocol_routes(plane)) as (_, port),
        ):
            client = await Client.of(port)
            status, _, body = await client.ask(infer(json_body([1.0, 2.0]), "gate/versions/1"))
            assert status == 200
            assert orjson.loads(body)["outputs"][0]["data"] == [2.0, 4.0]
            status, _, body = await client.ask(infer(json_body([1.0, 2.0, 3.0])))
            assert status == 400
            assert "x" in error(body)
            _, _, body = await client.ask(get("/v2/models/gate/stats"))
            (stats,) = orjson.loads(body)["model_stats"]
            assert stats["inference_stats"]["success"]["count"] == 1
            status, _, body = await client.ask(get("/v2/systemsharedmemory/status"))
            assert status == 501
            assert "--allow-client-shm" in error(body)

    run(test)


def test_the_document_names_every_route_and_no_other(tmp_path: Path) -> None:
    async def test() -> None:
        async with plane_of(tmp_path, gate=doubling()) as plane:
            routes = {
                (route.method.lower(), route.path, route.changes)
                for route in protocol_routes(plane)
                if route.path != "/openapi.json"
            }
        document = orjson.loads(OPENAPI.read_bytes())
        written = {
            (method, path, {} not in call["security"][:1] and bool(call["security"][0]))
            for path, methods in document["paths"].items()
            for method, call in methods.items()
            if not path.endswith("/infer")
        }
        assert {one[:2] for one in written} == {one[:2] for one in routes}
        assert written == routes

    run(test)
