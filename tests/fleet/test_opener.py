"""What a job says of its fleet's store, and what of it is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from grandopt.artifacts.fleet.opener import open_fleet
from grandopt.config.load import Overrides, load_file, resolve
from grandopt.config.schema import FileConfig
from grandopt.errors import ConfigError
from tests.fleet.conftest import SECRET


@pytest.mark.parametrize(
    ("location", "keys", "key", "message"),
    [
        ("absent", None, None, "no such folder; make it, or mount what should be there"),
        ("file", None, None, "is no folder"),
        ("gs://bucket", None, None, "--store takes a folder or s3://BUCKET/PREFIX, not gs://"),
        ("s3://", None, None, "--store must read s3://BUCKET/PREFIX"),
        (f"s3://me:{SECRET}@bucket", None, None, "credentials come from the environment"),
        (f"s3://bucket?secret={SECRET}", None, None, "credentials come from the environment"),
        (".", "absent.pub", None, "absent.pub: the key cannot be read"),
        (".", None, "file", "file: no private key in PEM"),
    ],
)
def test_what_cannot_be_used_is_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    location: str,
    keys: str | None,
    key: str | None,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("")
    with pytest.raises(ConfigError, match=message) as caught:
        open_fleet(location, print, keys=None if keys is None else Path(keys), key=key and Path(key))
    assert "\n" not in str(caught.value)
    assert SECRET not in str(caught.value)


def test_a_job_has_it_from_its_file_or_the_command_line(tmp_path: Path) -> None:
    file = tmp_path / "grandopt.yaml"
    file.write_text("fleet: {store: builds, require_signature: keys, signing_key: release.key}")
    fleet = resolve(load_file(file), {}, Overrides()).fleet
    assert fleet.store == str(tmp_path / "builds")
    assert fleet.require_signature == tmp_path / "keys"
    assert resolve(load_file(file), {}, Overrides(store="s3://builds")).fleet.store == "s3://builds"
    assert resolve(FileConfig(), {}, Overrides()).fleet.store is None
    with pytest.raises(ConfigError, match="but no store: name it with --store"):
        resolve(FileConfig(), {}, Overrides(store_keys=Path("keys")))
