"""Sequences of the protocol, and the other parameters of a request."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from grandopt.serving.plane.parameters import PLAIN, asked
from grandopt.serving.plane.plane import DataPlane
from grandopt.serving.protocol.errors import Code, ProtocolError
from grandopt.serving.protocol.messages import OutputRequest
from grandopt.signature import Contract, Signature, StateTensor, TensorSpec
from tests.fakes import FakeExecutor
from tests.runtime.engine.agents import line
from tests.serving.agents import answered, asking, plane_of, serve

SUM = Signature(
    (TensorSpec("x", (2,)), TensorSpec("h", (2,)), TensorSpec("start", (1,))),
    (TensorSpec("total", (2,)), TensorSpec("h_next", (2,))),
)
STATEFUL = Contract(state=(StateTensor("h", "h_next", initial=10.0),), episode_start="start")


def summing() -> FakeExecutor:
    """x [2] → 10 + the sum of the sequence until now."""
    return FakeExecutor(SUM, lambda inputs: (inputs[0] + inputs[1], inputs[0] + inputs[1]), STATEFUL)


def step(value: float, sequence: int | str, **flags: bool) -> Any:
    """One observation of a sequence."""
    parameters = {"sequence_id": sequence, **{f"sequence_{name}": flag for name, flag in flags.items()}}
    x = np.full((1, 2), value, np.float32)
    return asking("sum", x=x)._replace(parameters=parameters)


async def total(plane: DataPlane, request: Any) -> float:
    """What the agent says."""
    (output,) = (await answered(plane, request)).outputs
    assert (output.name, output.shape) == ("total", (1, 2))
    assert output.data is not None
    return float(output.data[0, 0])


def test_each_sequence_has_a_state_of_its_own_from_start_to_end(tmp_path: Path) -> None:
    async def main() -> None:
        async with plane_of(tmp_path, sum=summing()) as plane:
            assert await total(plane, step(1, 7, start=True)) == 11
            assert await total(plane, step(1, "7", start=True)) == 11  # a text is another name
            assert await total(plane, step(2, 7)) == 13
            assert await total(plane, step(3, "7")) == 14
            assert await total(plane, step(4, 7, end=True)) == 17
            with pytest.raises(ProtocolError, match="its first request needs sequence_start") as caught:
                await total(plane, step(4, 7))
            assert caught.value.code is Code.INVALID
            assert await total(plane, step(5, 7, start=True)) == 15
            assert await total(plane, step(5, 7, start=True)) == 15  # begins anew
            assert await total(plane, step(1, 8, start=True, end=True)) == 11
            with pytest.raises(ProtocolError, match="sequence 8 is not open"):
                await total(plane, step(1, 8))

    asyncio.run(main())


def test_requests_of_one_sequence_are_answered_in_their_order(tmp_path: Path) -> None:
    async def main() -> None:
        async with plane_of(tmp_path) as plane:
            serve(plane.repository, "sum", summing(), workers="threads", concurrency=2)
            asks = [step(1, 1, start=True)] + [step(1, 1) for _ in range(20)] + [step(1, 1, end=True)]
            asks += [step(100, 1, start=True), step(1, 1, end=True)]
            responses = await asyncio.gather(*(plane.infer(ask) for ask in asks))  # type: ignore[arg-type]
            values = [float(response.outputs[0].data[0, 0]) for response in responses]  # type: ignore[index]
            assert values == [float(11 + k) for k in range(22)] + [110.0, 111.0]

    asyncio.run(main())


def test_a_sequence_that_was_idle_for_too_long_has_to_begin_again(tmp_path: Path) -> None:
    async def main() -> None:
        async with plane_of(tmp_path) as plane:
            serve(plane.repository, "sum", summing(), session_idle_s=0.02, sessions=2)
            await total(plane, step(1, 1, start=True))
            await total(plane, step(1, 2, start=True))
            with pytest.raises(ProtocolError, match="2 sessions are open") as full:
                await total(plane, step(1, 3, start=True))
            assert full.value.code is Code.OVERLOADED
            assert full.value.retry_after_s is not None
            await asyncio.sleep(0.1)
            with pytest.raises(ProtocolError, match=r"is idle for 0\.02 s ends"):
                await total(plane, step(1, 1))
            assert await total(plane, step(1, 3, start=True)) == 11

    asyncio.run(main())


def test_without_a_sequence_the_state_goes_in_and_comes_out(tmp_path: Path) -> None:
    async def main() -> None:
        async with plane_of(tmp_path, sum=summing()) as plane:
            x, h = np.ones((3, 2), np.float32), np.full((3, 2), 4, np.float32)
            start = np.zeros((3, 1), np.float32)
            response = await answered(plane, asking("sum", x=x, h=h, start=start))
            assert [output.name for output in response.outputs] == ["total", "h_next"]
            assert response.outputs[1].data is not None
            assert response.outputs[1].data.tolist() == [[5, 5]] * 3
            with pytest.raises(ProtocolError, match=r"give a sequence_id .* or the state as inputs, too: h"):
                await answered(plane, asking("sum", x=x))

    asyncio.run(main())


def test_what_a_sequence_cannot_be_asked(tmp_path: Path) -> None:
    async def main() -> None:
        async with plane_of(tmp_path, sum=summing(), gate=line()) as plane:
            first = step(1, 1, start=True)
            two = asking("sum", x=np.ones((2, 2), np.float32))._replace(parameters=first.parameters)
            for request, words in (
                (two, "has 2 rows, expected 1 to 1"),
                (first._replace(outputs=(OutputRequest("h_next"),)), "there is no output 'h_next'"),
                (first._replace(inputs=()), "input 'x' is missing"),
                (
                    asking("gate", x=np.ones((1, 4), np.float32))._replace(parameters=first.parameters),
                    "gate keeps no state between requests",
                ),
            ):
                with pytest.raises(ProtocolError, match=words):
                    await answered(plane, request)
            metadata = plane.model_metadata("sum")
            assert [one["name"] for one in metadata["inputs"]] == ["x"]
            assert [one["name"] for one in metadata["outputs"]] == ["total"]
            batching = plane.model_config("sum")["sequence_batching"]
            assert [state["input_name"] for state in batching["state"]] == ["h"]

    asyncio.run(main())


def test_parameters_mean_a_class_and_a_deadline() -> None:
    assert asked({}, 5) == PLAIN
    assert [asked({"priority": level}, 0).priority for level in range(6)] == [1, 3, 2, 1, 0, 0]
    assert asked({"timeout": 1500}, 1_000).deadline == 1_501_000
    assert asked({"timeout": 0}, 1_000).deadline == 0
    assert asked({"timeout": 2**64 - 1}, 1_000).deadline == 0  # longer than anybody waits
    assert asked({"sequence_id": 0}, 0) == PLAIN
    assert asked({"sequence_id": ""}, 0) == PLAIN


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"speed": 1}, "parameter 'speed' is unknown; known are sequence_id"),
        ({"triton_final_response": True}, "is unknown"),
        ({"headers": "x"}, "is unknown"),
        ({"priority": "high"}, "'priority' is a whole number from 0 on, got 'high'"),
        ({"priority": True}, "got True"),
        ({"priority": -1}, "got -1"),
        ({"timeout": 1.5}, "got 1.5"),
        ({"timeout": 2**64}, "a whole number from 0 on"),
        ({"sequence_id": True}, "got True"),
        ({"sequence_id": 1, "sequence_start": 1}, "'sequence_start' is true or false, got 1"),
        ({"sequence_start": True}, "sequence_start and sequence_end need a sequence_id"),
        ({"sequence_id": 0, "sequence_end": True}, "need a sequence_id"),
        ({"sequence_id": "a" * 257}, "sequence_id has 257 characters, at most 256"),
    ],
)
def test_parameters_that_mean_nothing_are_refused(parameters: dict[str, Any], words: str) -> None:
    with pytest.raises(ProtocolError, match=words) as caught:
        asked(parameters, 0)
    assert caught.value.code is Code.INVALID


def test_a_deadline_that_cannot_be_met_is_told_and_counted(tmp_path: Path) -> None:
    async def main() -> None:
        async with plane_of(tmp_path) as plane:
            serve(plane.repository, "gate", line(), workers="threads", concurrency=1)
            late = asking("gate", x=np.ones((1, 4), np.float32))._replace(parameters={"timeout": 1})
            with pytest.raises(ProtocolError, match="the deadline") as caught:
                await answered(plane, late)
            assert caught.value.code is Code.LATE
            high = late._replace(parameters={"timeout": 10_000_000, "priority": 1})
            assert (await answered(plane, high)).outputs[0].shape == (1, 4)

    asyncio.run(main())
