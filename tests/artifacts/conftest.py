"""A manifest to write: artifacts are files, no engine is needed to test them."""

from __future__ import annotations

import pytest

from grandopt.artifacts.manifest import Manifest, Source
from grandopt.signature import Signature, TensorSpec


@pytest.fixture
def manifest() -> Manifest:
    """A valid manifest without a payload."""
    return Manifest(
        name="gate",
        engine="eager",
        precision="float32",
        signature=Signature((TensorSpec("state", (4,)),), (TensorSpec("action", (2,)),)).to_json(),
        source=Source(format="memory", weights="memory"),
        payload=(),
        machine="x86_64",
        built_by="test",
    )
