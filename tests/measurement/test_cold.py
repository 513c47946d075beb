"""Starting in a fresh process."""

from __future__ import annotations

from pathlib import Path

import pytest

from grandopt.errors import MeasurementError
from grandopt.measurement.cold import cold_start
from tests.fakes_measurement import FILE, LOADER, ring, subject


def test_a_cold_start_is_timed_as_a_whole(tmp_path: Path) -> None:
    slow = subject(tmp_path, "slow", "nap", ms=50)
    found = cold_start(slow, (ring()[0][:1],), 1, loader=LOADER)

    assert found.first_call_ms >= 50
    assert found.process_ms > found.load_ms + found.first_call_ms
    assert found.resident_mb > 5
    assert found.artifact_bytes == (slow.path / FILE).stat().st_size


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("refused", {}, "starting bad: bad: its digest does not fit"),
        ("fault", {"how": "exit", "at": 1}, "starting bad: .*exit code 3"),
        ("fault", {"how": "hang", "at": 1}, "starting bad: .*within 2 s"),
    ],
)
def test_a_start_that_fails_is_told(
    tmp_path: Path, kind: str, options: dict[str, object], message: str
) -> None:
    with pytest.raises(MeasurementError, match=message):
        cold_start(subject(tmp_path, "bad", kind, **options), (ring()[0][:1],), loader=LOADER, timeout_s=2.0)
