"""MaskablePPO of sb3-contrib, against its formula: -1e8 for what is forbidden, then the likeliest."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from grandopt.compiler.checkpoints import detect
from grandopt.compiler.checkpoints.base import Checkpoint
from grandopt.config.schema import AgentConfig
from grandopt.errors import CheckpointError
from grandopt.signature import Contract
from grandopt.verification.known import decisions
from tests.checkpoints import sb3_zips as zips
from tests.checkpoints.sb3_zips import Weights

MASKABLE = ("sb3_contrib.common.maskable.policies", "MaskableActorCriticPolicy")
BATCH = 64


def _load(path: Path) -> Checkpoint:
    return detect.load("agent", AgentConfig(checkpoint=path))


def _written(path: Path, action: zips.Json, scores: int, observation: zips.Json | None = None) -> Weights:
    made = Weights().mlp("mlp_extractor.policy_net", 6, 16, 8).layer("action_net", scores, 8)
    zips.write_zip(path, MASKABLE, observation or zips.box(-2, 2, (6,)), action, made.tensors)
    return made


def _logits(made: Weights, x: torch.Tensor) -> torch.Tensor:
    for name in ("mlp_extractor.policy_net.0", "mlp_extractor.policy_net.2"):
        x = F.linear(x, made.tensors[f"{name}.weight"], made.tensors[f"{name}.bias"]).tanh()
    return F.linear(x, made.tensors["action_net.weight"], made.tensors["action_net.bias"])


def _asked(scores: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Observations and masks; of the first two rows nothing and everything is allowed."""
    generator = torch.Generator().manual_seed(1)
    masks = torch.rand((BATCH, scores), generator=generator) < 0.4
    masks[0], masks[1] = False, True
    return torch.randn((BATCH, 6), generator=generator), masks


@pytest.mark.parametrize(
    ("action", "groups"),
    [
        (zips.discrete(5), (5,)),
        (zips.multi_discrete(3, 2), (3, 2)),
        (zips.multi_binary(3), (2, 2, 2)),
    ],
)
def test_the_likeliest_allowed_action_is_taken(
    tmp_path: Path, action: zips.Json, groups: tuple[int, ...]
) -> None:
    made = _written(tmp_path / "a.zip", action, sum(groups))
    checkpoint = _load(tmp_path / "a.zip")
    observation, masks = _asked(sum(groups))
    masked = torch.where(masks, _logits(made, observation), torch.tensor(-1e8))
    wanted = torch.stack([part.argmax(1) for part in masked.split(list(groups), 1)], 1)
    got = checkpoint.module(observation, masks)
    assert torch.equal(got if len(groups) > 1 else got[:, None], wanted)
    assert [(spec.name, spec.shape, spec.dtype) for spec in checkpoint.inputs] == [
        ("observation", (6,), "float32"),
        ("action_masks", (sum(groups),), "bool"),
    ]
    assert checkpoint.contract == Contract("argmax", groups=groups)
    assert checkpoint.source.details["algorithm"] == "MaskablePPO"


def test_scores_lead_to_the_action_and_keep_the_size_of_the_network_s_own(tmp_path: Path) -> None:
    made = _written(tmp_path / "a.zip", zips.multi_discrete(3, 2), 5)
    checkpoint = _load(tmp_path / "a.zip")
    observation, masks = _asked(5)
    assert checkpoint.scores is not None
    scores = checkpoint.scores(observation, masks)
    logits = _logits(made, observation)
    torch.testing.assert_close(scores[masks], logits[masks])
    assert scores.abs().max() <= logits.abs().max() + 1
    taken = decisions(checkpoint.contract, scores.detach().numpy())
    assert (taken == checkpoint.module(observation, masks).numpy()).all()


def test_masks_stand_behind_the_observations_of_a_dict(tmp_path: Path) -> None:
    observed = zips.dictionary("{'a': Box(-1.0, 1.0, (4,), float32), 'b': Discrete(2)}")
    made = _written(tmp_path / "a.zip", zips.discrete(3), 3, observed)
    checkpoint = _load(tmp_path / "a.zip")
    assert [spec.name for spec in checkpoint.inputs] == ["a", "b", "action_masks"]
    a, b = torch.randn(BATCH, 4), torch.randint(0, 2, (BATCH,))
    masks = torch.tensor([[True, False, True]]).expand(BATCH, 3)
    logits = _logits(made, torch.cat([a, F.one_hot(b, 2).float()], 1))
    logits[:, 1] = -1e8
    assert torch.equal(checkpoint.module(a, b, masks), logits.argmax(1))


@pytest.mark.parametrize(
    ("action", "scores", "message"),
    [
        (zips.box(-1, 1, (2,)), 2, "MaskablePPO chooses from actions, but the action space is a Box"),
        (zips.space("MultiBinary", n=[2, 2], _shape=[2, 2]), 8, r"in one row, the action space is \[2, 2\]"),
        (zips.discrete(4), 5, "the last layer gives 5 numbers, the action space takes 4"),
    ],
)
def test_actions_that_cannot_be_masked_are_refused(
    tmp_path: Path, action: zips.Json, scores: int, message: str
) -> None:
    _written(tmp_path / "a.zip", action, scores)
    with pytest.raises(CheckpointError, match=message):
        _load(tmp_path / "a.zip")
