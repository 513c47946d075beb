"""What a command imports is no garbage, and is not looked through for any."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from grandopt.cli.importing import importing


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    collecting = gc.isenabled()
    yield
    gc.unfreeze()
    if collecting:
        gc.enable()
    else:
        gc.disable()


def test_nothing_is_collected_within_and_what_was_made_stays() -> None:
    gc.enable()
    gc.collect()
    before, frozen = [stage["collections"] for stage in gc.get_stats()], gc.get_freeze_count()
    with importing():
        made = [[number] for number in range(100_000)]
        assert [stage["collections"] for stage in gc.get_stats()] == before
    assert gc.isenabled()
    assert gc.get_freeze_count() >= frozen + len(made)


def test_an_import_that_fails_leaves_collecting_as_it_was() -> None:
    gc.enable()
    with pytest.raises(ImportError), importing():
        raise ImportError("no such module")
    assert gc.isenabled()
    gc.disable()
    frozen = gc.get_freeze_count()
    with importing():
        pass
    assert not gc.isenabled()
    assert gc.get_freeze_count() == frozen
