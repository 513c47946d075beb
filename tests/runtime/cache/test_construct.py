"""A cache from its settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from grandopt.config.cache import CacheConfig
from grandopt.errors import ConfigError
from grandopt.runtime.cache.construct import construct
from grandopt.runtime.cache.levels.disk import DiskLevel


def test_what_was_opened_is_closed_when_a_later_level_cannot_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[DiskLevel] = []
    close = DiskLevel.close

    def noted(level: DiskLevel) -> None:
        closed.append(level)
        close(level)

    monkeypatch.setattr(DiskLevel, "close", noted)
    settings = CacheConfig(folder=tmp_path / "kept")
    with pytest.raises(ConfigError, match="no Redis URL"):
        construct(settings.model_copy(update={"redis": "http://nowhere"}))
    assert len(closed) == 1
    cache = construct(settings)
    assert len(closed) == 1  # a cache that could be made stays open until its owner closes it
    cache.close()
    assert len(closed) == 2
