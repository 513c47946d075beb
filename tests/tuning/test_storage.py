"""A storage that another program holds is waited for once, and then said to be held."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from optuna.storages import RDBStorage

from grandopt.errors import StorageError
from grandopt.tuning.study import address, storage


def test_a_locked_file_is_waited_for_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(address, "LOCK_TIMEOUT_S", 0.05)
    path = tmp_path / "study.db"
    tried = []
    monkeypatch.setattr(
        storage, "RDBStorage", lambda *args, **options: tried.append(1) or RDBStorage(*args, **options)
    )
    with closing(sqlite3.connect(path, isolation_level=None)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        with (
            pytest.raises(StorageError, match="locked; another program holds it; wait for it"),
            storage.opened(f"sqlite:///{path}"),
        ):
            pass
    assert len(tried) == 1
    with storage.opened(f"sqlite:///{path}") as opened:
        assert opened.get_all_studies() == []
