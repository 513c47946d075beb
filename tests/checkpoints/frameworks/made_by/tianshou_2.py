"""Checkpoints of Tianshou's own algorithms, and what its own policies do: `tianshou_2.py OUTPUT`.

Writes NAME.pth, NAME.npz (`obs`, `action`) for each.
"""

from __future__ import annotations

import sys
from pathlib import Path

import gymnasium as gym
import numpy as np
import stand_ins
import torch

stand_ins.install(
    *("deepdiff", "numba", "pettingzoo", "h5py", "overrides", "matplotlib", "pandas", "tqdm"),
    first=["torch.utils.tensorboard", "tensorboard"],
)

from tianshou.algorithm import C51, DDPG, DQN, PPO, QRDQN, SAC  # noqa: E402
from tianshou.algorithm.modelfree.c51 import C51Policy  # noqa: E402
from tianshou.algorithm.modelfree.ddpg import ContinuousDeterministicPolicy  # noqa: E402
from tianshou.algorithm.modelfree.dqn import DiscreteQLearningPolicy  # noqa: E402
from tianshou.algorithm.modelfree.qrdqn import QRDQNPolicy  # noqa: E402
from tianshou.algorithm.modelfree.reinforce import DiscreteActorPolicy, ProbabilisticActorPolicy  # noqa: E402
from tianshou.algorithm.modelfree.sac import SACPolicy  # noqa: E402
from tianshou.algorithm.optim import AdamOptimizerFactory  # noqa: E402
from tianshou.data import Batch  # noqa: E402
from tianshou.utils.net.common import Net  # noqa: E402
from tianshou.utils.net.continuous import (  # noqa: E402
    ContinuousActorDeterministic,
    ContinuousActorProbabilistic,
    ContinuousCritic,
)
from tianshou.utils.net.discrete import DiscreteActor, DiscreteCritic  # noqa: E402

OBSERVED, SAMPLES = 7, 1000
LOW, HIGH = np.array([-2.0, 0.0, -1.0], np.float32), np.array([2.0, 3.0, 1.0], np.float32)
BOX = gym.spaces.Box(LOW, HIGH)
CHOICES = gym.spaces.Discrete(5)


def net(activation: type[torch.nn.Module] = torch.nn.ReLU, **extra: object) -> Net:
    return Net(state_shape=(OBSERVED,), hidden_sizes=[32, 24], activation=activation, **extra)


def critic() -> ContinuousCritic:
    return ContinuousCritic(preprocess_net=net(action_shape=(3,), concat=True))


def gaussian(**settings: object) -> ContinuousActorProbabilistic:
    return ContinuousActorProbabilistic(
        preprocess_net=net(torch.nn.Tanh), action_shape=(3,), hidden_sizes=[16], **settings
    )


def normal(parameters: tuple[torch.Tensor, torch.Tensor]) -> torch.distributions.Distribution:
    return torch.distributions.Independent(torch.distributions.Normal(*parameters), 1)


def ppo(**settings: object) -> PPO:
    policy = ProbabilisticActorPolicy(
        actor=gaussian(**settings), dist_fn=normal, deterministic_eval=True, action_space=BOX
    )
    return PPO(policy=policy, critic=ContinuousCritic(preprocess_net=net()), optim=AdamOptimizerFactory())


def sac() -> SAC:
    actor = gaussian(unbounded=True, conditioned_sigma=True)
    policy = SACPolicy(actor=actor, action_space=BOX)
    optim = AdamOptimizerFactory()
    return SAC(policy=policy, policy_optim=optim, critic=critic(), critic_optim=optim)


def ddpg() -> DDPG:
    actor = ContinuousActorDeterministic(preprocess_net=net(), action_shape=(3,), max_action=1.5)
    policy = ContinuousDeterministicPolicy(actor=actor, action_space=BOX)
    optim = AdamOptimizerFactory()
    return DDPG(policy=policy, policy_optim=optim, critic=critic(), critic_optim=optim)


def discrete_ppo() -> PPO:
    actor = DiscreteActor(preprocess_net=net(), action_shape=(5,))
    policy = DiscreteActorPolicy(
        actor=actor, dist_fn=torch.distributions.Categorical, deterministic_eval=True, action_space=CHOICES
    )
    return PPO(policy=policy, critic=DiscreteCritic(preprocess_net=net()), optim=AdamOptimizerFactory())


def dqn(dueling: bool) -> DQN:
    heads = ({"hidden_sizes": [16]}, {"hidden_sizes": [8]}) if dueling else None
    policy = DiscreteQLearningPolicy(model=net(action_shape=(5,), dueling_param=heads), action_space=CHOICES)
    return DQN(policy=policy, optim=AdamOptimizerFactory(), target_update_freq=10)


def c51() -> C51:
    model = net(action_shape=(5,), softmax=True, num_atoms=11)
    policy = C51Policy(model, CHOICES, num_atoms=11, v_min=-4.0, v_max=6.0)
    return C51(policy=policy, optim=AdamOptimizerFactory(), target_update_freq=10)


def qrdqn() -> QRDQN:
    model = net(action_shape=(5,), num_atoms=8)
    policy = QRDQNPolicy(model=model, action_space=CHOICES)
    return QRDQN(policy=policy, optim=AdamOptimizerFactory(), num_quantiles=8, target_update_freq=10)


def main(output: Path) -> None:
    torch.manual_seed(0)
    agents = {
        "ppo": ppo(unbounded=True),
        "ppo_bounded": ppo(max_action=0.8),
        "sac": sac(),
        "ddpg": ddpg(),
        "discrete_ppo": discrete_ppo(),
        "dqn": dqn(False),
        "dueling": dqn(True),
        "c51": c51(),
        "qrdqn": qrdqn(),
    }
    for name, algorithm in agents.items():
        with torch.no_grad():
            for tensor in algorithm.policy.parameters():
                if tensor.dim() == 2:
                    tensor.mul_(2.0)  # so that actions spread over the whole range
        algorithm.eval()
        observation = np.random.default_rng(1).standard_normal((SAMPLES, OBSERVED)).astype(np.float32)
        with torch.no_grad():
            action = algorithm.policy(Batch(obs=observation, info=Batch())).act
        mapped = algorithm.policy.map_action(action)
        torch.save(algorithm.state_dict(), output / f"{name}.pth")
        np.savez(output / f"{name}.npz", obs=observation, action=mapped)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
