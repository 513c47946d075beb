"""The libraries of the extra `serve`, asked for before any module that imports one."""

from __future__ import annotations

import importlib.util

from grandopt.errors import ConfigError

INSTALL = "pip install 'grandopt[serve]'"


def require(*modules: str) -> None:
    """Raise ConfigError for a library of the extra `serve` that is missing."""
    for module in modules:
        if importlib.util.find_spec(module) is None:
            raise ConfigError(f"serving needs {module}, which is not installed: {INSTALL}")
