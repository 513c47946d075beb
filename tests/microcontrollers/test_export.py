"""`grandopt export --to mcu`: what is written, what it is held to, and what is refused."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from torch import nn

from grandopt.artifacts.store import Store
from grandopt.cli.app import main
from grandopt.compiler.backends.native.plain.stages import plain
from grandopt.compiler.build import Candidate, build
from grandopt.compiler.capture.export import capture
from grandopt.compiler.checkpoints import reference
from grandopt.config.boards import BOARDS, Board, board
from grandopt.config.engines import EagerOptions
from grandopt.errors import ConfigError, OutputError, UnsupportedError
from grandopt.workflows.exporting.microcontroller.export import export_mcu
from grandopt.workflows.exporting.microcontroller.fit import ALLOWANCE, Fit, fitted
from grandopt.workflows.exporting.microcontroller.verification import observations, verified
from tests.microcontrollers.agents import Actor, Attending, Camera, Normalised, Remembering, Sequence, program
from tests.microcontrollers.emulated import tool
from tests.small_agents import draw


def recorded(kind: type[nn.Module], folder: Path, rows: int = 256) -> Path:
    """Observations of an agent, as a user recorded them."""
    of = program(kind)
    observed = {spec.name for spec in of.signature.observed(of.contract)}
    drawn = zip(of.signature.inputs, draw(of, rows, seed=5), strict=True)
    path = folder / "samples.npz"
    np.savez(path, **{spec.name: array for spec, array in drawn if spec.name in observed})
    return path


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An artifact that carries its program."""
    store = Store(tmp_path_factory.mktemp("store"))
    return build(program(Actor), Candidate("float32", EagerOptions()), store).path


def test_the_command_writes_one_folder_for_four_build_systems(
    artifact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tool("arm-none-eabi-gcc", "gcc-arm-none-eabi")
    folder = tmp_path / "actor-mcu"
    assert main(["export", str(artifact), str(folder), "--to", "mcu", "--board", "nucleo-f446re"]) == 0
    told = capsys.readouterr().out
    assert "verified on this machine in" in told
    assert "nucleo-f446re, Cortex-M4F: measured with arm-none-eabi-gcc" in told
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert names == {
        "src/actor.h", "examples/main.c", "examples/actor/actor.ino", "library.properties", "library.json",
        "CMakeLists.txt", "idf_component.yml", "fit.json",
    }  # fmt: skip
    report = json.loads((folder / "fit.json").read_text())
    assert report["verification"]["passed"]
    assert report["fit"]["board"]["flash_bytes"] == 512 * 1024
    assert report["fit"]["multiply_adds"] == 24 * 64 + 2 * 64 * 64 + 64 * 4
    assert json.loads((folder / "library.json").read_text())["headers"] == "actor.h"
    compiled = ["gcc", "-std=c99", "-Wall", "-Wextra", "-Werror", "-Isrc", "examples/main.c", "-o", "example"]
    if shutil.which("gcc") is not None:
        subprocess.run(compiled, cwd=folder, check=True)
        done = subprocess.run([folder / "example"], capture_output=True, text=True, check=True)
        assert len(done.stdout.split()) == 4


def test_the_sketch_is_c_plus_plus(tmp_path: Path) -> None:
    """Against an Arduino of two functions and one object."""
    compiler = tool("g++", "g++")
    export_mcu(program(Remembering), tmp_path / "mcu")
    stub = tmp_path / "Arduino.h"
    stub.write_text(
        "struct Port { void begin(long); void println(double, int); };\n"
        "extern Port Serial;\nvoid delay(long);\n"
    )
    sketch = tmp_path / "mcu" / "examples" / "remembering" / "remembering.ino"
    words = ["-std=c++11", "-Wall", "-Wextra", "-Werror", "-include", stub, "-x", "c++", "-c", sketch]
    subprocess.run([compiler, *words, f"-I{tmp_path}/mcu/src", "-o", tmp_path / "x.o"], check=True)


@pytest.mark.parametrize("kind", [Actor, pytest.param(Remembering, marks=pytest.mark.slow)])
def test_int8_is_verified_by_the_limits_of_reduced_precision(kind: type[nn.Module], tmp_path: Path) -> None:
    written = export_mcu(program(kind), tmp_path / "mcu", precision="int8", samples=recorded(kind, tmp_path))
    assert written.verification is not None
    assert written.verification.passed
    assert written.verification.precision == "int8_static"
    assert {check.norm for check in written.verification.outputs} == {"relative_l2"}


def test_int8_without_evidence_is_refused_and_nothing_is_written(
    artifact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "mcu"
    assert main(["export", str(artifact), str(folder), "--to", "mcu", "--precision", "int8"]) == 1
    assert "nothing is known of them; give recorded observations with --samples" in capsys.readouterr().err
    assert not folder.exists()


def test_int8_that_is_another_agent_is_refused(tmp_path: Path) -> None:
    """Calibrated on observations that are a thousandth of what it is then asked about."""
    of, known = program(Actor), observations(program(Actor), recorded(Actor, tmp_path))
    agent = plain(of, "int8", [array / 1000 for array in draw(of, 64)])
    verdict = verified(of, agent.source, "int8", known)
    assert verdict is not None
    assert not verdict.passed


def test_statistics_in_float64_are_written_and_let_nan_through(tmp_path: Path) -> None:
    """As Stable-Baselines3's normaliser is, with its clipping; NaN is among what is asked."""
    written = export_mcu(program(Normalised), tmp_path / "mcu")
    assert written.verification is not None
    assert written.verification.passed


def test_a_board_that_is_too_small_is_named_with_the_limit(tmp_path: Path) -> None:
    tool("arm-none-eabi-gcc", "gcc-arm-none-eabi")
    agent = plain(program(Actor), "float32")
    small = fitted(agent, board("blue-pill"))
    small.check("actor")
    assert small.board is not None
    wanted = r"actor does not fit blue-pill: it takes [\d,]+ bytes of RAM, the board has 512"
    with pytest.raises(UnsupportedError, match=wanted):
        Fit(**{**vars(small), "board": Board("blue-pill", "", (), 1 << 20, 512)}).check("actor")


def test_what_is_wrong_on_the_command_line(
    artifact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(tmp_path / "mcu")
    assert main(["export", str(artifact), folder, "--to", "mcu", "--board", "apollo"]) == 2
    assert "board 'apollo' is not known; choose one of arduino-nano-33-ble, " in capsys.readouterr().err
    assert main(["export", str(artifact), folder, "--board", "esp32"]) == 2
    assert "--board says nothing about --to c; leave it out" in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="is not empty"):
        export_mcu(program(Actor), tmp_path)
    with pytest.raises(ConfigError):
        board("")


def test_without_a_compiler_for_the_board_an_allowance_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    agent = plain(program(Actor), "float32")
    monkeypatch.setenv("PATH", "")
    for name in ("esp32", "teensy-4.1"):
        made = fitted(agent, board(name))
        assert made.code is None
        assert made.flash_bytes == agent.source.weight_bytes + ALLOWANCE
        assert made.to_json()["stack_bytes"] is None
        assert "stack not measured" in made.lines()[2]


def test_a_compiler_without_a_library_is_no_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("arm-none-eabi-gcc", "arm-none-eabi-size"):
        program_file = tmp_path / name
        program_file.write_text("#!/bin/sh\necho 'error: math.h: No such file' >&2\nexit 1\n")
        program_file.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    made = fitted(plain(program(Actor), "float32"), board("nucleo-f446re"))
    assert made.code is None
    assert made.reason is not None
    assert "math.h: No such file" in made.reason


def test_every_board_has_a_name_of_its_own_and_limits() -> None:
    assert len({one.name for one in BOARDS}) == len(BOARDS)
    assert all(one.flash_bytes > one.ram_bytes > 0 for one in BOARDS)


@pytest.mark.parametrize("core", ["blue-pill", "nucleo-f446re"])
@pytest.mark.parametrize(
    "kind", [Actor, *(pytest.param(kind, marks=pytest.mark.slow) for kind in (Sequence, Camera, Attending))]
)
def test_code_takes_less_than_is_allowed_beside_the_weights(kind: type[nn.Module], core: str) -> None:
    tool("arm-none-eabi-gcc", "gcc-arm-none-eabi")
    made = fitted(plain(program(kind), "float32"), board(core))
    assert made.code is not None
    assert made.code.code_bytes < ALLOWANCE


@pytest.mark.slow
@pytest.mark.parametrize("name", ["decision_gate", "strategic_system", "shared_policy", "regime_embedder"])
def test_reference_agents_are_the_same_and_fit_beside_their_weights(name: str, tmp_path: Path) -> None:
    tool("arm-none-eabi-gcc", "gcc-arm-none-eabi")
    of = capture(reference.load(name, name, 0), 0)
    written = export_mcu(of, tmp_path / "mcu", board="pixhawk-6x")
    assert written.verification is not None
    assert written.fit.code is not None
    assert written.fit.code.code_bytes < ALLOWANCE
