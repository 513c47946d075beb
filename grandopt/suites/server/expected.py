"""What the servers must answer: they are fast with the agent's own numbers, or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from grandopt.errors import MeasurementError
from grandopt.runtime.loader import load
from grandopt.signature import Array


class Expected:
    """An artifact's own outputs for each of the `rows` [n, *shape] that the requests ask about."""

    def __init__(self, artifact: Path, rows: Array) -> None:
        policy = load(artifact)
        try:
            self._outputs = [[np.array(output) for output in policy.run([row[None]])] for row in rows]
        finally:
            policy.close()

    def check(self, way: str, number: int, body: bytes) -> None:
        """Raise MeasurementError unless the body of a response, JSON or with bytes at its end, has those of
        the row `number`."""
        outputs = self._outputs[number]
        if "binary" in way or "ring" in way:
            same = body.endswith(b"".join(output.tobytes() for output in outputs))
        else:
            said = [np.array(tensor["data"]) for tensor in json.loads(body)["outputs"]]
            same = len(said) == len(outputs) and all(
                np.array_equal(one.astype(output.dtype).ravel(), output.ravel(), equal_nan=True)
                for one, output in zip(said, outputs, strict=True)
            )
        if not same:
            raise MeasurementError(
                f"{way}: the answer is not what the artifact gives when it is called: {body[:200]!r}"
            )
