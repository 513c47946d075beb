"""Exit codes, error lines and streams of the command line."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from grandopt.cli import app as app_module
from grandopt.cli.app import COMMANDS, GROUPS, main
from grandopt.errors import BuildError, ConfigError, GrandoptError
from tests.cli.conftest import PROGRAM, Grandopt, assert_one_error_line

PATHS = [*((name,) for name in COMMANDS), ("report", "show")]


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> list[BaseException]:
    """Makes every command line fail with the error put into the returned list."""
    errors: list[BaseException] = []

    def run(words: list[str]) -> int:
        raise errors[0]

    monkeypatch.setattr(app_module, "_run", run)
    return errors


def test_version(grandopt: Grandopt) -> None:
    result = grandopt("--version")
    assert (result.returncode, result.stdout) == (0, f"grandopt {version('grandopt')}\n")


@pytest.mark.parametrize("words", [(), *PATHS], ids=" ".join)
def test_every_help_has_an_example(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*words, "--help"]) == 0
    text = capsys.readouterr().out
    assert "\n  Example:\n    grandopt " in text
    assert max(map(len, text.splitlines())) <= 100


def test_the_readme_names_every_command() -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    listed = readme.partition("`grandopt COMMAND --help` show the rest:")[2].partition(".\n")[0]
    assert {word.strip("` \n") for word in listed.split(",")} == {*COMMANDS, *GROUPS}


@pytest.mark.parametrize(
    ("words", "heavy"),
    [
        (("--help",), ("torch", "optuna", "numpy", "pydantic", "rich", "yaml")),
        # Typer itself imports pydantic to read the options of a command.
        *(((*words, "--help"), ("torch", "optuna", "numpy", "rich", "yaml")) for words in PATHS),
    ],
    ids=lambda value: value[0],
)
def test_help_imports_only_what_it_needs(
    environ: dict[str, str], words: tuple[str, ...], heavy: tuple[str, ...]
) -> None:
    code = (
        f"import sys; from grandopt.cli.app import main; main({list(words)!r});"
        f"found = {set(heavy)!r} & set(sys.modules); sys.exit(f'imported: {{found}}' if found else 0)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("docter",), "no such command 'docter'. Did you mean 'doctor'? (usage: `grandopt --help`)"),
        (("doctor", "--jsn"), "no such option: --jsn"),
        (("inspect",), "missing argument 'PATH' (usage: `grandopt inspect --help`)"),
        (("report", "shw"), "no such command 'shw'. Did you mean 'show'? (usage: `grandopt report --help`)"),
        ((), "missing command (usage: `grandopt --help`)"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_2(grandopt: Grandopt, words: tuple[str, ...], said: str) -> None:
    result = grandopt(*words)
    assert result.returncode == 2
    assert_one_error_line(result)
    assert said in result.stderr


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (ConfigError("unknown profile 'fast'"), 2, "error: unknown profile 'fast'\n"),
        (BuildError("the compiler said no"), 1, "error: the compiler said no\n"),
        (GrandoptError("two\nlines \x1b[31m"), 1, "error: two\\nlines \\x1b[31m\n"),
        (KeyboardInterrupt(), 130, "error: interrupted\n"),
    ],
)
def test_errors_become_exit_codes(
    failing: list[BaseException],
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    code: int,
    said: str,
) -> None:
    failing.append(error)
    assert main(["doctor"]) == code
    assert capsys.readouterr() == ("", said)


@pytest.mark.parametrize("verbose", [False, True])
def test_a_bug_is_one_line_and_its_traceback_is_kept(
    failing: list[BaseException],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    verbose: bool,
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    failing.append(ZeroDivisionError("by nothing\nat all"))
    assert main(["doctor", "-v"] if verbose else ["doctor"]) == 70
    lines = capsys.readouterr().err.splitlines()
    (trace,) = tmp_path.iterdir()
    assert lines[0] == (
        f"error: this is a bug in grandopt: ZeroDivisionError: by nothing; the traceback is in {trace}"
    )
    assert trace.read_text().startswith("Traceback")
    assert ("Traceback (most recent call last):" in lines[1:]) is verbose


def test_a_traceback_that_cannot_be_kept_is_shown(
    failing: list[BaseException], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/nowhere/at/all")
    failing.append(ZeroDivisionError("by nothing"))
    assert main(["doctor"]) == 70
    said = capsys.readouterr().err
    assert "could not be saved (No such file or directory)" in said
    assert "Traceback (most recent call last):" in said


def test_a_broken_pipe_to_someone_else_is_a_bug(
    failing: list[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(app_module, "stdout_is_abandoned", lambda: False)
    failing.append(BrokenPipeError(errno.EPIPE, "Broken pipe"))
    assert main(["doctor"]) == 70


@pytest.mark.parametrize(
    "words", [("--help",), ("inspect", "artifacts/gate"), ("inspect", "artifacts/gate", "--json")]
)
def test_a_reader_that_leaves_is_no_error(
    artifact: Path, environ: dict[str, str], words: tuple[str, ...]
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        result = subprocess.run(
            [*PROGRAM, *words],
            cwd=artifact.parents[1],
            env=environ,
            stdout=writer,
            stderr=subprocess.PIPE,
            check=False,
        )
    finally:
        os.close(writer)
    assert (result.returncode, result.stderr) == (141, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_full_disk_is_one_line(environ: dict[str, str]) -> None:
    with Path("/dev/full").open("wb") as full:
        result = subprocess.run(
            [*PROGRAM, "--version"], env=environ, stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert result.returncode == 2
    assert result.stderr == "error: cannot be written (No space left on device); make room\n"


def test_closed_streams_are_no_error(environ: dict[str, str]) -> None:
    command = [*PROGRAM, "--version"]
    code = (
        "import os, subprocess, sys; os.close(1); os.close(2);"
        "sys.exit(subprocess.run(sys.argv[1:], stdin=subprocess.DEVNULL).returncode)"
    )
    result = subprocess.run([sys.executable, "-c", code, *command], env=environ, check=False)
    assert result.returncode == 0


def test_a_narrow_encoding_is_no_error(artifact: Path, grandopt: Grandopt) -> None:
    result = grandopt("inspect", artifact.parent / "gäte", PYTHONIOENCODING="ascii")
    assert result.returncode == 2
    assert_one_error_line(result)


def test_ctrl_c_ends_with_130(environ: dict[str, str]) -> None:
    watched = str(os.getpid())
    process = subprocess.Popen(
        [*PROGRAM, "memory", "watch", watched, "--interval", "0.05"],
        env=environ, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    process.stderr.readline()  # its first reading: from here on it waits for the next
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said.splitlines()[-1]) == (130, "error: interrupted")
