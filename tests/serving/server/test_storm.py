"""A server of two workers in bad weather: no wrong and no foreign answer, by HTTP and by gRPC."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.serving.server.grpc_storm import GrpcStorm
from tests.serving.server.storms import HttpStorm, Storm, a_minute, weathered

CALM_S, WARM_S = 150.0, 30.0
"""How long the million is followed by requests while nobody is killed, and what of that the memory is not
looked at: workers that have just begun still fill what they keep."""

KINDS = pytest.mark.parametrize("kind", [HttpStorm, GrpcStorm], ids=["http", "grpc"])


@pytest.mark.slow
@KINDS
def test_answers_are_right_while_workers_are_killed_and_clients_go(
    kind: type[Storm], artifacts: Path
) -> None:
    storm = weathered(kind, artifacts, 40_000)
    assert storm.right > 30_000
    assert storm.lost > 10


@pytest.mark.stress
@KINDS
def test_a_million_requests(kind: type[Storm], artifacts: Path) -> None:
    storm = weathered(kind, artifacts, 1_000_000, CALM_S)
    first = storm.resident[0][0] + WARM_S
    slope = a_minute([one for one in storm.resident if one[0] > first])
    print(f"{storm.right} right, {storm.refused} refused, {storm.lost} lost connections, {slope:+.2f} MB/min")
    assert storm.right > 900_000
    assert slope < 1.0, storm.resident
