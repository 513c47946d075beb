"""RecurrentPPO zips of sb3-contrib: the LSTM steps as sb3-contrib's `predict` does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from grandopt.artifacts.store import Store
from grandopt.compiler.build import Candidate, build
from grandopt.compiler.capture.export import capture
from grandopt.compiler.checkpoints import detect
from grandopt.config.schema import AgentConfig
from grandopt.errors import CheckpointError
from grandopt.runtime.loader import load
from grandopt.signature import Array
from tests.checkpoints import sb3_zips as zips
from tests.native.conftest import BEST

POLICY = ("sb3_contrib.common.recurrent.policies", "RecurrentActorCriticPolicy")
OBSERVED, HIDDEN, WIDTH = 4, 24, 16


def weights(layers: int = 1, outputs: int = 3, width: int = WIDTH) -> dict[str, torch.Tensor]:
    """As sb3-contrib names them; the critic has an LSTM of its own, which the actor does not need."""
    made = zips.Weights()
    if width:
        made.mlp("mlp_extractor.policy_net", HIDDEN, width).mlp("mlp_extractor.value_net", HIDDEN, width)
    made.layer("action_net", outputs, width or HIDDEN).layer("value_net", 1, width or HIDDEN)
    generator = torch.Generator().manual_seed(5)
    for name in ("lstm_actor", "lstm_critic"):
        lstm = nn.LSTM(OBSERVED, HIDDEN, num_layers=layers)
        for key, value in lstm.state_dict().items():
            made.tensors[f"{name}.{key}"] = 0.4 * torch.randn(value.shape, generator=generator)
    return made.tensors


def stepped(tensors: dict[str, torch.Tensor], rows: Array, starts: Array) -> Array:
    """Scores or means [T, B, n]: per step the state times (1 - start), the LSTM, tanh layers, the action."""
    own = {key.removeprefix("lstm_actor."): v for key, v in tensors.items() if key.startswith("lstm_actor.")}
    lstm = nn.LSTM(OBSERVED, HIDDEN, num_layers=len(own) // 4)
    lstm.load_state_dict(own)
    state: Sequence[torch.Tensor] = (torch.zeros(lstm.num_layers, rows.shape[1], HIDDEN),) * 2
    found = []
    with torch.no_grad():
        for row, start in zip(torch.from_numpy(rows), torch.from_numpy(starts).float(), strict=True):
            kept = [(1.0 - start).view(1, -1, 1) * part for part in state]
            latent, state = lstm(row.unsqueeze(0), (kept[0], kept[1]))
            latent = latent.squeeze(0)
            for layer in ("mlp_extractor.policy_net.0",):
                if f"{layer}.weight" in tensors:
                    latent = torch.tanh(
                        nn.functional.linear(latent, tensors[f"{layer}.weight"], tensors[f"{layer}.bias"])
                    )
            found.append(
                nn.functional.linear(latent, tensors["action_net.weight"], tensors["action_net.bias"])
            )
    return torch.stack(found).numpy()


@pytest.mark.parametrize(
    ("action", "layers", "outputs", "width", "kwargs"),
    [
        (zips.discrete(3), 1, 3, WIDTH, {}),
        (zips.box(-1, 1, (2,)), 2, 2, 0, {"n_lstm_layers": 2, "shared_lstm": True, "net_arch": []}),
    ],
    ids=["discrete", "box"],
)
def test_a_zip_steps_as_sb3_does(
    tmp_path: Path, action: zips.Json, layers: int, outputs: int, width: int, kwargs: zips.Json
) -> None:
    tensors = weights(layers, outputs, width)
    path = zips.write_zip(
        tmp_path / "a.zip", POLICY, zips.box(-5, 5, (OBSERVED,)), action, tensors, kwargs, clip_range=0.2
    )
    checkpoint = detect.load("a", AgentConfig(checkpoint=path))
    assert checkpoint.source.details["algorithm"] == "RecurrentPPO"
    program = capture(checkpoint)
    assert [spec.name for spec in program.signature.inputs] == ["observation", "episode_start", "h", "c"]
    executor = load(build(program, Candidate("float32", BEST), Store(tmp_path / "store")).path)
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((30, 3, OBSERVED)).astype(np.float32)
    starts = rng.random((30, 3)) < 0.2
    starts[0] = True
    scores = stepped(tensors, rows, starts)
    wanted = scores.argmax(axis=-1) if outputs == 3 else scores.clip(-1, 1)
    session = executor.session(3)
    h = c = np.ones((3, layers, HIDDEN), np.float32)  # whatever came before: every episode starts in step 0
    for row, start, right in zip(rows, starts, wanted, strict=True):
        plain, h, c = executor(row, start, h, c)
        session.reset(start)
        for found in (plain, session(row)):
            np.testing.assert_allclose(found, right, rtol=0, atol=2e-6)
    np.testing.assert_allclose(session.state["h"], h, rtol=0, atol=1e-6)


GRU = nn.GRU(OBSERVED, HIDDEN)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lstm_actor.weight_ih_l0_reverse": torch.zeros(96, 4)}, "in one direction: weight_ih_l0_reverse"),
        ({"lstm_actor.weight_hh_l0": torch.zeros(96, 23)}, "has 96 rows for a state of 23"),
        ({"lstm_actor.weight_ih_l0": torch.zeros(96)}, "are missing or no matrices"),
        ({"lstm_actor.extra": torch.zeros(1)}, "is no LSTM in one direction: extra"),
        (
            {f"lstm_actor.{key}": value for key, value in GRU.state_dict().items()},
            "is a GRU, and sb3-contrib",
        ),
    ],
)
def test_other_layers_are_refused(tmp_path: Path, change: dict[str, torch.Tensor], message: str) -> None:
    path = zips.write_zip(
        tmp_path / "a.zip", POLICY, zips.box(-5, 5, (OBSERVED,)), zips.discrete(3), weights() | change
    )
    with pytest.raises(CheckpointError, match=message):
        detect.load("a", AgentConfig(checkpoint=path))
