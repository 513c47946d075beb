"""Fixtures that every test may use."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# The machines that tests run on are shared: an example that takes long there says nothing.
settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared_checkpoints() -> Path:
    """The folder of real checkpoints beside the repository; skips when it is not there."""
    folder = SHARED / "checkpoints"
    if not folder.is_dir():
        pytest.skip("skipped: ../shared/checkpoints not found")
    return folder


@pytest.fixture(scope="session")
def shared_policies() -> Path:
    """The folder of real policies beside the repository; skips when it is not there."""
    folder = SHARED / "policies"
    if not folder.is_dir():
        pytest.skip("skipped: ../shared/policies not found")
    return folder


@pytest.fixture(scope="session")
def shared_cases() -> Path:
    """The folder of inputs that broke a build, beside the repository; skips when it is not there."""
    folder = SHARED / "cases"
    if not folder.is_dir():
        pytest.skip("skipped: ../shared/cases not found")
    return folder


@pytest.fixture(scope="session")
def shared_traces() -> Path:
    """The folder of real cache traces beside the repository; skips when it is not there."""
    folder = SHARED / "traces"
    if not folder.is_dir():
        pytest.skip("skipped: ../shared/traces not found")
    return folder
