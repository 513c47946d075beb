"""What a network prints is no result: it goes to stderr, and stdout holds one document."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from tests.workflows import command

ASIDE = """
import ctypes, os, sys
from grandopt.cli.console import prints_aside
print("before")
with prints_aside():
    print("python")
    ctypes.CDLL(None).printf(b"buffered in C\\n")
    os.write(1, b"descriptor\\n")
    os.system("echo child")
print("after")
"""


def test_everything_that_is_printed_meanwhile_goes_to_stderr() -> None:
    done = subprocess.run([sys.executable, "-c", ASIDE], capture_output=True, text=True, check=True)
    assert done.stdout == "before\nafter\n"
    assert sorted(done.stderr.split("\n")) == ["", "buffered in C", "child", "descriptor", "python"]


class Talks(nn.Module):
    """Says what it does."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(4, 2)

    def forward(self, state: torch.Tensor) -> torch.Tensor:
        latent: torch.Tensor = self.net(state)
        print("latent", latent.shape)
        return latent


@pytest.mark.slow
def test_an_archive_that_prints_leaves_one_document(tmp_path: Path) -> None:
    torch.jit.script(Talks()).save(tmp_path / "talks.pt")
    words = ("talks.pt", "--input", "state=4", "--profile", "basic", "--engine", "native", "--json", "-q")
    done = command.run(tmp_path, "optimize", *words)
    (agent,) = json.loads(done.stdout)["agents"]
    assert agent["status"] == "optimized", agent["reason"]
    assert "latent" in done.stderr
