"""The pins of `make test-lowest` are the lower bounds of `pyproject.toml`."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from tests.packaging.lowest_versions import pins

ROOT = Path(__file__).resolve().parents[2]


def test_each_package_has_the_highest_of_its_lower_bounds() -> None:
    project = {
        "dependencies": ["torch>=2.8", "Some.Thing>=1.9", "plain", "capped>=2.0,<3"],
        "optional-dependencies": {"one": ["some.thing>=1.10", "self[one]"], "two": ["other[x]>=0.3.1"]},
    }
    assert pins(project) == ["capped==2.0", "other==0.3.1", "some.thing==1.10"]


def test_the_tested_set_is_in_the_ranges() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    tested = dict(
        line.lower().split("==")
        for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
        if "==" in line
    )
    lowest = dict(pin.split("==") for pin in pins(project))
    assert len(lowest) > 25
    for name in lowest.keys() & tested.keys():
        assert _numbers(tested[name]) >= _numbers(lowest[name]), name


@pytest.mark.parametrize("extra", ["dependencies", "onnx", "openvino", "redis", "native-zig"])
def test_everything_that_a_user_installs_has_a_lower_bound(extra: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = project[extra] if extra in project else project["optional-dependencies"][extra]
    assert lines
    assert not [line for line in lines if ">=" not in line]


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))
