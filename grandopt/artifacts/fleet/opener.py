"""From what a job says of its fleet's store to the store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from grandopt.artifacts.fleet.base import Place, PlaceError
from grandopt.artifacts.fleet.bucket import SCHEME, BucketPlace
from grandopt.artifacts.fleet.fleet import FleetStore
from grandopt.artifacts.fleet.folder import FolderPlace
from grandopt.artifacts.signing.keys import TrustedKeys, read_private
from grandopt.errors import ConfigError


def open_fleet(
    location: str, tell: Callable[[str], None], *, keys: Path | None = None, key: Path | None = None
) -> FleetStore:
    """The store at a folder, or at s3://bucket/prefix; `keys` and `key` are files of public keys that builds
    must be signed by, and of the private key that signs those made here.

    A place that does not answer is told, and the store is empty. Raises ConfigError for one that does not
    exist or refuses this machine, and for keys that cannot be read.
    """
    trusted = None if keys is None else TrustedKeys.read(keys)
    private = None if key is None else read_private(key)
    place = _place(location)
    fleet = FleetStore(place, tell, trusted=trusted, key=private)
    try:
        place.check()
    except PlaceError as error:
        fleet.lost(error)
    return fleet


def _place(location: str) -> Place:
    if location.startswith(SCHEME):
        return BucketPlace(location)
    if "://" in location:
        scheme = location.partition("://")[0]
        raise ConfigError(f"--store takes a folder or s3://BUCKET/PREFIX, not {scheme}://")
    return FolderPlace(Path(location))
