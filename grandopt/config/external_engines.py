"""The engines that take part in a benchmark without ever being shipped."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

from grandopt.config.engine import Precision

ExternalEngineName = Literal["torch.compile", "onnxruntime", "executorch", "litert", "mnn"]

EXTERNAL_ENGINES: tuple[ExternalEngineName, ...] = get_args(ExternalEngineName)

UNBOUND: ExternalEngineName = "onnxruntime"
"""ONNX Runtime's plain `run`, beside the bound memory that is shipped: the one external engine whose name is
that of an engine, too."""

ONLY_MEASURED = tuple(name for name in EXTERNAL_ENGINES if name != UNBOUND)
"""Those that build no candidates."""

WRITTEN: Mapping[ExternalEngineName, tuple[Precision, ...]] = {
    "litert": ("float32", "int8_dynamic"),
    "mnn": ("float32", "bfloat16"),
}
"""Those whose models are written by grandopt itself, and in which precisions."""

LIBRARIES: Mapping[str, tuple[str, ...]] = {
    "executorch": ("torch", "executorch"),
    "litert": ("ai-edge-litert",),
    "mnn": ("MNN",),
    "batched": ("torch", "batched"),
    "ray": ("torch", "ray"),
}
"""Those that need an environment of their own, and the packages that must be there; `batched` and `ray` serve
an agent (see `suites.serving`)."""

SERVING = ("batched", "ray")

COMMANDS: Mapping[str, str] = {
    "executorch": "python -m venv et && et/bin/pip install torch==2.13.0 executorch==1.4.1",
    "litert": "python -m venv litert && litert/bin/pip install ai-edge-litert==2.3.0",
    "mnn": "python -m venv mnn && mnn/bin/pip install MNN==3.6.1 numpy",
    "batched": "python -m venv batched && batched/bin/pip install torch==2.13.0 numpy batched==0.1.5",
    "ray": "python -m venv ray && ray/bin/pip install torch==2.13.0 numpy psutil xxhash zstandard "
    "'ray[serve]==2.60.0'",
}
"""What makes such an environment. ExecuTorch's package names no torch that it needs: 1.4 fits torch 2.13."""


def install(name: str) -> str:
    """What to say where an engine's environment was not named."""
    folder = COMMANDS[name].split()[3]
    return f"not installed; {COMMANDS[name]}, then --rival {name}={folder}/bin/python"
