"""A server of its own process for the tests of a file, and a channel to it."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import pytest

from tests.serving.clients.process import serving


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Where it is: with shared memory."""
    with serving(shared_memory=True) as (addresses, _):
        yield addresses["grpc"]


@pytest.fixture
def channel(address: str) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(address) as made:
        yield made
