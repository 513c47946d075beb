"""`.d3` files of d3rlpy's own algorithms, and what their `predict` gives: `d3rlpy_2.py OUTPUT`.

Writes NAME.d3, NAME.npz (`obs`, `action`) for each.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import stand_ins
import torch

stand_ins.install("sklearn", "h5py", "tqdm")

import d3rlpy  # noqa: E402
from d3rlpy.models import (  # noqa: E402
    PixelEncoderFactory,
    QRQFunctionFactory,
    SimBaEncoderFactory,
    VectorEncoderFactory,
)
from d3rlpy.preprocessing import (  # noqa: E402
    MinMaxActionScaler,
    MinMaxObservationScaler,
    PixelObservationScaler,
    StandardObservationScaler,
)

OBSERVED, SAMPLES, IMAGE = 7, 1000, (2, 24, 24)
MEAN = np.linspace(-3, 40, OBSERVED)
STD = np.linspace(0.05, 9, OBSERVED)
STANDARD = StandardObservationScaler(mean=MEAN, std=STD)
MIN_MAX = MinMaxObservationScaler(minimum=MEAN - 3 * STD, maximum=MEAN + 2 * STD)
ACTIONS = MinMaxActionScaler(minimum=np.array([-2.0, 0.0, -1.0]), maximum=np.array([2.0, 3.0, 1.0]))
NORMED = VectorEncoderFactory(
    [24, 16],
    activation="tanh",
    use_batch_norm=True,
    use_layer_norm=True,
    dropout_rate=0.1,
    last_activation="gelu",
)
BARE = VectorEncoderFactory([24, 16], activation="swish", exclude_last_activation=True)
PIXEL = PixelEncoderFactory(filters=[[8, 4, 2], [8, 3, 1]], feature_size=16)

AGENTS = {
    "sac": (d3rlpy.algos.SACConfig(observation_scaler=STANDARD, action_scaler=ACTIONS), 3),
    "cql": (d3rlpy.algos.CQLConfig(actor_encoder_factory=NORMED, observation_scaler=MIN_MAX), 3),
    "td3": (d3rlpy.algos.TD3PlusBCConfig(actor_encoder_factory=BARE), 3),
    "iql": (d3rlpy.algos.IQLConfig(actor_encoder_factory=SimBaEncoderFactory(16, 32, 2)), 3),
    "bc": (d3rlpy.algos.BCConfig(policy_type="stochastic", action_scaler=ACTIONS), 3),
    "dqn": (d3rlpy.algos.DQNConfig(n_critics=2, observation_scaler=STANDARD), 5),
    "discrete_cql": (
        d3rlpy.algos.DiscreteCQLConfig(q_func_factory=QRQFunctionFactory(8), observation_scaler=STANDARD),
        5,
    ),
    "discrete_bc": (d3rlpy.algos.DiscreteBCConfig(observation_scaler=STANDARD), 5),
    "discrete_sac": (d3rlpy.algos.DiscreteSACConfig(observation_scaler=STANDARD), 5),
    "pixel": (d3rlpy.algos.DQNConfig(encoder_factory=PIXEL, observation_scaler=PixelObservationScaler()), 5),
    "bcq": (d3rlpy.algos.BCQConfig(), 3),
}


def disturbed(algorithm: d3rlpy.base.LearnableBase) -> None:
    """Away from its first values, so that nothing that a reader leaves out goes unnoticed."""
    generator = torch.Generator().manual_seed(0)
    for module in algorithm.impl.modules.get_torch_modules().values():
        for name, tensor in module.state_dict().items():
            if tensor.is_floating_point() and name.endswith("running_var"):
                tensor.uniform_(0.5, 2.0, generator=generator)
            elif tensor.is_floating_point():
                tensor.add_(torch.randn(tensor.shape, generator=generator) * 0.08)


def main(output: Path) -> None:
    torch.manual_seed(0)
    rng = np.random.default_rng(1)
    for name, (config, actions) in AGENTS.items():
        algorithm = config.create()
        if name == "pixel":
            observations = rng.integers(0, 256, (SAMPLES, *IMAGE), dtype=np.uint8)
        else:
            observations = (MEAN + STD * rng.standard_normal((SAMPLES, OBSERVED))).astype(np.float32)
        algorithm.create_impl(observations.shape[1:], actions)
        with torch.no_grad():
            disturbed(algorithm)
        algorithm.save(str(output / f"{name}.d3"))
        np.savez(output / f"{name}.npz", obs=observations, action=algorithm.predict(observations))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
