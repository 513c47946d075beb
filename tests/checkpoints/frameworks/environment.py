"""The frameworks whose checkpoints are read, each installed beside the torch that is here.

`python -m tests.checkpoints.frameworks.environment [NAME…]` installs them, or those named. Where one cannot
be had, its tests are skipped.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.environments import LIMIT_S, Environment, install

LOGGING = (
    *("tensorboard==2.20.0", "tensorboardX==2.6.4", "absl-py==2.5.1", "protobuf==7.36.2"),
    *("GitPython==3.2.1", "gitdb==4.0.12", "smmap==5.0.3"),
)
"""What several import before they do anything."""

GYMNASIUM = ("gymnasium==1.4.0", "farama-notifications==0.0.6", "cloudpickle==3.1.2")
TENSORDICT = ("tensordict==0.15.3", "pyvers==0.2.3")

PACKAGES: dict[str, tuple[str, ...]] = {
    "rsl_rl_5": ("rsl-rl-lib==5.5.1", *TENSORDICT, *LOGGING),
    "rsl_rl_3": ("rsl-rl-lib==3.3.0", *TENSORDICT, *LOGGING),
    "rsl_rl_2": ("rsl-rl-lib==2.3.3", *TENSORDICT, *LOGGING),
    "rl_games": ("rl-games==1.6.5", *GYMNASIUM, *LOGGING),
    "skrl_2": ("skrl==2.1.1", *GYMNASIUM, *LOGGING),
    "brax_0_14": (
        *("brax==0.14.2", "flax==0.12.8", "jax==0.10.2", "jaxlib==0.10.2", "ml-dtypes==0.6.0"),
        *("orbax-checkpoint==0.12.8", "tensorstore==0.1.86", "optax==0.2.8", "etils==1.15.0"),
        *("ml-collections==1.1.0", "msgpack==1.2.4", "opt-einsum==3.4.0", "scipy==1.17.1"),
        *("absl-py==2.5.1", "aiofiles==25.1.0", "humanize==4.17.0", "protobuf==7.36.2"),
        *("simplejson==4.3.0", "treescope==0.1.10", "uvloop==0.23.0", "zipp==4.1.2"),
    ),
    "lerobot_0_4": (
        *("lerobot==0.4.4", "torchvision==0.28.0", "draccus==0.10.0", "einops==0.8.1"),
        *("huggingface-hub==0.35.3", "mergedeep==1.3.4", "pyyaml-include==1.4.1", "requests==2.34.2"),
        *("toml==0.10.2", "typing-inspect==0.9.0", "urllib3==2.8.0", "termcolor==3.3.0"),
        *("certifi==2026.10.19.post1", "charset-normalizer==3.5.3", "idna==3.20"),
    ),
    "tianshou_2": ("tianshou==2.0.1", "sensai-utils==1.6.0", *GYMNASIUM),
    "sample_factory_2": ("sample-factory==2.1.1", *GYMNASIUM),
    "d3rlpy_2": (
        *(
            "d3rlpy==2.8.1",
            "gym==0.26.2",
            "gym-notices==0.1.0",
            "dataclasses-json==0.6.7",
            "marshmallow==4.4.0",
        ),
        *("typing-inspect==0.9.0", "structlog==26.1.0", "colorama==0.4.6", *GYMNASIUM),
    ),
    "sb3_contrib_2": ("sb3-contrib==2.7.1", "stable-baselines3==2.7.1", *GYMNASIUM),
    "skrl_1": ("skrl==1.4.3", *GYMNASIUM, *LOGGING),
}
"""By the name of the script in `made_by` that they are for: what is installed."""

ENVIRONMENTS = {name: Environment("frameworks", name, packages) for name, packages in PACKAGES.items()}

SCRIPTS = Path(__file__).parent / "made_by"


def made_by(name: str, output: Path, *arguments: str) -> Path:
    """Run the script `made_by/NAME.py OUTPUT ARGUMENTS` in its environment; `output`, which it writes to.

    Skips the test where the environment is not installed.
    """
    if not ENVIRONMENTS[name].is_there:
        pytest.skip(f"{name} is not installed: python -m tests.checkpoints.frameworks.environment {name}")
    done = subprocess.run(
        [sys.executable, "-P", str(SCRIPTS / f"{name}.py"), str(output), *arguments],
        env=ENVIRONMENTS[name].variables(SCRIPTS),
        cwd=output,
        timeout=LIMIT_S,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return output


if __name__ == "__main__":
    install(ENVIRONMENTS, "Install the frameworks whose checkpoints are read.")
