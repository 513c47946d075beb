"""Requests of the protocol and the numbers that come back."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest

from grandopt.serving.protocol.errors import Code, ProtocolError
from grandopt.serving.protocol.messages import InferRequest, InferResponse, InputTensor, OutputRequest
from grandopt.signature import Signature, TensorSpec
from tests.fakes import FakeExecutor
from tests.runtime.engine.agents import line, pair
from tests.serving.agents import answered, asking, plane_of, serve, tensor

ROW = np.array([[1.0, 2.0, np.nan, -np.inf]], np.float32)


def test_one_row_of_a_small_agent_is_answered_at_once(tmp_path: Path) -> None:
    async def main() -> None:
        async with plane_of(tmp_path, "basic", gate=line()) as plane:
            response = plane.infer(InferRequest("gate", "", "a7", {}, (tensor("x", ROW),)))
            assert isinstance(response, InferResponse)
            (output,) = response.outputs
            assert (response.model, response.version, response.id) == ("gate", "1", "a7")
            assert (output.name, output.datatype, output.shape) == ("y", "FP32", (1, 4))
            assert output.data is not None
            np.testing.assert_array_equal(output.data, 2 * ROW)  # NaN stays NaN

    asyncio.run(main())


@pytest.mark.parametrize("rows", [1, 2, 63, 700])
@pytest.mark.parametrize("profile", ["basic", "aggressive"])
def test_every_number_of_rows_gives_that_many_answers(tmp_path: Path, rows: int, profile: str) -> None:
    x = np.arange(rows * 2, dtype=np.float32).reshape(rows, 2)
    n = np.arange(rows, dtype=np.int64)

    async def main() -> None:
        async with plane_of(tmp_path, profile, two=pair()) as plane:
            response = await answered(plane, asking("two", n=n, x=x))
            total, same = response.outputs
            assert (total.name, total.shape) == ("sum", (rows, 2))
            assert (same.name, same.datatype, same.shape) == ("n", "INT64", (rows,))
            np.testing.assert_array_equal(total.data, x + n[:, None])  # type: ignore[arg-type]
            np.testing.assert_array_equal(same.data, n)  # type: ignore[arg-type]

    asyncio.run(main())


def test_outputs_come_as_they_are_asked_for(tmp_path: Path) -> None:
    async def main() -> None:
        async with plane_of(tmp_path, two=pair(), gate=line()) as plane:
            x, n = np.array([[3.0, 4.0]], np.float32), np.array([2])
            wanted = (OutputRequest("n"), OutputRequest("sum"))
            response = await answered(plane, asking("two", *wanted, x=x, n=n))
            assert [output.name for output in response.outputs] == ["n", "sum"]
            response = await answered(plane, asking("gate", OutputRequest("y", classification=3), x=ROW))
            (best,) = response.outputs
            assert (best.datatype, best.shape) == ("BYTES", (1, 3))
            assert best.data is not None
            assert best.data.tolist() == [[b"4.000000:1", b"2.000000:0", b"-inf:3"]]

    asyncio.run(main())


def test_bytes_that_are_not_aligned_are_taken(tmp_path: Path) -> None:
    async def main() -> None:
        async with plane_of(tmp_path, gate=line()) as plane:
            for rows in (1, 3):
                array = np.arange(rows * 4, dtype="<f4").reshape(rows, 4)
                raw = b"." + array.tobytes()
                view = np.frombuffer(memoryview(raw)[1:], "<f4").reshape(rows, 4)
                assert not view.flags.aligned
                response = await answered(plane, asking("gate", x=view))
                np.testing.assert_array_equal(response.outputs[0].data, 2 * array)  # type: ignore[arg-type]

    asyncio.run(main())


def test_any_byte_of_a_boolean_is_0_or_1(tmp_path: Path) -> None:
    flags = Signature((TensorSpec("on", (3,), "bool"),), (TensorSpec("sum", (), "int64"),))
    count = FakeExecutor(flags, lambda inputs: (inputs[0].view(np.uint8).sum(axis=1).astype(np.int64),))

    async def main() -> None:
        async with plane_of(tmp_path, flags=count) as plane:
            odd = np.frombuffer(bytes([0, 7, 255]), np.bool_).reshape(1, 3)
            response = await answered(plane, asking("flags", on=odd))
            assert response.outputs[0].data is not None
            assert response.outputs[0].data.tolist() == [2]

    asyncio.run(main())


X, N = np.zeros((2, 2), np.float32), np.zeros(2, np.int64)
WRONG: list[tuple[InferRequest, Code, str]] = [
    (asking("gat", x=ROW), Code.NOT_FOUND, "no model 'gat' is served (did you mean 'gate'?)"),
    (asking("gate", x=ROW)._replace(version="2"), Code.NOT_FOUND, "no version '2'; served is '1'"),
    (asking("gate"), Code.INVALID, "input 'x' is missing"),
    (asking("gate", z=ROW), Code.INVALID, "there is no input 'z'; the inputs are x"),
    (asking("two", x=X), Code.INVALID, "input 'n' is missing; the inputs are x, n"),
    (asking("two", x=X, n=N[:1]), Code.INVALID, "input 'n' has 1 rows, input 'x' has 2"),
    (asking("gate", x=ROW.astype(np.float64)), Code.INVALID, "has datatype 'FP64', expected FP32"),
    (asking("gate", x=ROW[0]), Code.INVALID, "has shape [4], expected [-1, 4]"),
    (asking("gate", x=ROW[:, :3]), Code.INVALID, "has shape [1, 3], expected [-1, 4]"),
    (asking("gate", x=ROW[:0]), Code.INVALID, "has 0 rows, expected 1 to 4096"),
    (asking("gate", x=np.zeros((4097, 4), np.float32)), Code.INVALID, "has 4097 rows"),
    (asking("gate", OutputRequest("z"), x=ROW), Code.INVALID, "there is no output 'z'; the outputs are y"),
    (
        asking("gate", OutputRequest("y"), OutputRequest("y"), x=ROW),
        Code.INVALID,
        "output 'y' is asked for twice",
    ),
    (asking("two", OutputRequest("n", 1), x=X, n=N), Code.INVALID, "no classes to choose from"),
    (asking("gate", OutputRequest("y", -1), x=ROW), Code.INVALID, "classification must be"),
    (
        asking("gate")._replace(inputs=(tensor("x", ROW), tensor("x", ROW))),
        Code.INVALID,
        "input 'x' is given 2 times",
    ),
    (
        asking("gate")._replace(inputs=(InputTensor("x", "FP32", (1, 4), None),)),
        Code.INVALID,
        "input 'x' has no data",
    ),
]


def test_what_cannot_be_asked_is_refused_in_one_line(tmp_path: Path) -> None:
    async def main() -> None:
        async with plane_of(tmp_path, gate=line(), two=pair()) as plane:
            for request, code, words in WRONG:
                with pytest.raises(ProtocolError) as caught:
                    await answered(plane, request)
                assert words in str(caught.value)
                assert caught.value.code is code
                assert "\n" not in str(caught.value)

    asyncio.run(main())


def test_an_agent_that_raises_is_an_internal_error_and_the_next_one_is_answered(tmp_path: Path) -> None:
    def fragile(inputs: list[np.ndarray]) -> tuple[np.ndarray, ...]:
        if (inputs[0] < 0).any():
            raise ValueError("negative")
        return (inputs[0],)

    async def main() -> None:
        executor = FakeExecutor(line().signature, fragile)  # type: ignore[arg-type]
        for profile in ("basic", "aggressive"):
            async with plane_of(tmp_path, profile, gate=executor) as plane:
                for rows in (1, 2):
                    bad = np.full((rows, 4), -1, np.float32)
                    with pytest.raises(ProtocolError, match="negative") as caught:
                        await answered(plane, asking("gate", x=bad))
                    assert caught.value.code is Code.INTERNAL
                    assert (await answered(plane, asking("gate", x=-bad))).outputs[0].shape == (rows, 4)
                stats = plane.statistics("gate")["model_stats"][0]["inference_stats"]
                assert (stats["success"]["count"], stats["fail"]["count"]) == (2, 2)

    asyncio.run(main())


def test_rows_that_wait_for_a_worker_are_answered_each_with_its_own(tmp_path: Path) -> None:
    async def main() -> None:
        async with plane_of(tmp_path) as plane:
            serve(plane.repository, "gate", line(), workers="threads", concurrency=2)
            rows = [np.full((1 + k % 3, 4), k, np.float32) for k in range(200)]
            responses = await asyncio.gather(*(answered(plane, asking("gate", x=row)) for row in rows))
            for row, response in zip(rows, responses, strict=True):
                np.testing.assert_array_equal(response.outputs[0].data, 2 * row)  # type: ignore[arg-type]
            (stats,) = plane.statistics()["model_stats"]
            assert stats["inference_count"] == sum(map(len, rows))
            assert stats["inference_stats"]["success"]["count"] == 200
            assert stats["execution_count"] < 200

    asyncio.run(main())
