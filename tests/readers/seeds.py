"""One small whole file per reader, and how that reader is called."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

YAML = """\
profile: basic
threads: 1
seed: 3
budget_s: 10
agents:
  gate: &gate
    checkpoint: models/gate.pth
    key: actors.0
    network: my_agents:Actor
    network_args: {width: 16, deep: true}
    inputs:
      - {name: state, shape: [7], low: -1, high: 1}
    target_latency_ms: 1.0
  other: *gate
cache: {memory_mb: 16, policy: lru}
"""


@dataclass(frozen=True)
class Reader:
    """`name` is also the file's name; `make` writes it, `read` reads what became of it.

    `whole_is_read` is False for a file that is refused even undamaged.
    """

    name: str
    make: Callable[[Path], None]
    read: Callable[[Path], object]
    whole_is_read: bool = True


def _network() -> Any:
    import torch

    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2)).eval()


def _training(path: Path, *, zipped: bool = True) -> None:
    import torch

    state = _network().state_dict()
    content = {"actors": [state, dict(state)], "step": 7, "optimizer": {"state": {}, "param_groups": []}}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)


def _plain_pickle(path: Path) -> None:
    """Tensors in a pickle of protocol 2 that torch.save did not write."""
    import pickle

    import torch

    parts = {"size": torch.Size([2, 3]), "kind": torch.float32, "values": [1.0, (2, "a")] * 3}
    path.write_bytes(pickle.dumps(parts, protocol=2))


def _torchscript(path: Path) -> None:
    import torch

    class Recurrent(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell = torch.nn.GRUCell(3, 4)
            self.head = torch.nn.Linear(4, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for _ in range(2):
                h = self.cell(x)
            result: torch.Tensor = self.head(h)
            return result

    torch.jit.trace(Recurrent().eval(), torch.zeros(2, 3)).save(str(path))


def _remembering(path: Path) -> None:
    """An archive with state in a buffer, a batch of 1, and a method that begins an episode."""
    import torch

    from tests.archives.networks import Reset

    torch.jit.save(torch.jit.script(Reset().eval()), path)


def _stack(path: Path) -> None:
    import torch

    torch.save({**_network().state_dict(), "log_std": torch.zeros(2)}, path)


def _exported(path: Path) -> None:
    import torch

    batch = torch.export.Dim("batch", min=1)
    torch.export.save(
        torch.export.export(_network(), (torch.zeros(3, 3),), dynamic_shapes=({0: batch},)), path
    )


def _onnx(path: Path) -> None:
    from tests.checkpoints.onnx import models

    models.save(models.sequential(_network(), batch=1), path)


def _onnx_recurrent(path: Path) -> None:
    from tests.checkpoints.onnx import models

    models.save(models.lstm_policy(), path)


def _safetensors(path: Path) -> None:
    from safetensors.torch import save_file

    save_file(_network().state_dict(), path)


def _arrays(path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, **{key: value.numpy() for key, value in _network().state_dict().items()})


def _pickled_arrays(path: Path) -> None:
    import pickle

    arrays = {key: value.numpy() for key, value in _network().state_dict().items()}
    path.write_bytes(pickle.dumps({"actors": [arrays], "best": np.float64(3.0)}, protocol=4))


def _sb3(path: Path) -> None:
    from tests.checkpoints import sb3_zips as zips

    made = zips.Weights().mlp("mlp_extractor.policy_net", 4, 8).layer("action_net", 2, 8)
    zips.write_zip(path, zips.ON_POLICY, zips.box(-1, 1, (4,)), zips.discrete(2), made.tensors)


def _d3rlpy(path: Path) -> None:
    from torch import nn

    from tests.checkpoints.frameworks import files
    from tests.checkpoints.frameworks.test_d3rlpy import _config, _d3, _states

    network = files.mlp(3, 4, 4, 2, between=nn.ReLU)
    config = _config("sac") | {"observation_shape": [3], "action_size": 2}
    _d3(path, _states(network, "_mu"), config)


def _statistics(path: Path) -> None:
    from tests.checkpoints import sb3_zips as zips

    zips.write_statistics(path, ([1.0, -2.0, 0.5], [4.0, 0.25, 1e-3]))


def _samples(path: Path) -> None:
    values = np.linspace(-1, 1, 30, dtype=np.float32).reshape(10, 3)
    np.savez(path, state=values, **{"obs.goal": values[:, :1].astype(np.float64)})


def _report(path: Path) -> None:
    from grandopt.reporting.report import write_report
    from tests.reporting import samples

    write_report(samples.report(), path)


def _history(path: Path) -> None:
    from grandopt.reporting.history import store
    from tests.reporting import samples

    store.append(path, samples.report())


def _baseline(path: Path) -> None:
    agent = {"name": "gate", "engine": "native", "precision": "float32", "digest": "ab", "bytes": 7}
    document = {
        "schema_version": 1, "name": "main", "saved": "2026-01-02T03:04:05Z", "grandopt": "0.1.0",
        "environment": {"cpu": "x", "cores": 2}, "report": False, "agents": [agent],
    }  # fmt: skip
    path.write_text(json.dumps(document))


def _flax(path: Path) -> None:
    from tests.checkpoints.frameworks import flax_files

    path.write_bytes(flax_files.packed({"params": flax_files.dense(_network())}))


def _load_checkpoint(path: Path) -> object:
    from grandopt.compiler.checkpoints import detect
    from grandopt.config.schema import AgentConfig
    from grandopt.errors import GrandoptError

    described: object = None
    failure: GrandoptError | None = None
    try:
        described = detect.describe(path)
    except GrandoptError as error:
        failure = error
    fields: dict[str, Any] = {"checkpoint": path}
    if path.suffix in (".pth", ".legacy", ".safetensors", ".pkl", ".npz"):
        fields |= {"network": "tests.readers.seeds:_network", "inputs": [{"name": "x", "shape": [3]}]}
        fields["key"] = "actors.0" if path.suffix in (".pth", ".legacy", ".pkl") else None
    elif path.suffix == ".torchscript":
        fields["inputs"] = [{"name": "x", "shape": [6 if path.name == "remembers.torchscript" else 3]}]
    elif path.suffix == ".msgpack":
        fields |= {"activation": "relu", "distribution": "categorical"}
    elif path.suffix == ".mlp":
        fields["network"] = "mlp:relu,tanh"
    detect.load("agent", AgentConfig.model_validate(fields))
    if failure is not None:
        raise failure
    json.dumps(described).encode()
    return described


def _load_statistics(path: Path) -> object:
    from grandopt.compiler.checkpoints.sb3 import statistics

    return statistics.read(path)


def _load_config(path: Path) -> object:
    from grandopt.config.load import Overrides, load_file, resolve

    return resolve(load_file(path), {}, Overrides())


def _load_samples(path: Path) -> object:
    from grandopt.signature import Signature, TensorSpec
    from grandopt.verification.samples import load_samples

    signature = Signature((TensorSpec("state", (3,), "float32"), TensorSpec("goal", (1,), "float32")))
    return load_samples(path, signature)


def _load_report(path: Path) -> object:
    from grandopt.reporting.report import load_report

    return load_report(path)


def _load_history(path: Path) -> object:
    from grandopt.reporting.history import store

    return store.read(path, busy_s=0.1)


def _load_baseline(path: Path) -> object:
    from grandopt.reporting.gate.baseline import load_baseline

    return load_baseline(path.parent)


READERS = (
    Reader("weights.pth", _training, _load_checkpoint),
    Reader("weights.legacy", lambda path: _training(path, zipped=False), _load_checkpoint),
    Reader("network.bin", _plain_pickle, _load_checkpoint, whole_is_read=False),
    Reader("network.torchscript", _torchscript, _load_checkpoint),
    Reader("remembers.torchscript", _remembering, _load_checkpoint),
    Reader("stack.mlp", _stack, _load_checkpoint),
    Reader("program.pt2", _exported, _load_checkpoint),
    Reader("network.onnx", _onnx, _load_checkpoint),
    Reader("recurrent.onnx", _onnx_recurrent, _load_checkpoint),
    Reader("agent.msgpack", _flax, _load_checkpoint),
    Reader("weights.safetensors", _safetensors, _load_checkpoint),
    Reader("weights.npz", _arrays, _load_checkpoint),
    Reader("weights.pkl", _pickled_arrays, _load_checkpoint),
    Reader("agent.zip", _sb3, _load_checkpoint),
    Reader("policy.d3", _d3rlpy, _load_checkpoint),
    Reader("vecnormalize.pkl", _statistics, _load_statistics),
    Reader("grandopt.yaml", lambda path: path.write_text(YAML) and None, _load_config),
    Reader("samples.npz", _samples, _load_samples),
    Reader("report.json", _report, _load_report),
    Reader("history.sqlite", _history, _load_history),
    Reader("baseline.json", _baseline, _load_baseline),
)


def reader(name: str) -> Reader:
    """The reader of that name."""
    return next(item for item in READERS if item.name == name)


def whole(item: Reader, folder: Path) -> bytes:
    """The bytes of its undamaged file."""
    path = folder / item.name
    item.make(path)
    return io.BytesIO(path.read_bytes()).getvalue()
