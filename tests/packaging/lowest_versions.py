"""The lowest versions that `pyproject.toml` allows, as pins for `pip install -c` (see `make test-lowest`).

Torch is left out, whose version the Makefile pins, and so is what declares no lower bound. Packages that come
with the declared ones are free.

    python tests/packaging/lowest_versions.py [pyproject.toml] > lowest.txt
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path
from typing import Any

PINNED_ELSEWHERE = frozenset(["torch"])
_REQUIREMENT = re.compile(r"(?P<name>[A-Za-z0-9._-]+)(?:\[[^]]*])?>=(?P<lowest>[^,;\s]+)")


def pins(project: dict[str, Any]) -> list[str]:
    """`name==version` for all required packages and those of all extras, each at its highest lower bound.

    A package of several extras has to meet the bound of each, as they may be installed together.
    """
    extras: dict[str, list[str]] = project.get("optional-dependencies", {})
    bounds: dict[str, str] = {}
    for line in (*project["dependencies"], *(line for lines in extras.values() for line in lines)):
        found = _REQUIREMENT.match(line)
        if found is None or found["name"].lower() in PINNED_ELSEWHERE:
            continue
        name, lowest = found["name"].lower(), found["lowest"]
        bounds[name] = max(bounds.get(name, lowest), lowest, key=_numbers)
    return [f"{name}=={bounds[name]}" for name in sorted(bounds)]


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))


if __name__ == "__main__":
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parents[2] / "pyproject.toml"
    print("\n".join(pins(tomllib.loads(path.read_text(encoding="utf-8"))["project"])))
