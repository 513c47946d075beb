"""Empty packages in the place of those that a framework imports and the agents here never call."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
import types
from collections.abc import Sequence
from typing import Any


class Thing:
    """A class or function of an empty package: takes anything, gives nothing."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __call__(self, *given: Any, **_: Any) -> Any:
        return given[0] if len(given) == 1 and callable(given[0]) else Thing()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return Thing()


class Package(types.ModuleType):
    """A package in which every name is a class of its own."""

    __version__ = "99.0"
    __path__: Sequence[str] = ()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (Thing,), {})


class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds the empty packages, behind everything that is installed."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> Any:
        if any(f"{fullname}.".startswith(f"{name}.") for name in self.names):
            return importlib.machinery.ModuleSpec(fullname, self, is_package=True)
        return None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> Package:
        return Package(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        pass


def install(*names: str, first: Sequence[str] = ()) -> None:
    """Put empty packages in the place of `names` that are missing, and of `first` even where they are not."""
    sys.meta_path.append(Finder(names))
    sys.meta_path.insert(0, Finder(first))
