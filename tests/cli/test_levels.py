"""Chosen feature levels: what a build gets of them, and the refusal of those that cannot be had here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from grandopt.artifacts.machine import architecture, cpu_features
from grandopt.cli.app import main
from grandopt.compiler.backends.native import level_choice
from grandopt.compiler.backends.native.level_choice import check_levels
from grandopt.compiler.backends.native.levels import LEVELS, levels_for, of_architecture
from grandopt.config.engines import NativeOptions
from grandopt.errors import BuildError, ConfigError, EngineUnavailableError

OWN = [level.name for level in of_architecture(architecture())]
FOREIGN = next(level.name for level in LEVELS if level.name not in OWN)
RUNNABLE = [level.name for level in of_architecture(architecture()) if cpu_features() >= set(level.features)]
AGENT = ("--agent", "lvn_embedder")


@pytest.mark.parametrize(
    ("words", "file", "said"),
    [
        (("optimize", "--levels", "x86-64-v9"), "", "'x86-64-v9' is unknown"),
        (("benchmark", "--levels", "x86-64-v9"), "", "'x86-64-v9' is unknown"),
        (("tune", "--levels", "x86-64-v9"), "", "'x86-64-v9' is unknown"),
        (("optimize",), "levels: [x86-64-v9]\n", "'x86-64-v9' is unknown"),
        (("optimize", "--levels", FOREIGN), "", f"'{FOREIGN}' is one of "),
        (("optimize", "--levels", f"{OWN[-1]},{FOREIGN}"), "", f"'{FOREIGN}' is one of "),
    ],
)
def test_levels_that_cannot_be_had_are_refused_with_the_choices(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    file: str,
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    if file:
        (tmp_path / "grandopt.yaml").write_text(file)
    assert main([*words, *AGENT, "-q", "--json"]) == 2
    printed = capsys.readouterr()
    assert said in printed.err
    assert f"this machine ({architecture()}) has {', '.join(OWN)}" in printed.err
    assert printed.out == ""
    assert not (tmp_path / "artifacts").exists()


@pytest.mark.parametrize("text", ["", "x86-64-v3,", ",x86-64-v3"])
def test_a_list_without_a_name_is_refused(capsys: pytest.CaptureFixture[str], text: str) -> None:
    assert main(["optimize", "--levels", text, *AGENT]) == 2
    assert (
        f"--levels must read NAME,NAME, such as x86-64-v4,x86-64-v3, got {text!r}" in capsys.readouterr().err
    )


def test_levels_that_the_cpu_cannot_run_may_stand_beside_one_that_it_can(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    check_levels(OWN)
    monkeypatch.setattr(level_choice, "cpu_features", lambda: cpu_features() - {"avx2", "asimd"})
    with pytest.raises(ConfigError, match=f"can run none of {OWN[0]}, so .* it can run no level"):
        check_levels(OWN[:1])


def test_a_level_beyond_the_compiler_is_refused_with_those_it_can_build(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without any compiler it is the build that says so."""

    *beyond, last = of_architecture(architecture())

    class Old:
        version = "gcc 7"

        def run(self, arguments: list[str], folder: Path) -> None:
            if not set(arguments) >= set(last.flags) or len(arguments) > len(last.flags) + 4:
                raise BuildError("unrecognized command-line option")

    monkeypatch.setattr(level_choice, "find_compiler", Old)
    check_levels([last.name])
    with pytest.raises(ConfigError, match=f"is beyond the C compiler .gcc 7., which can build {last.name}$"):
        check_levels([last.name, beyond[0].name])

    def none() -> None:
        raise EngineUnavailableError("no C compiler found")

    monkeypatch.setattr(level_choice, "find_compiler", none)
    check_levels(OWN)


def test_only_an_engine_that_builds_for_levels_takes_them() -> None:
    from grandopt.compiler.candidates import LIST

    for candidate, _, _ in LIST:
        chosen = candidate.at_levels(("x86-64-v3",))
        if isinstance(candidate.options, NativeOptions):
            assert chosen.options == candidate.options.model_copy(update={"levels": ("x86-64-v3",)})
            assert chosen.label.endswith("/x86-64-v3")
        else:
            assert chosen == candidate


@pytest.mark.slow
def test_the_artifact_holds_the_levels_that_were_chosen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = list(dict.fromkeys([OWN[0], RUNNABLE[-1]]))
    words = ("--engine", "native", "--precision", "float32", "--budget", "120", "--output", str(tmp_path))
    assert main(["optimize", *AGENT, *words, "--levels", ",".join(chosen), "-q", "--json"]) == 0
    capsys.readouterr()
    manifest = json.loads((tmp_path / "artifacts" / "lvn_embedder" / "manifest.json").read_text())
    # The build with shorter vectors may win on a CPU with AVX-512; it has the chosen levels that have them.
    bits = manifest["options"]["vector_bits"]
    expected = [level.name for level in levels_for(architecture(), chosen, vector_bits=bits)]
    assert list(manifest["options"]["levels"]) == expected
