"""MaskablePPO and CrossQ zips made by sb3-contrib itself, where it is installed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.checkpoints.frameworks import environment
from tests.checkpoints.frameworks.agreement import RANGE_SHARE, loaded

MASKED = ("discrete", "multi_discrete", "multi_binary", "dict")
CROSSQ = ("crossq", "crossq_sde", "crossq_plain", "crossq_epsilon")


@pytest.mark.slow
def test_zips_of_sb3_contrib_itself_do_the_same(tmp_path: Path) -> None:
    made = environment.made_by("sb3_contrib_2", tmp_path)
    for name in (*MASKED, *CROSSQ):
        found = loaded(made / f"{name}.zip")
        with np.load(made / f"{name}.npz") as wanted:
            given = found.module(*(torch.from_numpy(wanted[spec.name]) for spec in found.inputs)).numpy()
            action = wanted["action"]
        assert given.shape == action.shape
        assert len(np.unique(action)) > 1
        allowed = RANGE_SHARE * np.ptp(action) if name in CROSSQ else 0
        assert np.abs(given - action).max() <= allowed, name
