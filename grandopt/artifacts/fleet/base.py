"""Where parcels lie that machines share: the contract of folders and buckets."""

from __future__ import annotations

from abc import ABC, abstractmethod

LARGEST = 2 << 30
"""Bytes of a parcel, at most; a larger one is not read."""


class PlaceError(Exception):
    """A place does not answer, or refuses: one line, without secrets."""


class ReadOnlyError(PlaceError):
    """A place may only be read."""


class Place(ABC):
    """Parcels by name. A reader sees a parcel whole or not at all, also while others write; who writes a name
    again replaces it. Names are "folder/name" of letters and digits. Not for several threads at once.

    `name` says which place it is, without secrets.
    """

    name: str

    @abstractmethod
    def check(self) -> None:
        """Raise ConfigError where the place does not exist or refuses this machine, and PlaceError where it
        does not answer."""

    @abstractmethod
    def get(self, name: str) -> bytes | None:
        """The parcel of that name, None where there is none; raises PlaceError."""

    @abstractmethod
    def put(self, name: str, content: bytes) -> None:
        """Keep a parcel; raises PlaceError, and ReadOnlyError where nothing may be written."""
