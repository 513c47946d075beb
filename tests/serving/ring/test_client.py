"""Agents asked through rings, from Python and C: the same numbers, in order, and clear refusals."""

from __future__ import annotations

import subprocess
import threading
from pathlib import Path

import numpy as np
import pytest

from grandopt.errors import SignatureError
from grandopt.runtime.executors.base import Executor
from grandopt.runtime.loader import load
from grandopt.serving.protocol.errors import Code, ProtocolError
from grandopt.serving.ring.client import RingClient
from grandopt.signature import Array, Signature, TensorSpec
from tests.fakes import FakeExecutor
from tests.serving.ring.serving import Serving

DOUBLE = Signature((TensorSpec("x", (3,)),), (TensorSpec("y", (3,)),))


def observations(executor: Executor, count: int, seed: int = 0) -> list[tuple[Array, ...]]:
    random = np.random.default_rng(seed)
    rows = []
    for _ in range(count):
        row = []
        for spec in executor.signature.inputs:
            drawn = random.normal(0, 30, spec.shape)
            row.append(
                np.abs(drawn).astype(spec.dtype) if spec.dtype == "uint8" else drawn.astype(spec.dtype)
            )
        rows.append(tuple(row))
    return rows


def bits(outputs: tuple[Array, ...] | Array) -> bytes:
    parts = outputs if isinstance(outputs, tuple) else (outputs,)
    return b"".join(np.ascontiguousarray(part).tobytes() for part in parts)


@pytest.mark.parametrize("name", ["policy", "pair"])
class TestTheSameNumbers:
    def test_from_python(self, serving: Serving, artifacts: dict[str, Path], name: str) -> None:
        executor = load(artifacts[name])
        with RingClient(serving.path, name, slots=4) as client:
            assert client.signature.inputs[0].name == executor.signature.inputs[0].name
            outputs = [np.empty(spec.shape, spec.dtype) for spec in executor.signature.outputs]
            for row in observations(executor, 50):  # round the slots many times
                answer = client(*row)
                assert bits(answer) == bits(executor(*row))
                client.run_into(row, outputs)
                assert bits(tuple(outputs)) == bits(answer)

    def test_from_c(self, serving: Serving, artifacts: dict[str, Path], name: str, c_client: Path) -> None:
        executor = load(artifacts[name])
        rows = observations(executor, 100)
        given = b"".join(bits(row) for row in rows)
        done = subprocess.run(
            [c_client, "answers", serving.path, name, "100"], input=given, capture_output=True, timeout=30
        )
        assert done.returncode == 0, done.stdout[:200]
        assert done.stdout == b"".join(bits(executor(*row)) for row in rows)

    def test_several_under_way(self, serving: Serving, artifacts: dict[str, Path], name: str) -> None:
        executor = load(artifacts[name])
        rows = observations(executor, 40)
        with RingClient(serving.path, name, slots=8) as client:
            assert client.room == 7
            answers = []
            for row in rows:
                if client.under_way == client.room:
                    answers.append(client.receive())
                client.send(*row)
            while client.under_way:
                answers.append(client.receive())
        assert [bits(answer) for answer in answers] == [bits(executor(*row)) for row in rows]


def test_nan_and_infinities_go_through(serving: Serving, artifacts: dict[str, Path]) -> None:
    executor = load(artifacts["policy"])
    given = np.array([np.nan, np.inf, -np.inf, 0, -0.0, 1e-45, 3e38, 1], np.float32)
    with RingClient(serving.path, "policy") as client:
        assert bits(client(given)) == bits(executor(given))


def test_other_forms_of_an_observation(serving: Serving, artifacts: dict[str, Path]) -> None:
    executor = load(artifacts["policy"])
    wide = np.arange(16, dtype=np.float32)[::2]
    with RingClient(serving.path, "policy") as client:
        assert bits(client(wide)) == bits(executor(wide))
        assert bits(client(list(range(8)))) == bits(executor(list(range(8))))
        with pytest.raises(SignatureError, match="one observation at a time"):
            client(wide[None])
        with pytest.raises(SignatureError, match="expected shape"):
            client(np.zeros(9, np.float32))
        with pytest.raises(SignatureError, match="expected 1 output"):
            client.run_into((wide,), [])
        with pytest.raises(SignatureError, match=r"expected float32 \[3\]"):
            client.run_into((wide,), [np.zeros(2, np.float32)])
        assert bits(client(wide)) == bits(executor(wide))


def test_an_agent_of_another_engine(serving: Serving) -> None:
    serving.load("double", FakeExecutor(DOUBLE, lambda inputs: (inputs[0] * 2,)))
    with RingClient(serving.path, "double", slots=2) as client:
        assert not serving.server.rings[0].native
        for n in range(20):
            np.testing.assert_array_equal(client(np.full(3, n, np.float32)), np.full(3, 2 * n))


def test_an_agent_that_fails_or_gives_something_else(serving: Serving) -> None:
    def moody(inputs: object) -> tuple[Array, ...]:
        value = inputs[0]  # type: ignore[index]
        if value[0, 0] < 0:
            raise RuntimeError("below zero")
        return (value.astype(np.float64 if value[0, 0] > 9 else np.float32),)

    serving.load("moody", FakeExecutor(DOUBLE, moody))
    with RingClient(serving.path, "moody") as client:
        with pytest.raises(ProtocolError, match="below zero") as failed:
            client(np.full(3, -1, np.float32))
        assert failed.value.code is Code.INTERNAL
        with pytest.raises(ProtocolError, match="not as declared"):
            client(np.full(3, 10, np.float32))
        np.testing.assert_array_equal(client(np.ones(3, np.float32)), np.ones(3))
    assert serving.engine.stats().agents["moody"].direct.failed == 2


def test_deadlines(serving: Serving) -> None:
    go = threading.Event()

    def slow(inputs: object) -> tuple[Array, ...]:
        go.wait(20)
        return (inputs[0] + 1,)  # type: ignore[index]

    serving.load("slow", FakeExecutor(DOUBLE, slow))
    with RingClient(serving.path, "slow") as client:
        for _ in range(2):  # the second is late before its turn comes
            with pytest.raises(ProtocolError, match="in time") as late:
                client(np.zeros(3, np.float32), timeout_s=0.02)
            assert late.value.code is Code.LATE
        go.set()
        np.testing.assert_array_equal(
            client(np.full(3, 5, np.float32)), np.full(3, 6)
        )  # and not a late answer
    assert serving.engine.stats().agents["slow"].direct.missed == 1


def test_many_clients_at_once(serving: Serving, artifacts: dict[str, Path]) -> None:
    executor = load(artifacts["policy"])
    wrong: list[int] = []
    serving.wait_for_rings(0)
    before = serving.engine.stats().agents["policy"].direct.answered

    def ask(seed: int) -> None:
        with RingClient(serving.path, "policy", slots=4, spin_us=0) as client:
            rows = observations(executor, 40, seed)
            wrong.extend(seed for row in rows if bits(client(*row)) != bits(executor(*row)))

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not wrong
    serving.wait_for_rings(0)
    assert serving.engine.stats().agents["policy"].direct.answered - before == 320


class TestRefusals:
    def test_order_of_calls(self, serving: Serving) -> None:
        given = np.zeros(8, np.float32)
        with RingClient(serving.path, "policy", slots=2) as client:
            with pytest.raises(ProtocolError, match="no request is under way"):
                client.receive()
            client.send(given)
            with pytest.raises(ProtocolError, match="receive an answer first"):
                client.send(given)
            with pytest.raises(ProtocolError, match="receive their answers first"):
                client(given)
            client.receive()
        client.close()

    def test_no_server_and_no_agent(self, serving: Serving, tmp_path: Path, c_client: Path) -> None:
        with pytest.raises(ProtocolError, match="no ring can be had there: No such file"):
            RingClient(tmp_path / "nothing", "policy")
        with pytest.raises(
            ProtocolError, match=r"no agent 'polcy' is served \(did you mean 'policy'"
        ) as unknown:
            RingClient(serving.path, "polcy")
        assert unknown.value.code is Code.NOT_FOUND
        with pytest.raises(ProtocolError, match="1 to 127 bytes"):
            RingClient(serving.path, "")
        done = subprocess.run([c_client, "hold", serving.path, "polcy"], capture_output=True, text=True)
        assert done.returncode == 2
        assert "no agent 'polcy' is served" in done.stdout
        done = subprocess.run([c_client, "hold", tmp_path / "no", "x"], capture_output=True, text=True)
        assert done.returncode == 7
        assert "no server answers there" in done.stdout

    def test_an_agent_without_declared_outputs(self, serving: Serving) -> None:
        serving.load("open", FakeExecutor(Signature(DOUBLE.inputs), lambda inputs: (inputs[0],)))
        with pytest.raises(ProtocolError, match="outputs are not declared"):
            RingClient(serving.path, "open")
