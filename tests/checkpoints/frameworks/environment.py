"""The frameworks whose checkpoints are read, each installed beside the torch that is here.

`python -m tests.checkpoints.frameworks.environment [NAME…]` installs them, or those named, into folders of
their own; nothing that Python imports here by itself changes. Versions are pinned, and dependencies are those
listed and no others, because a framework asks for another torch. Where one cannot be had, its tests are
skipped.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

LOGGING = (
    *("tensorboard==2.20.0", "tensorboardX==2.6.4", "absl-py==2.5.1", "protobuf==7.36.2"),
    *("GitPython==3.2.1", "gitdb==4.0.12", "smmap==5.0.3"),
)
"""What several import before they do anything."""

GYMNASIUM = ("gymnasium==1.4.0", "farama-notifications==0.0.6")
TENSORDICT = ("tensordict==0.15.3", "pyvers==0.2.3")

ENVIRONMENTS: dict[str, tuple[str, ...]] = {
    "rsl_rl_5": ("rsl-rl-lib==5.5.1", *TENSORDICT, *LOGGING),
    "rsl_rl_3": ("rsl-rl-lib==3.3.0", *TENSORDICT, *LOGGING),
    "rsl_rl_2": ("rsl-rl-lib==2.3.3", *TENSORDICT, *LOGGING),
    "rl_games": ("rl-games==1.6.5", *GYMNASIUM, *LOGGING),
    "skrl_2": ("skrl==2.1.1", *GYMNASIUM, *LOGGING),
    "skrl_1": ("skrl==1.4.3", *GYMNASIUM, *LOGGING),
}
"""By the name of the script in `made_by` that they are for: what is installed."""

SCRIPTS = Path(__file__).parent / "made_by"
LIMIT_S = 300


def folder(name: str) -> Path:
    """Where the environment is, or would be: below this Python's own, by what is in it."""
    digest = hashlib.sha256(" ".join(ENVIRONMENTS[name]).encode()).hexdigest()[:12]
    return Path(sys.prefix) / "frameworks" / f"{name}-{digest}"


def installed(name: str) -> str:
    """Install the environment unless it is there; what happened, in words."""
    target = folder(name)
    if target.is_dir():
        return "there"
    target.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as made:
        command = [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--no-deps",
        ]
        try:
            subprocess.run(
                [*command, "--target", f"{made}/{name}", *ENVIRONMENTS[name]],
                check=True,
                timeout=LIMIT_S,
                capture_output=True,
                text=True,
            )
        except (subprocess.SubprocessError, OSError) as error:
            said = str(getattr(error, "stderr", None) or error).strip().splitlines()
            return f"not installed: {said[-1] if said else type(error).__name__}"
        shutil.move(f"{made}/{name}", target)
    return "installed"


def made_by(name: str, output: Path, *arguments: str) -> Path:
    """Run the script `made_by/NAME.py OUTPUT ARGUMENTS` in its environment; `output`, which it writes to.

    Skips the test where the environment is not installed.
    """
    if not folder(name).is_dir():
        pytest.skip(f"{name} is not installed: python -m tests.checkpoints.frameworks.environment {name}")
    environment = {
        key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "COV_CORE"))
    }
    done = subprocess.run(
        [sys.executable, "-P", str(SCRIPTS / f"{name}.py"), str(output), *arguments],
        env={**environment, "PYTHONPATH": str(folder(name)), "OMP_NUM_THREADS": "1"},
        cwd=output,
        timeout=LIMIT_S,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return output


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(ENVIRONMENTS))
    for name in parser.parse_args().names or ENVIRONMENTS:
        print(f"{name}: {installed(name)}", flush=True)


if __name__ == "__main__":
    main()
