"""The C export for 64-bit Arm: `make` with a compiler for it builds from source, with the same answers."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from grandopt.artifacts.artifact import Artifact
from grandopt.artifacts.machine import architecture
from grandopt.artifacts.store import Store
from grandopt.compiler.build import Candidate, build
from grandopt.runtime.loader import load
from grandopt.workflows.exporting.arm_source import arm_source
from grandopt.workflows.exporting.c_library import export_c
from tests.exporting.test_carried import shipped
from tests.native.conftest import BEST
from tests.small_agents import Pair, draw, program

CROSS = "aarch64-linux-gnu-gcc"

pytestmark = [
    pytest.mark.skipif(architecture() == "aarch64", reason="what is built here is for Arm already"),
    pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed"),
    pytest.mark.skipif(
        shutil.which(CROSS) is None,
        reason=f"{CROSS} is not installed (Debian: gcc-aarch64-linux-gnu, libc6-dev-arm64-cross)",
    ),
]


def made(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = ["make", "-C", str(folder), f"CC={CROSS}", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return shipped(tmp_path_factory.mktemp("arm"), program(Pair), BEST)


@pytest.mark.slow
def test_make_with_a_compiler_for_arm_builds_what_runs_there(artifact: Artifact, tmp_path: Path) -> None:
    folder = tmp_path / "c"
    names = export_c(artifact.path, folder)
    assert {"GNUmakefile", "aarch64/agent.armv8-a.c", "aarch64/weights.bin", "aarch64/run.c"} <= set(names)
    done = made(folder)
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stderr
    emulator = shutil.which("qemu-aarch64")
    if emulator is None:
        pytest.skip("qemu-aarch64 is not installed (Debian: qemu-user)")
    inputs = draw(program(Pair), 1)
    text = " ".join(f"{number:.9g}" for array in inputs for number in array.reshape(-1))
    ours = np.concatenate([output.reshape(-1) for output in load(artifact.path).run(inputs)])
    for example in ("example_c", "example_c_shared"):
        ran = subprocess.run(
            [emulator, "-L", "/usr/aarch64-linux-gnu", folder / "aarch64" / example],
            input=text, capture_output=True, text=True, timeout=60, check=True,
        )  # fmt: skip
        np.testing.assert_allclose(np.array(ran.stdout.split(), float), ours, rtol=1e-5, atol=1e-6)


def test_without_a_program_make_says_what_is_missing(tmp_path: Path) -> None:
    """And the machine's own compiler builds as ever."""
    artifact = build(program(Pair), Candidate("float32", BEST), Store(tmp_path / "store"))
    export_c(artifact.path, tmp_path / "c")
    done = made(tmp_path / "c")
    assert done.returncode == 2
    assert "there is no source for aarch64 here: " in done.stderr
    assert "carries no program" in done.stderr
    assert made(tmp_path / "c", "CC=cc", "--dry-run").returncode == 0


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"scaled": ["state"]}, "its int8 codes follow observations that were recorded"),
        ({"weights": "mixed"}, "which layers may be of fewer bits is measured on observations"),
        ({"tile": "$(shell touch /tmp/made)"}, "validation error"),
    ],
    ids=["scaled", "mixed", "damaged"],
)
def test_what_cannot_be_rendered_for_arm_is_said(
    artifact: Artifact, options: dict[str, object], reason: str
) -> None:
    changed = {**artifact.manifest.options, **options}
    files = arm_source(replace(artifact, manifest=replace(artifact.manifest, options=changed)))
    assert list(files) == ["GNUmakefile"]
    text = files["GNUmakefile"].decode()
    assert reason in text
    assert text.count("(") == text.count(")") == 5
    assert "touch" not in text
    assert str(artifact.path) not in text
