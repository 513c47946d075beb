"""Versions on both sides: a driver and its replicas are of one release."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import NamedTuple

from grandopt.errors import ConfigError


class Versions(NamedTuple):
    """What both sides have to agree on, as text."""

    python: str
    grandopt: str
    ray: str

    def check(self, theirs: Versions, where: str) -> None:
        """Raise ConfigError, which names `where` and both versions, unless `theirs` are the same."""
        for name, mine, other in zip(self._fields, self, theirs, strict=True):
            if mine != other:
                raise ConfigError(
                    f"{where} has {name} {other}, here is {mine}: install the same version on both sides"
                )


def versions() -> Versions:
    """Those of this process. Of Python the first two numbers count: pickles of code depend on them."""
    python = ".".join(platform.python_version_tuple()[:2])
    return Versions(python, _installed("grandopt"), _installed("ray"))


def _installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none that is installed"  # a checkout on the path, which has no version of its own
