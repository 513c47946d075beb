"""More threads than the machine grants are refused before anything is done, wherever they are asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from grandopt.cli.app import main
from grandopt.measurement.environment import available_cores

AGENT = ("--agent", "lvn_embedder")


@pytest.mark.parametrize(
    ("words", "file"),
    [
        (("optimize", *AGENT, "--threads", "9999"), ""),
        (("benchmark", *AGENT, "--threads", "9999"), ""),
        (("tune", *AGENT, "--threads", "9999"), ""),
        (("optimize", *AGENT), "threads: 9999\n"),
    ],
)
def test_they_are_refused_with_the_number_that_is_granted(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    file: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    if file:
        (tmp_path / "grandopt.yaml").write_text(file)
    assert main([*words, "-q", "--json"]) == 2
    printed = capsys.readouterr()
    assert f"9999 are asked for, but this machine grants {available_cores()}" in printed.err
    assert printed.out == ""
    assert not (tmp_path / "artifacts").exists()
