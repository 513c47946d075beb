"""The server suite: one run, from an artifact to the lines of what was wanted and what was measured."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from grandopt.artifacts.artifact import read
from grandopt.errors import ConfigError, MeasurementError
from grandopt.measurement.environment import Environment, environment
from grandopt.serving.protocol.datatypes import datatype_of
from grandopt.suites.server.asking import Answers, Asking, write
from grandopt.suites.server.expected import Expected
from grandopt.suites.server.servers import fastapi, ours

MANY, ROUNDS, ROWS = 64, 5, 256
"""Connections, rounds, and the observations that requests ask about in turns."""
JSON_TIMES, BINARY_TIMES, LONE_US, RING_US = 3.0, 5.0, 150.0, 15.0
"""What is wanted: times the answers of FastAPI on one worker, and microseconds of a lone request over a Unix
socket and through a ring."""


@dataclass(frozen=True)
class ServerLine:
    """One figure: the median of the rounds, and all of them; `target` None where nothing was wanted."""

    text: str
    unit: str
    value: float
    rounds: tuple[float, ...]
    target: float | None = None
    at_least: bool = True

    @property
    def met(self) -> bool | None:
        """Whether what was wanted was reached."""
        if self.target is None:
            return None
        return self.value >= self.target if self.at_least else self.value <= self.target


@dataclass(frozen=True)
class ServerBenchmark:
    """`reason` says why FastAPI has no figures."""

    agent: str
    lines: tuple[ServerLine, ...]
    seconds: float
    environment: Environment
    reason: str | None = None

    @property
    def missed(self) -> tuple[ServerLine, ...]:
        return tuple(line for line in self.lines if line.met is False)


def benchmark_server(
    artifact: Path, rival: Path | None, seconds: float, tell: Callable[[str], None]
) -> ServerBenchmark:
    """Ask `grandopt serve` and FastAPI (of the environment `rival`) in turns, for `seconds` each time.

    Raises ConfigError for an agent of several inputs, MeasurementError where a server or an answer fails.
    """
    signature = read(artifact).manifest.parsed_signature()
    if len(signature.inputs) != 1:
        raise ConfigError(f"{artifact}: the agent has {len(signature.inputs)} inputs; name one that has one")
    (spec,) = signature.inputs
    rows = np.random.default_rng(0).normal(size=(ROWS, *spec.shape)).astype(spec.dtype)
    expected, found = Expected(artifact, rows), dict[str, list[Answers]]()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="grandopt-")))
        port = stack.enter_context(ours(artifact, folder / "s", folder / "ring"))
        name = read(artifact).manifest.name
        places = {
            "json": (port, [_json(name, spec.name, row[None]) for row in rows]),
            "binary": (port, [_binary(name, spec.name, row[None]) for row in rows]),
        }
        if rival is not None:
            other = stack.enter_context(fastapi(artifact, rival))
            places["fastapi"] = (other, [_json("agent", spec.name, row[None]) for row in rows])
        for key, (_, requests) in places.items():
            write(folder / key, requests)
        np.save(folder / "rows.npy", rows)
        for number in range(ROUNDS):
            tell(f"round {number + 1} of {ROUNDS}")
            for key, (place, _) in places.items():
                found.setdefault(key, []).append(_asked(Asking(folder / key, MANY, seconds, place)))
            for key in ("json", "binary"):
                lone = Asking(folder / key, 1, seconds, uds=folder / "s")
                found.setdefault(f"lone {key}", []).append(_asked(lone))
            found.setdefault("lone ring", []).append(_rung(folder, name, seconds))
    _check(expected, found)
    reason = None if rival else "FastAPI takes part where --rival fastapi=PYTHON says where it is"
    return ServerBenchmark(name, _lines(found), seconds, environment(), reason)


def _check(expected: Expected, found: dict[str, list[Answers]]) -> None:
    for key, several in found.items():
        for one in several:
            for number, body in enumerate(one.bodies):
                if body:
                    expected.check(key, number, bytes.fromhex(body))


def _lines(found: dict[str, list[Answers]]) -> tuple[ServerLine, ...]:
    def line(
        text: str, unit: str, rounds: list[float], target: float | None = None, at_least: bool = True
    ) -> ServerLine:
        return ServerLine(text, unit, float(np.median(rounds)), tuple(rounds), target, at_least)

    rates = {key: [one.rate for one in several] for key, several in found.items()}
    lines = [line(f"{key}, {MANY} connections", "1/s", rates[key]) for key in rates if "lone" not in key]
    if "fastapi" in rates:
        for key, target in (("json", JSON_TIMES), ("binary", BINARY_TIMES)):
            ratios = [mine / other for mine, other in zip(rates[key], rates["fastapi"], strict=True)]
            lines.append(line(f"{key} ÷ fastapi", "times", ratios, target))
    for key in ("json", "binary"):
        medians = [1e6 * one.p50_s for one in found[f"lone {key}"]]
        lines.append(line(f"a lone request, {key}, Unix socket", "µs", medians, LONE_US, at_least=False))
    medians = [1e6 * one.p50_s for one in found["lone ring"]]
    lines.append(line("a lone request, ring, from Python", "µs", medians, RING_US, at_least=False))
    return tuple(lines)


def _asked(given: Asking) -> Answers:
    data = asdict(given) | {
        "requests": str(given.requests),
        "uds": None if given.uds is None else str(given.uds),
    }
    return _program("asking", data, given.seconds)


def _rung(folder: Path, agent: str, seconds: float) -> Answers:
    data = {"path": str(folder / "ring"), "rows": str(folder / "rows.npy"), "agent": agent}
    return _program("ringing", data | {"seconds": seconds}, seconds)


def _program(name: str, given: dict[str, Any], seconds: float) -> Answers:
    """What one of the programs that ask says of the answers."""
    done = subprocess.run(
        [sys.executable, "-m", f"grandopt.suites.server.{name}"],
        input=json.dumps(given) + "\n",
        capture_output=True,
        text=True,
        timeout=60 + 3 * seconds,
        check=False,
    )
    if done.returncode:
        raise MeasurementError(
            f"asking failed: {(done.stderr.strip().splitlines() or ['without a word'])[-1]}"
        )
    answers = Answers(**json.loads(done.stdout))
    if answers.wrong or not answers.count:
        raise MeasurementError(f"{answers.wrong} of {answers.count} answers were none")
    return answers


def _json(model: str, name: str, row: np.ndarray) -> bytes:
    tensor = {
        "name": name,
        "shape": row.shape,
        "datatype": datatype_of(row.dtype.name),
        "data": row.ravel().tolist(),
    }
    return _post(model, orjson.dumps({"inputs": [tensor]}))


def _binary(model: str, name: str, row: np.ndarray) -> bytes:
    tensor = {
        "name": name,
        "shape": row.shape,
        "datatype": datatype_of(row.dtype.name),
        "parameters": {"binary_data_size": row.nbytes},
    }
    text = orjson.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}})
    return _post(model, text + row.tobytes(), b"Inference-Header-Content-Length: %d\r\n" % len(text))


def _post(model: str, body: bytes, more: bytes = b"") -> bytes:
    head = b"POST /v2/models/%b/infer HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return head % model.encode() + more + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
