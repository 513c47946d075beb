"""The engines that take part in a benchmark without ever being shipped."""

from __future__ import annotations

from typing import Literal

RivalName = Literal["torch.compile", "onnxruntime", "executorch"]

RIVALS: tuple[RivalName, ...] = ("torch.compile", "onnxruntime", "executorch")
"""All of them; "onnxruntime" stands for its plain `run`, beside the bound memory that is shipped."""

EXECUTORCH_INSTALL = (
    "not installed; python -m venv et && et/bin/pip install torch==2.13.0 executorch==1.4.1, then "
    "--rival executorch=et/bin/python"
)
"""ExecuTorch's package names no torch that it needs; release 1.4 fits torch 2.13."""
