"""Artifacts and the keys that sign them."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from grandopt.artifacts.signing.keys import read_private, write_new_key
from grandopt.artifacts.signing.release import sign_artifact
from grandopt.artifacts.store import Store
from grandopt.compiler.build import Candidate, build
from grandopt.config.engines import NativeOptions
from tests.artifacts.conftest import manifest  # noqa: F401 - a fixture
from tests.contracts.backends import LEAST
from tests.small_agents import Pair, Policy, program


@dataclass(frozen=True)
class KeyPair:
    """The files of a private and a public key."""

    private: Path
    public: Path

    @classmethod
    def new(cls, path: Path) -> KeyPair:
        write_new_key(path)
        return cls(path, path.with_name(f"{path.name}.pub"))

    def sign(self, artifact: Path) -> Path:
        sign_artifact(artifact, read_private(self.private))
        return artifact


@pytest.fixture(scope="session")
def key(tmp_path_factory: pytest.TempPathFactory) -> KeyPair:
    return KeyPair.new(tmp_path_factory.mktemp("keys") / "release.key")


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory, key: KeyPair) -> dict[str, Path]:
    """Two native artifacts, signed: `policy` and `pair`."""
    place = tmp_path_factory.mktemp("signed")
    folders = {}
    for name, network in (("policy", Policy), ("pair", Pair)):
        options = NativeOptions(levels=(LEAST,))
        made = build(program(network), Candidate("float32", options), Store(place / "store"))
        folders[name] = key.sign(Path(shutil.copytree(made.path, place / name)))
    return folders


@pytest.fixture
def policy(tmp_path: Path, built: dict[str, Path]) -> Path:
    """A signed artifact of one's own."""
    return Path(shutil.copytree(built["policy"], tmp_path / "policy"))


@pytest.fixture
def pair(tmp_path: Path, built: dict[str, Path]) -> Path:
    return Path(shutil.copytree(built["pair"], tmp_path / "pair"))
