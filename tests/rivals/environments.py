"""Where LiteRT and MNN are on this machine, as GRANDOPT_RIVAL says it (`NAME=PYTHON NAME=PYTHON`)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from grandopt.cli.external_engines import parse_external_engines

PYTHONS = parse_external_engines(os.environ.get("GRANDOPT_RIVAL", "").split())


def python(name: str) -> Path:
    """The interpreter that has an engine; skips the test where none is named."""
    if name not in PYTHONS:
        pytest.skip(f"GRANDOPT_RIVAL names no environment with {name}")
    return PYTHONS[name]
