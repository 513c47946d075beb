"""What the processor offers that tests ask for."""

from __future__ import annotations

import pytest
import torch

from grandopt.compiler.passes.bfloat16 import INSTRUCTIONS


def has_bfloat16() -> bool:
    """Whether it computes in bfloat16; never with `pytest --without-bfloat16`."""
    return any(torch.cpu.get_capabilities().get(name) for name in INSTRUCTIONS)


def need_bfloat16() -> None:
    """Skip the test that calls this unless the processor computes in bfloat16."""
    if not has_bfloat16():
        pytest.skip("skipped: this processor has no bfloat16 arithmetic")
