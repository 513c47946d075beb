"""Places that machines share: a folder, and a bucket of a real server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from grandopt.artifacts.fleet.base import Place
from grandopt.artifacts.fleet.bucket import BucketPlace
from grandopt.artifacts.fleet.folder import FolderPlace
from grandopt.artifacts.machine import architecture
from grandopt.artifacts.manifest import Manifest, Source
from grandopt.signature import Signature, TensorSpec
from tests.fleet.environment import S3Server, running_server
from tests.signing.conftest import KeyPair

SECRET = "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY"


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with running_server(tmp_path_factory.mktemp("s3")) as server:
        server.make("builds")
        yield server


@pytest.fixture
def credentials(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The variables by which AWS's tools find the server and who asks."""
    variables = {
        "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": s3.url,
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return variables


@pytest.fixture(params=["folder", pytest.param("bucket", marks=pytest.mark.slow)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Place]:
    """Opens the same place, as another machine does each time."""
    if request.param == "folder":
        folder = tmp_path / "shared"
        folder.mkdir()
        return lambda: FolderPlace(folder)
    request.getfixturevalue("credentials")
    return lambda: BucketPlace(f"s3://builds/{tmp_path.name}")


@pytest.fixture(scope="session")
def key(tmp_path_factory: pytest.TempPathFactory) -> KeyPair:
    return KeyPair.new(tmp_path_factory.mktemp("keys") / "release.key")


@pytest.fixture
def manifest() -> Manifest:
    """A valid manifest without a payload, for this machine."""
    return Manifest(
        name="gate",
        engine="native",
        precision="float32",
        signature=Signature((TensorSpec("state", (4,)),), (TensorSpec("action", (2,)),)).to_json(),
        source=Source(format="memory", weights="memory"),
        payload=(),
        machine=architecture(),
        built_by="test",
    )
