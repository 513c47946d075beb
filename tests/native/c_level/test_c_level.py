"""The hand-written networks and the exported ones are the same: what their times are compared for."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.native.c_level.compare import compare, missing
from tests.native.c_level.networks import NETWORKS

pytestmark = [
    pytest.mark.stress,
    pytest.mark.skipif(missing() is not None, reason=missing() or ""),
]


@pytest.mark.parametrize("name", NETWORKS)
def test_every_library_answers_like_the_original(name: str, tmp_path: Path) -> None:
    found = compare(name, tmp_path, rounds=0)
    assert found.errors.keys() == {"grandopt", "eigen"}
    assert max(found.errors.values()) < 1e-5
    assert not found.microseconds
