"""Both sides in C under sanitizers, and a million requests of a real agent."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from grandopt.serving.ring.header import folder
from tests.serving.ring.conftest import FLAGS
from tests.serving.ring.serving import Serving

MILLION = 1_000_000


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sanitizers", "kind", "count", "said"),
    [
        ("address,undefined", "orderly", 100_000, "0 wrong, 0 broken"),
        ("address,undefined", "garbage", 200, "0 wrong, 200 broken"),
        ("thread", "orderly", 100_000, "0 wrong, 0 broken"),
    ],
)
def test_nothing_is_found(sanitizers: str, kind: str, count: int, said: str, tmp_path: Path) -> None:
    if shutil.which("clang") is None:
        pytest.skip("no clang")
    program = tmp_path / "hammer"
    source = Path(__file__).with_name("hammer.c")
    flags = [*FLAGS, "-g", "-std=gnu11", f"-fsanitize={sanitizers}", "-fno-sanitize-recover=all", "-pthread"]
    subprocess.run(["clang", *flags, f"-I{folder()}", source, "-o", program], check=True)
    done = subprocess.run([program, kind, str(count)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip() == said


@pytest.mark.slow
@pytest.mark.parametrize("depth", [1, 50])
def test_a_million_answers_are_the_right_ones(serving: Serving, c_client: Path, depth: int) -> None:
    rows = np.random.default_rng(depth).normal(size=(251, 8)).astype(np.float32)
    done = subprocess.run(
        [c_client, "rounds", serving.path, "policy", "251", str(MILLION), str(depth)],
        input=rows.tobytes(), capture_output=True, timeout=300,
    )  # fmt: skip
    assert done.stdout == f"0 wrong of {MILLION}\n".encode()
