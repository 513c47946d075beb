"""The store of a fleet: what one machine has built, the others of its kind take from there.

Keys are those of the machine's own store. A build's key holds the features of the CPU that it is for and the
compilers that made it, so that a machine of another kind asks for another key. What is taken is checked
against its digests, and where keys are given against its signature, which is of the store's key, too: a build
that was put under another key is none. Nothing here stops a job: what is wrong is told once, and the machine
goes on with its own store.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from grandopt.artifacts.artifact import MANIFEST_NAME
from grandopt.artifacts.fleet.base import Place, PlaceError, ReadOnlyError
from grandopt.artifacts.fleet.parcel import NOTE, SIGNATURE, build_of, members_of, packed, unpacked
from grandopt.artifacts.machine import architecture, cpu_features
from grandopt.artifacts.manifest import Manifest
from grandopt.artifacts.signing.keys import TrustedKeys
from grandopt.artifacts.signing.signed import signed, signer
from grandopt.errors import ArtifactError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

BUILDS, NOTES = "builds", "notes"


class FleetStore:
    """Builds and notes of other machines at a place, by key.

    With `trusted`, only what one of these keys signed is taken; with `key`, what is put is signed. `tell` is
    given one line for each kind of thing that goes wrong, at most. Not for several threads at once.
    """

    def __init__(
        self,
        place: Place,
        tell: Callable[[str], None],
        *,
        trusted: TrustedKeys | None = None,
        key: Ed25519PrivateKey | None = None,
    ) -> None:
        self._place = place
        self._tell = tell
        self._trusted, self._key = trusted, key
        self._told: set[str] = set()
        self._reachable = self._writable = True
        self._there: set[str] = set()
        self.taken = self.shared = 0
        """Builds that came from there, and that were put there."""

    def build(self, key: str) -> tuple[Manifest, dict[str, bytes]] | None:
        """Manifest and payload of a build that fits this machine, or None."""
        members = self._get(BUILDS, key, MANIFEST_NAME)
        if members is None:
            return None
        try:
            manifest, files = build_of(members)
            if manifest.machine != architecture() or not set(manifest.cpu_features) <= cpu_features():
                raise ArtifactError("it is for another kind of CPU")
            if manifest.trusted_only:
                raise ArtifactError("it would have to be unpickled")
        except ArtifactError as error:
            self._there.discard(f"{BUILDS}/{key}")  # who builds it here replaces it
            self._refused(BUILDS, key, error)
            return None
        self.taken += 1
        return manifest, files

    def put_build(self, key: str, manifest: Manifest, files: Mapping[str, bytes]) -> None:
        """Give a build to the others; one that has to be unpickled is nobody else's."""
        if not manifest.trusted_only:
            self.shared += self._put(BUILDS, key, members_of(manifest, files), MANIFEST_NAME)

    def note(self, key: str) -> bytes | None:
        """What another machine noted under a key, or None."""
        members = self._get(NOTES, key, NOTE)
        return None if members is None else members[NOTE]

    def put_note(self, key: str, body: bytes) -> None:
        """Give a note to the others."""
        self._put(NOTES, key, {NOTE: body}, NOTE)

    def close(self) -> None:
        """Ask the place for nothing any more."""
        self._reachable = self._writable = False

    def _get(self, kind: str, key: str, main: str) -> dict[str, bytes] | None:
        """The members of a parcel whose `main` one is signed as it must be."""
        if not self._reachable:
            return None
        try:
            content = self._place.get(f"{kind}/{key}")
        except PlaceError as error:
            self.lost(error)
            return None
        if content is None:
            return None
        try:
            members = unpacked(content)
            if main not in members:
                raise ArtifactError(f"it holds no {main}")
            if self._trusted is not None:
                if SIGNATURE not in members:
                    raise ArtifactError("it is not signed")
                signer(members[main], members.pop(SIGNATURE), self._trusted, _subject(kind, key))
        except ArtifactError as error:
            self._refused(kind, key, error)
            return None
        self._there.add(f"{kind}/{key}")
        return members

    def _put(self, kind: str, key: str, members: Mapping[str, bytes], main: str) -> bool:
        name = f"{kind}/{key}"
        if not (self._reachable and self._writable) or (kind == BUILDS and name in self._there):
            return False
        if self._key is not None:
            members = {**members, SIGNATURE: signed(members[main], self._key, _subject(kind, key))}
        try:
            self._place.put(name, packed(members))
        except ReadOnlyError as error:
            self._writable = False
            self._once("read-only", f"{error}; what is built here is not shared")
            return False
        except PlaceError as error:
            self.lost(error)
            return False
        self._there.add(name)
        return True

    def lost(self, error: PlaceError) -> None:
        """Do without the place, which did not answer."""
        self._reachable = False
        self._once("lost", f"{error}; this run goes on without the store")

    def _refused(self, kind: str, key: str, error: ArtifactError) -> None:
        self._once(
            "refused",
            f"{self._place.name}: {kind}/{key[:16]}… is not used: {error}; others like it are not told",
        )

    def _once(self, kind: str, line: str) -> None:
        if kind not in self._told:
            self._told.add(kind)
            self._tell(line)


def _subject(kind: str, key: str) -> str:
    """What a signature in the store is of: never an artifact's, nor of another key's."""
    return f"{kind[:-1]} {key}"
