"""Folders of Brax's PPO and SAC, and files of Flax as CleanRL writes them, with the actions that are theirs.

Called as `brax_0_14.py FOLDER` where Brax is; of each NAME there is NAME.npz with `obs` and `action`.
"""

from __future__ import annotations

import functools
import sys
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parent))

import stand_ins

stand_ins.install("mujoco", "trimesh", "jaxopt", "tensorboardX", "PIL", "flask", "jinja2")

import flax  # noqa: E402
import jax  # noqa: E402
import mujoco.mjx  # noqa: E402, F401
import numpy as np  # noqa: E402
from brax.training.acme import running_statistics, specs  # noqa: E402
from brax.training.agents.ppo import checkpoint as ppo_checkpoint  # noqa: E402
from brax.training.agents.ppo import networks as ppo  # noqa: E402
from brax.training.agents.sac import checkpoint as sac_checkpoint  # noqa: E402
from brax.training.agents.sac import networks as sac  # noqa: E402
from flax import linen  # noqa: E402
from jax import numpy as jnp  # noqa: E402

OBSERVED, ACTIONS, COUNT, STEP = 12, 4, 1000, 1000
KEY = jax.random.PRNGKey(0)
KINDS = {
    "ppo": (ppo_checkpoint, ppo, ppo.make_ppo_networks),
    "sac": (sac_checkpoint, sac, sac.make_sac_networks),
}
SMALL = {"policy_hidden_layer_sizes": (32, 24)}
AGENTS: dict[str, tuple[str, bool, dict[str, Any]]] = {
    "plain": ("ppo", True, {}),
    "dict": ("ppo", True, {**SMALL, "activation": linen.elu}),
    "normal": (
        "ppo", True,
        {**SMALL, "distribution_type": "normal", "mean_clip_scale": 2.0, "activation": linen.gelu},
    ),
    "spread": (
        "ppo", False,
        {
            **SMALL, "distribution_type": "normal", "state_dependent_std": True, "noise_std_type": "log",
            "activation": linen.tanh,
        },
    ),
    "norms": ("sac", True, {"policy_network_layer_norm": True, "hidden_layer_sizes": (32, 16)}),
}  # fmt: skip


def disturbed(tree: Any) -> Any:
    """Away from its first values, so that nothing that a reader leaves out goes unnoticed."""
    return jax.tree.map(lambda array: array + 0.1 * jax.random.normal(KEY, array.shape), tree)


def write_brax(folder: Path, name: str, kind: str, normalise: bool, settings: dict[str, Any]) -> None:
    """The folder of one agent, and what the agent in it does."""
    checkpoint, networks, make = KINDS[kind]
    factory = functools.partial(make, **settings)
    size: Any = {"state": (OBSERVED,), "privileged_state": (OBSERVED + 3,)} if name == "dict" else OBSERVED
    shapes = size if name == "dict" else (OBSERVED,)
    spec = jax.tree.map(
        lambda shape: specs.Array(shape, jnp.dtype("float32")),
        shapes,
        is_leaf=lambda item: isinstance(item, tuple),
    )
    seen = jax.tree.map(lambda item: 3 * jax.random.normal(KEY, (COUNT, *item.shape)) + 1, spec)
    statistics = running_statistics.update(running_statistics.init_state(spec), seen)
    preprocess = {"preprocess_observations_fn": running_statistics.normalize} if normalise else {}
    network = factory(size, ACTIONS, **preprocess)
    policy = disturbed(network.policy_network.init(KEY))
    params: tuple[Any, ...] = (statistics, policy)
    if kind == "ppo":
        params = (*params, network.value_network.init(KEY))
    config = checkpoint.network_config(size, ACTIONS, normalise, factory)
    checkpoint.save(folder / name, STEP, params, config)
    restored = tuple(checkpoint.load(folder / name / f"{STEP:012d}"))
    act = networks.make_inference_fn(network)(restored, deterministic=True)
    action, _ = act(seen, KEY)
    observed = seen["state"] if name == "dict" else seen
    np.savez(folder / f"{name}.npz", obs=np.asarray(observed), action=np.asarray(action))


class Stack(linen.Module):
    """Dense layers with relu between them, as CleanRL's networks for JAX are."""

    sizes: tuple[int, ...]

    @linen.compact
    def __call__(self, value: Any) -> Any:
        for size in self.sizes[:-1]:
            value = linen.relu(linen.Dense(size)(value))
        return linen.Dense(self.sizes[-1])(value)


def write_flax(folder: Path) -> None:
    """What CleanRL's DQN, C51 and TD3 write, each with its action."""
    seen = 2 * jax.random.normal(KEY, (COUNT, OBSERVED))

    def write(name: str, content: Any, action: Any) -> None:
        (folder / f"{name}.cleanrl_model").write_bytes(flax.serialization.to_bytes(content))
        np.savez(folder / f"{name}.npz", obs=np.asarray(seen), action=np.asarray(action))

    network = Stack((120, 84, ACTIONS))
    params = disturbed(network.init(KEY, seen))
    write("dqn", params, network.apply(params, seen).argmax(axis=-1))
    network = Stack((120, 84, ACTIONS * 51))
    params = disturbed(network.init(KEY, seen))
    shares = linen.softmax(network.apply(params, seen).reshape(COUNT, ACTIONS, 51), axis=-1)
    settings = {
        "exp_name": "c51_jax",
        "seed": 1,
        "cuda": True,
        "n_atoms": 51,
        "v_min": -100.0,
        "v_max": 100.0,
    }
    action = (shares * jnp.linspace(-100, 100, num=51)).sum(axis=-1).argmax(axis=-1)
    write("c51", {"model_weights": params, "args": settings}, action)
    actor, critic = Stack((256, 256, ACTIONS)), Stack((256, 256, 1))
    params = disturbed(actor.init(KEY, seen))
    critics = [critic.init(KEY, jnp.zeros((1, OBSERVED + ACTIONS))) for _ in range(2)]
    write("td3", [params, *critics], 1.5 * jnp.tanh(actor.apply(params, seen)) + 0.5)


def main(folder: Path) -> None:
    for name, (kind, normalise, settings) in AGENTS.items():
        write_brax(folder, name, kind, normalise, settings)
    write_flax(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
