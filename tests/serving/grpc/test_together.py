"""Messages of a stream that are answered together: with the same bytes as each alone."""

from __future__ import annotations

import asyncio
import functools
import random
import struct
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from grandopt.serving.grpc.coding import encode
from grandopt.serving.grpc.http2.service import Service
from grandopt.serving.grpc.inference_schema import INFERENCE
from grandopt.serving.grpc.options import GrpcOptions
from grandopt.serving.grpc.server import GrpcServer
from grandopt.serving.plane.plane import DataPlane
from grandopt.signature import Array, Signature, TensorSpec
from tests.fakes import FakeExecutor
from tests.runtime.engine.agents import line, pair
from tests.serving.agents import plane_of
from tests.serving.clients.agents import mirror
from tests.serving.grpc.asking import SERVICE, infer_request
from tests.serving.grpc.http2.wire import (
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    SETTINGS,
    WINDOW,
    Client,
    answers,
    message,
)
from tests.serving.grpc.test_fuzz import PREFACE, frame, literal, mutated

PROFILES = ("basic", "aggressive")
"""One by one, and in batches."""
HEADS = b"\x83\x86" + b"".join(
    literal(*one)
    for one in (
        (":path", f"{SERVICE}/ModelStreamInfer"),
        (":authority", "x"),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
    )
)
LARGEST = (1 << 31) - 1
"""Of windows."""
MOST_BYTES = 200_000
"""Of the messages of one stream: less than it may send ahead."""


def in_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """The test, run in an event loop."""

    @functools.wraps(test)
    def run(**fixtures: Any) -> None:
        asyncio.run(test(**fixtures))

    return run


def picky() -> FakeExecutor:
    """x [1] → x; it takes nothing below zero."""

    def taken(inputs: Sequence[Array]) -> tuple[Array, ...]:
        if (inputs[0] < 0).any():
            raise ValueError("it is below zero")
        return (inputs[0].copy(),)

    return FakeExecutor(Signature((TensorSpec("x", (1,)),), (TensorSpec("y", (1,)),)), taken)


@asynccontextmanager
async def served(folder: Path, profile: str) -> AsyncIterator[tuple[DataPlane, Service]]:
    agents = {"line": line(), "pair": pair(), "picky": picky()}
    agents |= {f"mirror_{dtype}": mirror(dtype) for dtype in ("float32", "bool", "int8")}
    async with plane_of(folder, profile, **agents) as plane:
        yield plane, GrpcServer(plane, GrpcOptions(port=0))._service


def tensors_of(model: str, chance: random.Random) -> dict[str, Array]:
    draws = np.random.default_rng(chance.randrange(1 << 30))
    match model:
        case "pair":
            return {"x": draws.normal(size=(1, 2)).astype("f"), "n": draws.integers(-9, 9, 1)}
        case "picky":
            return {"x": np.full((1, 1), -1 if chance.random() < 0.1 else chance.random(), "f")}
        case "mirror_float32" | "mirror_int8":
            return {"x": draws.normal(size=(1, 2, 3)).astype(model.removeprefix("mirror_"))}
        case "mirror_bool":
            return {"x": draws.integers(0, 2, (1, 2, 3)).astype(bool)}
    rows = 2 if model == "line" and chance.random() < 0.02 else 1
    return {"x": draws.normal(size=(rows, 4)).astype("f")}


def wrong_or_special(chance: random.Random) -> dict[str, Any]:
    """What a request says beside its tensors: mostly nothing."""
    return chance.choice(
        [
            *[{}] * 12,
            {"model_version": "1"},
            {"model_version": "7"},
            {"parameters": {"triton_enable_empty_final_response": {"bool_param": True}}},
            {"parameters": {"triton_enable_empty_final_response": {"bool_param": False}}},
            {"parameters": {"triton_enable_empty_final_response": {"string_param": "yes"}}},
            {"parameters": {"priority": {"int64_param": 1}}},
            {"parameters": {"timeout": {"int64_param": 60_000_000}}},
            {"parameters": {"what": {"int64_param": 1}}},
            {"outputs": [{"name": "y"}]},
            {"outputs": [{"name": "same"}, {"name": "backwards"}]},
            {"outputs": [{"name": "y"}, {"name": "y"}]},
            {"outputs": [{"name": "y", "parameters": {"classification": {"int64_param": 1}}}]},
        ]
    )


def drawn_messages(chance: random.Random) -> list[bytes]:
    """Runs of messages that are alike, some of them not quite."""
    found: list[bytes] = []
    while sum(map(len, found)) < MOST_BYTES // 2 and len(found) < 600:
        model = chance.choice(["line", "line", "pair", "picky", "mirror_float32", "mirror_bool", "nobody"])
        rest, raw = wrong_or_special(chance), chance.random() < 0.95
        ids = chance.choice([None, "{:04}", "{}", "é{:03}"])
        for place in range(chance.choice([1, 2, 3, 5, 40, 90, 150])):
            content: dict[str, Any] = {**rest, **tensors_of(model, chance)}
            if ids is not None:
                content["id"] = ids.format(place)
            data = encode(INFERENCE, "ModelInferRequest", infer_request(model, raw=raw, **content))
            found.append(mutated(data, chance) if chance.random() < 0.01 else data)
    return found


def in_frames(messages: list[bytes], chance: random.Random | None) -> bytes:
    """A frame for each, or with `chance` frames that end anywhere."""
    if chance is None:
        return b"".join(frame(DATA, 0, 1, message(one)) for one in messages)
    data, found, at = b"".join(map(message, messages)), [], 0
    while at < len(data):
        size = chance.choice([1, 7, 100, 2_000, 16_384])
        found.append(frame(DATA, 0, 1, data[at : at + size]))
        at += size
    return b"".join(found)


class Asking:
    """One stream of a client of its own, whose answers are collected."""

    def __init__(self, service: Service, window: int = LARGEST) -> None:
        settings = frame(SETTINGS, 0, 0, struct.pack(">HI", 4, window))
        wide = frame(WINDOW, 0, 0, struct.pack(">I", LARGEST - 65_535))
        self.client = Client(service, PREFACE + settings + wide + frame(HEADERS, END_HEADERS, 1, HEADS))
        self.found = b""

    def says(self, data: bytes) -> None:
        self.client.says(data)

    async def all(self, count: int, opens: int = 0) -> list[bytes]:
        """The answers when there are so many; the client lets the server send `opens` bytes at a time."""
        for _ in range(20_000):
            self.found += answers(self.client.hears(), 1)
            split = self.split()
            if len(split) >= count:
                assert self.client.goaway() is None
                return split
            if opens:
                self.says(frame(WINDOW, 0, 1, struct.pack(">I", opens)))
            await asyncio.sleep(0)
        raise AssertionError(f"{len(split)} of {count} answers came")

    def split(self) -> list[bytes]:
        found, at = [], 0
        while at + 5 <= len(self.found):
            end = at + 5 + int.from_bytes(self.found[at + 1 : at + 5], "big")
            found.append(self.found[at + 5 : end])
            at = end
        return found if at == len(self.found) else found[:-1]

    def ends(self) -> None:
        self.says(frame(DATA, END_STREAM, 1, b""))


async def alone(service: Service, messages: list[bytes]) -> list[bytes]:
    """The answers of a stream whose messages come one at a time, each after the answer before."""
    asking = Asking(service)
    for place, one in enumerate(messages):
        asking.says(frame(DATA, 0, 1, message(one)))
        await asking.all(place + 1)
    found = await asking.all(len(messages))
    asking.ends()
    return found


def figures(plane: DataPlane) -> dict[str, tuple[int, ...]]:
    """What is counted of each agent that does not depend on the time."""
    found = {}
    for one in plane.statistics()["model_stats"]:
        stats = one["inference_stats"]
        counts = [stats[kind]["count"] for kind in ("success", "fail", "compute_infer", "compute_output")]
        found[one["name"]] = (one["inference_count"], *counts)
    return found


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("cut", [False, True])
@pytest.mark.parametrize("seed", range(6))
@in_loop
async def test_together_messages_get_the_answers_that_each_gets_alone(
    profile: str, cut: bool, seed: int, tmp_path: Path
) -> None:
    """Whatever they say, however they are cut into frames, and however much of the answers the client takes;
    and they count as much."""
    chance = random.Random(seed)
    messages = drawn_messages(chance)
    async with served(tmp_path, profile) as (plane, service):
        wanted = await alone(service, messages)
        first = figures(plane)
        assert len(wanted) == len(messages)
        data, at = in_frames(messages, chance if cut else None), 0
        small = chance.choice([0, 0, 90, 1_000])
        asking = Asking(service, small or LARGEST)
        while at < len(data):
            size = chance.choice([1_000, 30_000, 300_000])
            asking.says(data[at : at + size])
            at += size
        found = await asking.all(len(messages), small)
        asking.ends()
        assert found == wanted
        assert figures(plane) == {
            name: tuple(2 * count for count in counts) for name, counts in first.items()
        }
        assert service.receiving == 0


@in_loop
async def test_a_batch_is_computed_once(tmp_path: Path) -> None:
    """What the ways above have in common is not that all of them are the slow one."""
    agent = line()
    requests = [
        infer_request("line", x=np.full((1, 4), number, "f"), id=f"{number:03}") for number in range(120)
    ]
    messages = [encode(INFERENCE, "ModelInferRequest", one) for one in requests]
    async with plane_of(tmp_path, "aggressive", line=agent) as plane:
        service = GrpcServer(plane, GrpcOptions(port=0))._service
        asking = Asking(service)
        before = agent.calls
        asking.says(in_frames(messages, None))
        assert len(asking.split() or await asking.all(len(messages))) == len(messages)
        assert agent.calls - before <= 8
        (batches,) = [one for one in plane.statistics()["model_stats"] if one["name"] == "line"]
        assert batches["execution_count"] == agent.calls - before
        assert sum(one["compute_infer"]["count"] * one["batch_size"] for one in batches["batch_stats"]) == 120
        asking.ends()


@pytest.mark.parametrize("profile", PROFILES)
@in_loop
async def test_messages_behind_one_that_waits_are_not_answered_before_it(
    profile: str, tmp_path: Path
) -> None:
    async with served(tmp_path, profile) as (_, service):
        waits = infer_request("line", x=np.ones((2, 4), "f"), id="first")  # a batch of its own: a future
        rest = [infer_request("line", x=np.full((1, 4), one, "f"), id=f"{one:05}") for one in range(50)]
        messages = [encode(INFERENCE, "ModelInferRequest", one) for one in (*rest[:9], waits, *rest[9:])]
        asking = Asking(service)
        asking.says(in_frames(messages, None))
        found = await asking.all(len(messages))
        asking.ends()
        assert [b"first" in one for one in found] == [place == 9 for place in range(51)]
        assert [one for one in found if b"first" not in one] == await alone(
            service, [one for one in messages if b"first" not in one]
        )


@in_loop
async def test_a_client_that_does_not_read_keeps_its_messages(tmp_path: Path) -> None:
    """Of many answers that find no room, those are kept that were computed; the rest is not asked for."""
    agent = mirror("float32")
    request = infer_request("mirror", x=np.ones((1, 2, 3), "f"))
    data = message(encode(INFERENCE, "ModelInferRequest", request))
    async with plane_of(tmp_path, "aggressive", mirror=agent) as plane:
        service = GrpcServer(plane, GrpcOptions(port=0))._service
        asking = Asking(service, window=1_000)
        asking.says(frame(DATA, 0, 1, data) * 2_000)
        await asyncio.sleep(0)
        assert plane.statistics()["model_stats"][0]["inference_count"] <= 300
        assert len(await asking.all(2_000, opens=10_000)) == 2_000
        asking.ends()
        assert service.calls == 0


@in_loop
async def test_a_turn_ends_among_messages_that_came_together(tmp_path: Path) -> None:
    """An agent without batching is asked for each of them; another connection gets its turn in between."""
    signature = Signature((TensorSpec("x", (1,)),), (TensorSpec("y", (1,)),))
    now = 0.0

    def slow(inputs: Sequence[Array]) -> tuple[Array, ...]:
        nonlocal now
        now += 0.001
        return (inputs[0].copy(),)

    data = message(encode(INFERENCE, "ModelInferRequest", infer_request("slow", x=np.ones((1, 1), "f"))))
    async with plane_of(tmp_path, "basic", slow=FakeExecutor(signature, slow)) as plane:
        service = GrpcServer(plane, GrpcOptions(port=0))._service
        service.clock = lambda: now
        asking, began = Asking(service), now
        asking.says(frame(DATA, 0, 1, data) * 100)
        assert now - began < 0.008, "the turn is 5 ms long"
        assert len(await asking.all(100)) == 100
        asking.ends()


class Quick(FakeExecutor):
    """x [1] → x, and in a batch of several something else, as real ones do in the last bits.

    One alone takes as long as its share of a batch.
    """

    def __init__(self) -> None:
        signature = Signature((TensorSpec("x", (1,)),), (TensorSpec("y", (1,)),))
        super().__init__(signature, lambda inputs: (inputs[0] + np.float32(len(inputs[0]) > 1),))

    def __call__(self, *observation: Any) -> Any:
        return observation[0].copy()


@in_loop
async def test_what_is_answered_alone_is_computed_alone_whoever_comes_with_it(tmp_path: Path) -> None:
    requests = [
        infer_request("quick", x=np.full((1, 1), number, "f"), id=f"{number:03}") for number in range(90)
    ]
    messages = [encode(INFERENCE, "ModelInferRequest", one) for one in requests]
    for profile in PROFILES:
        async with plane_of(tmp_path, profile, quick=Quick()) as plane:
            service = GrpcServer(plane, GrpcOptions(port=0))._service
            wanted = await alone(service, messages)
            asking = Asking(service)
            asking.says(in_frames(messages, None))
            assert await asking.all(90) == wanted
            asking.ends()
            (figures,) = plane.statistics()["model_stats"]
            assert figures["execution_count"] == figures["inference_count"] == 180


@pytest.mark.parametrize("profile", PROFILES)
@in_loop
async def test_what_is_refused_is_asked_once(profile: str, tmp_path: Path) -> None:
    requests = [infer_request("picky", x=np.full((1, 1), -1, "f"), id=f"{number:03}") for number in range(60)]
    messages = [encode(INFERENCE, "ModelInferRequest", one) for one in requests]
    async with plane_of(tmp_path, profile, picky=picky()) as plane:
        service = GrpcServer(plane, GrpcOptions(port=0))._service
        agent = plane._open["picky"].agent
        wanted = await alone(service, messages)

        def failed() -> int:
            return agent.direct.stats().failed + (agent.batcher.stats().failed if agent.batcher else 0)

        before = failed()
        assert before == len(messages)
        asking = Asking(service)
        asking.says(in_frames(messages, None))
        assert await asking.all(len(messages)) == wanted
        assert failed() == 2 * before
        asking.ends()
