"""Where an engine's library is not installed, everything else works, and the report says what is missing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

WITHOUT = """
import sys
from importlib.machinery import PathFinder

class Without(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in {missing!r} else super().find_spec(name, path, target)

    @classmethod
    def find_distributions(cls, *args, **options):
        for found in super().find_distributions(*args, **options):
            if found.metadata["Name"] not in {missing!r}:
                yield found

sys.meta_path[sys.meta_path.index(PathFinder)] = Without
"""
"""A `sitecustomize` for every process of the run: its build and measuring processes inherit the path."""


def _grandopt(folder: Path, missing: tuple[str, ...], *arguments: str) -> subprocess.CompletedProcess[str]:
    site = folder / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(WITHOUT.format(missing=missing))
    return subprocess.run(
        [sys.executable, "-c", "import sys; from grandopt.cli.app import main; sys.exit(main())", *arguments],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(site), str(ROOT)])},
        timeout=240,
        check=False,
    )


@pytest.mark.parametrize(
    ("missing", "advice"),
    [
        pytest.param(
            ("onnxruntime", "openvino"),
            {
                "onnxruntime/float32": "pip install 'grandopt[onnx]'",
                "openvino/float32": "pip install 'grandopt[openvino]'",
            },
            marks=pytest.mark.slow,
        ),
        pytest.param(
            ("onnxscript",),
            {"onnxruntime/float32": "pip install 'grandopt[onnx]'"},
            marks=pytest.mark.stress,
        ),
    ],
    ids=["engines", "exporter"],
)
def test_optimize_goes_on_without_them(
    tmp_path: Path, missing: tuple[str, ...], advice: dict[str, str]
) -> None:
    engines = ("torchscript", "onnxruntime", "openvino")
    done = _grandopt(
        tmp_path,
        missing,
        *("optimize", "--agent", "lvn_embedder", "--precision", "float32", "--budget", "30", "--json"),
        *(argument for engine in engines for argument in ("--engine", engine)),
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    (agent,) = json.loads(done.stdout)["agents"]
    rows = {row["label"]: row for row in agent["candidates"]}
    for label, words in advice.items():
        assert rows[label]["status"] == "unavailable"
        assert rows[label]["reason"].startswith("No module named")
        assert words in rows[label]["reason"]
    assert agent["shipped"]["engine"] in ("torchscript", "eager")
    assert (tmp_path / "artifacts" / "lvn_embedder" / "manifest.json").is_file()
