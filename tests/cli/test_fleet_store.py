"""`--store`: what cannot be used is one line, and one that does not answer stops nothing."""

from __future__ import annotations

import pytest

from tests.cli.conftest import Grandopt
from tests.fleet.conftest import SECRET, credentials, s3  # noqa: F401 - fixtures


def test_a_folder_that_is_not_there_is_one_line(grandopt: Grandopt) -> None:
    done = grandopt("optimize", "--agent", "lvn_embedder", "--store", "absent")
    _refused(done.returncode, done.stderr, "--store absent: no such folder; make it, or mount what should be")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("bucket", "changes", "messages"),
    [
        ("absent", {}, ("at 127.0.0.1:", "there is no such bucket; make it, or name another")),
        ("builds", {"AWS_ENDPOINT_URL": "http://store.invalid"}, ("at store.invalid", "AWS_ENDPOINT_URL")),
        ("builds", {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, ("at 127.0.0.1:", "set AWS_ACC")),
    ],
)
def test_a_bucket_that_cannot_be_used_names_its_host(
    grandopt: Grandopt,
    credentials: dict[str, str],  # noqa: F811
    bucket: str,
    changes: dict[str, str],
    messages: tuple[str, ...],
) -> None:
    asked = credentials | {"AWS_EC2_METADATA_DISABLED": "true"} | changes
    done = grandopt("optimize", "--agent", "lvn_embedder", "--store", f"s3://{bucket}/fleet", **asked)
    for message in messages:
        _refused(done.returncode, done.stderr, message)


def _refused(code: int, stderr: str, message: str) -> None:
    assert code == 2, stderr
    assert message in stderr
    assert stderr.count("\n") == 1, stderr
    assert SECRET not in stderr
