"""`grandopt doctor` describes this machine, and offers only what exists."""

from __future__ import annotations

import json
import os
from importlib import metadata
from pathlib import Path

import pytest

from grandopt.cli.commands.doctor import compiler, libraries, missing
from tests.cli.conftest import Grandopt


@pytest.fixture
def no_compiler(tmp_path: Path) -> dict[str, str]:
    return {"PATH": str(tmp_path)}


def fake_compiler(folder: Path, name: str, status: int = 0) -> Path:
    path = folder / name
    path.write_text(f'#!/bin/sh\necho "{name} 1.2.3 $*"\necho "a licence"\nexit {status}\n')
    path.chmod(0o755)
    return path


def test_json_is_the_whole_answer(grandopt: Grandopt) -> None:
    result = grandopt("doctor", "--json")
    assert (result.returncode, result.stderr) == (0, "")
    facts = json.loads(result.stdout)
    assert facts["machine"]["available_cores"] >= 1
    assert facts["libraries"]["torch"] == metadata.version("torch")
    assert "torchscript" in facts["engines"]
    assert "dev" not in json.dumps(facts["missing"])


def test_for_people(grandopt: Grandopt) -> None:
    result = grandopt("doctor")
    assert (result.returncode, result.stderr) == (0, "")
    for heading in (
        "machine:",
        "instructions:",
        "compiler:",
        "disk free:",
        "engines:",
        "libraries:",
        "missing:",
    ):
        assert f"\n{heading}" in f"\n{result.stdout}"


def test_the_first_compiler_is_found(tmp_path: Path, no_compiler: dict[str, str]) -> None:
    assert compiler(no_compiler) is None
    clang = fake_compiler(tmp_path, "clang")
    assert compiler(no_compiler) == f"{clang} (clang 1.2.3 --version)"
    gcc = fake_compiler(tmp_path, "gcc")
    assert compiler(no_compiler) == f"{gcc} (gcc 1.2.3 --version)"


def test_cc_is_asked_with_its_arguments(tmp_path: Path, no_compiler: dict[str, str]) -> None:
    fake_compiler(tmp_path, "gcc")
    own = fake_compiler(tmp_path, "own")
    assert compiler(no_compiler | {"CC": "own -m32"}) == f"{own} -m32 (own 1.2.3 -m32 --version)"


@pytest.mark.parametrize("named", ["absent", "broken"])
def test_a_wrong_cc_is_not_replaced(tmp_path: Path, no_compiler: dict[str, str], named: str) -> None:
    fake_compiler(tmp_path, "gcc")
    fake_compiler(tmp_path, "broken", status=1)
    assert compiler(no_compiler | {"CC": named}) is None


def test_the_compiler_of_this_machine_is_found_where_there_is_one() -> None:
    found = compiler(os.environ)
    if found is None:
        pytest.skip("no C compiler on this machine")
    assert Path(found.split()[0]).is_file()


def test_missing_things_come_with_the_command_that_installs_them() -> None:
    requirements = [
        "numpy>=1.26",
        "surely-not-installed>=1.0",
        "neither-is-this>=2; extra == 'onnx'",
        "numpy>=1; extra == 'openvino'",
        'nor-this; extra == "dev"',
    ]
    assert libraries(requirements) == {"numpy": metadata.version("numpy"), "surely-not-installed": None}
    assert missing(requirements) == {
        "surely-not-installed": "pip install surely-not-installed",
        "neither-is-this": "pip install 'grandopt[onnx]'",
    }
