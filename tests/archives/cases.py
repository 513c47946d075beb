"""What a user knows of each file of `archives.py`, and how it must end."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from grandopt.signature import Array

LAYERS = {"network": "layers:mlp", "network_args": {"i": 10, "h": 32, "o": 4}}


@dataclass(frozen=True)
class Case:
    """A file with the settings of its agent. `refused` is what the message must say, "" for none.

    `native` says that the native engine must take it, where nothing refuses it.
    """

    file: str
    inputs: dict[str, tuple[int, ...]]
    dtypes: dict[str, str] = field(default_factory=dict)
    more: dict[str, Any] = field(default_factory=dict)
    refused: str = ""
    native: bool = True

    def settings(self, folder: str) -> dict[str, Any]:
        """The agent as grandopt.yaml has it."""
        inputs = [
            {"name": name, "shape": list(shape)}
            | ({"dtype": self.dtypes[name]} if name in self.dtypes else {})
            for name, shape in self.inputs.items()
        ]
        return {"checkpoint": f"{folder}/{self.file}", "inputs": inputs, **self.more}

    def observations(self, count: int) -> list[Array]:
        """Seeded observations, a batch of `count`."""
        draws = np.random.default_rng(0)
        found = []
        for name, shape in self.inputs.items():
            dtype = self.dtypes.get(name, "float32")
            high = {"bool": 2, "uint8": 256}.get(dtype)
            whole = None if high is None else draws.integers(0, high, (count, *shape))
            found.append((draws.normal(size=(count, *shape)) if whole is None else whole).astype(dtype))
        return found


X = {"x": (10,)}
OBS = {"obs": (10,)}
MASKED = {"obs": (10,), "mask": (5,)}
BOOL = {"mask": "bool"}
NETWORK = "holds weights but no network"
RECOGNISED = "'inputs' cannot be used with a checkpoint of"
ACTIVATION = "neither the file nor settings beside it say which activation"

REFUSED = {
    "ts_no_forward": Case("ts_no_forward.pt", OBS, refused=r"has no forward method \(its methods: act\)"),
    "ts_deterministic": Case("ts_deterministic.pt", OBS, refused="--fix deterministic=VALUE"),
    "ts_sampling": Case("ts_sampling.pt", OBS, refused="draws random numbers .'randn_like'"),
    "ts_sample_and_mean": Case("ts_sample_and_mean.pt", OBS, refused="draws random numbers .'randn_like'"),
    "rsl_rl": Case("rsl_rl.pt", X, refused=ACTIVATION),
    "rsl_rl_normalised": Case("rsl_rl_normalised.pt", X, refused=ACTIVATION),
    "rl_games": Case("rl_games.pth", X, refused=RECOGNISED),
    "cleanrl_ppo": Case("cleanrl_ppo.cleanrl_model", X, refused=RECOGNISED),
    "cleanrl_sac": Case("cleanrl_sac.cleanrl_model", X, refused=RECOGNISED),
    "skrl_agent": Case("skrl_agent.pt", X, refused=RECOGNISED),
    "tianshou_policy": Case("tianshou_policy.pth", X, refused=RECOGNISED),
    "sample_factory": Case("sample_factory.pth", X, refused="the settings of its run are missing"),
    "numpy_weights": Case("numpy_weights.npz", X, refused=NETWORK),
    "numpy_weights_pickled": Case("numpy_weights.pkl", X, refused=NETWORK),
    "rllib_folder": Case("rllib_checkpoint", X, refused="is a folder"),
}
"""Files that are no agents as they are, with the true cause."""

LAID_OPEN = {
    "ts_lstm_buffers": Case("ts_lstm_buffers.pt", X),
    "ts_gru_buffers": Case("ts_gru_buffers.pt", X),
    "ts_history_buffer": Case("ts_history_buffer.pt", X),
    "ts_gait_clock": Case("ts_gait_clock.pt", X),
    "ts_slow_clock": Case("ts_slow_clock.pt", X),
    "ts_last_action": Case("ts_last_action.pt", X),
    "ts_every_n": Case("ts_every_n.pt", X),
    "ts_lstm_tuple": Case("ts_lstm_tuple.pt", {**X, "h": (1, 16), "c": (1, 16)}),
    "ts_gru_layers_first": Case("ts_gru_layers_first.pt", {**X, "h": (1, 16)}),
    "ts_fixed_view": Case("ts_fixed_view.pt", {"x": (50,)}),
    "ts_one_dim": Case("ts_one_dim.pt", {**OBS, "command": (3,)}),
    "ts_dict_out": Case("ts_dict_out.pt", OBS),
    "ts_nested_out": Case("ts_nested_out.pt", OBS),
    "ts_dict_in": Case("ts_dict_in.pt", {"proprio": (10,), "command": (3,)}),
    "ts_list_in": Case("ts_list_in.pt", {"a": (10,), "b": (3,)}),
    "ts_deterministic": Case("ts_deterministic.pt", OBS, more={"fix": {"deterministic": True}}),
    "ts_traced_squeeze": Case("ts_traced_squeeze.pt", X),
}
"""Files whose state, containers or batch of 1 are laid open. Their answers: `test_laid_open.py`."""

OPTIMIZED = {
    "ts_gru_batch_first": Case(
        "ts_gru_batch_first.pt", {**X, "h": (16,)}, more={"state": {"h": {"output": "h_next"}}}
    ),
    "ts_one_dim_simple": Case("ts_one_dim_simple.pt", OBS),
    "ts_traced_batch1": Case("ts_traced_batch1.pt", X),
    "ts_float64": Case("ts_float64.pt", X, {"x": "float64"}, native=False),
    "ts_half": Case("ts_half.pt", X, {"x": "float16"}, native=False),
    "ts_bfloat16": Case("ts_bfloat16.pt", X, native=False),
    "ts_half_inside": Case("ts_half_inside.pt", X, native=False),
    "ts_quantized": Case("ts_quantized.pt", X, native=False),
    "ts_extra_methods": Case("ts_extra_methods.pt", OBS),
    "ts_optional_mask": Case("ts_optional_mask.pt", OBS),
    "ts_optional_mask_given": Case("ts_optional_mask.pt", MASKED, BOOL),
    "ts_masked": Case("ts_masked.pt", MASKED, BOOL),
    "ts_masked_inf": Case("ts_masked_inf.pt", MASKED, BOOL),
    "ts_deterministic_default": Case("ts_deterministic_default.pt", OBS),
    "ts_multidiscrete": Case("ts_multidiscrete.pt", OBS),
    "ts_prints": Case("ts_prints.pt", OBS),
    "ts_normalised": Case("ts_normalised.pt", OBS),
    "ts_asserts": Case("ts_asserts.pt", OBS),
    "ts_pixels": Case("ts_pixels.pt", {"frames": (84, 84, 4)}, {"frames": "uint8"}),
    "ts_train_mode": Case("ts_train_mode.pt", X),
    "state_dict_float64": Case("state_dict_float64.pt", X, {"x": "float64"}, more=LAYERS, native=False),
    "state_dict_half": Case("state_dict_half.pt", X, {"x": "float16"}, more=LAYERS, native=False),
}
"""Files that are agents; where no engine of the job takes one, its original is kept."""

ELSEWHERE = {"ts_cuda_constant", "compiled_prefix"}
"""Whose end is for the tests of devices and of prefixes to say; here they must only end by themselves."""
