"""The header alone: it compiles as C and C++ without a warning, and says what Python says."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from grandopt.serving.ring import layout
from grandopt.serving.ring.header import HEADER, folder
from grandopt.serving.ring.status import Status
from tests.serving.ring.conftest import FLAGS


@pytest.mark.parametrize(
    ("compiler", "standard", "language"),
    [("gcc", "c11", "c"), ("g++", "c++17", "c++"), ("clang", "c11", "c"), ("clang++", "c++20", "c++")],
)
def test_it_compiles_without_a_warning(compiler: str, standard: str, language: str, tmp_path: Path) -> None:
    if shutil.which(compiler) is None:
        pytest.skip(f"no {compiler}")
    source = tmp_path / "two"
    source.write_text(
        f'#include "{HEADER}"\n#include "{HEADER}"\nint main(void) {{ return sizeof(grandopt_ring) == 0; }}\n'
    )
    flags = [*FLAGS, "-Wconversion", "-Wshadow", "-fsyntax-only", f"-std={standard}", f"-x{language}"]
    subprocess.run([compiler, *flags, f"-I{folder()}", source], check=True)


def test_it_says_what_python_says(c_client: Path) -> None:
    told = subprocess.run([c_client], capture_output=True, text=True, check=True).stdout
    assert [[int(number) for number in line.split()] for line in told.splitlines()] == [
        [
            layout.HELLO.size,
            layout.REPLY.size,
            layout.TENSOR.size,
            layout.REQUEST,
            layout.ANSWER,
            layout.ANSWER_TEXT,
        ],
        [
            layout.REQUESTS,
            layout.CLIENT_ASLEEP,
            layout.ANSWERS,
            layout.SERVER_ASLEEP,
            layout.CLOSED,
            layout.WHY,
        ],
        [layout.VERSION, layout.TABLE, layout.MOST_SLOTS, len(layout.DTYPES), Status.FULL, layout.TENSORS],
    ]
