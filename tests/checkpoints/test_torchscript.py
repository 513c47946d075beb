"""TorchScript archives run as they are, and become exported programs where that is proven equal."""

from __future__ import annotations

import io
import re
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from grandopt.compiler.capture.export import capture
from grandopt.compiler.checkpoints import detect
from grandopt.compiler.checkpoints.settings import drawn
from grandopt.config.schema import AgentConfig
from grandopt.errors import CheckpointError, SignatureError

SHAPES = {"ultra_fast_tactical": [[60, 7]], "strategic_system_jit": [[4], [6], [3]]}


def _agent(path: Path, *shapes: list[int], **settings: Any) -> AgentConfig:
    inputs = [{"name": f"x{index}", "shape": shape} for index, shape in enumerate(shapes)]
    return AgentConfig.model_validate({"checkpoint": path, "inputs": inputs, **settings})


def _save(module: nn.Module, path: Path, *, frozen: bool = False) -> Path:
    script = torch.jit.script(module.eval())
    torch.jit.save(torch.jit.freeze(script) if frozen else script, path)
    return path


@pytest.mark.parametrize("name", SHAPES)
def test_the_trading_archives_run_and_convert(shared_checkpoints: Path, name: str) -> None:
    path = shared_checkpoints / "grandmodel" / f"{name}.pt"
    checkpoint = detect.load(name, _agent(path, *SHAPES[name]))
    original = torch.jit.load(path, map_location="cpu")
    program = capture(checkpoint)
    assert program.exported is not None, program.refusal("export")
    exported = program.exported.module()
    for batch in (1, 5, 33):
        values = drawn(checkpoint.inputs, batch, seed=batch)
        wanted = original(*values)
        for left, middle, right in zip(wanted, checkpoint.module(*values), exported(*values), strict=True):
            assert left.shape[0] == batch
            assert torch.equal(left, middle)
            torch.testing.assert_close(left, right, rtol=1e-6, atol=1e-6)


def test_missing_inputs_are_asked_for_by_the_names_in_the_archive(shared_checkpoints: Path) -> None:
    path = shared_checkpoints / "grandmodel" / "strategic_system_jit.pt"
    line = (
        r"`inputs: \[\{name: mlmi_state, shape: \[...\]\}, \{name: nwrqk_state, shape: \[...\]\}, "
        r"\{name: mmd_state, shape: \[...\]\}\]`"
    )
    with pytest.raises(CheckpointError, match=line):
        detect.load("strategic", AgentConfig(checkpoint=path))
    with pytest.raises(CheckpointError, match=r"takes 3 input\(s\).*but 'inputs' declares 1"):
        detect.load("strategic", _agent(path, [4]))
    with pytest.raises(CheckpointError, match=r"does not take x0 \[2, 5\], .*: .*mat1 and mat2"):
        detect.load("strategic", _agent(path, [5], [6], [3]))


class Branching(nn.Module):
    """Takes another way when the mean of its input is negative."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        value: torch.Tensor = self.layer(x)
        if bool(x.mean() < 0):
            value = value * 2
        return value


class FixedBatch(nn.Module):
    """Works with a batch of 2 only."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.reshape(2, 3) * 2


def test_an_archive_that_cannot_be_converted_keeps_its_own_form(tmp_path: Path) -> None:
    path = _save(Branching(), tmp_path / "b.pt")
    checkpoint = detect.load("b", _agent(path, [3]))
    program = capture(checkpoint)
    assert program.exported is None
    assert re.fullmatch(
        r"the network's control flow depends on the data \(test_torchscript\.py:\d+\)",
        program.refusal("export").text,
    )


def test_a_batch_that_is_built_in_is_named(tmp_path: Path) -> None:
    path = _save(FixedBatch(), tmp_path / "fixed.pt")
    with pytest.raises(SignatureError, match=r"a batch of 2 but not of 3 .*its batch size is built in"):
        capture(detect.load("fixed", _agent(path, [3])))


def test_weights_and_frozen_constants_must_be_numbers(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Linear(3, 2))
    with torch.no_grad():
        module[0].weight[1, 2] = float("nan")
    for frozen in (False, True):
        path = _save(module, tmp_path / f"{frozen}.pt", frozen=frozen)
        with pytest.raises(CheckpointError, match=r"tensor '.*' \[.*\] holds .*NaN"):
            detect.load("nan", _agent(path, [3]))


def test_an_archive_is_described(tmp_path: Path) -> None:
    for frozen in (False, True):
        path = _save(nn.Sequential(nn.Linear(3, 2)), tmp_path / "a.pt", frozen=frozen)
        facts = detect.describe(path)
        assert (facts["format"], facts["inputs"], facts["parameters"]) == ("torchscript", ["input"], 8)


@pytest.mark.parametrize("field", [{"key": "a"}, {"network": "a:b"}, {"network_args": {"a": 1}}])
def test_settings_that_do_not_apply_are_refused(tmp_path: Path, field: dict[str, Any]) -> None:
    path = _save(nn.Linear(3, 2), tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match="cannot be used with a TorchScript archive"):
        detect.load("a", _agent(path, [3], **field))


def test_an_archive_that_returns_no_tensors_is_refused(tmp_path: Path) -> None:
    class Words(nn.Module):
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, str]:
            return x, "word"

    path = _save(Words(), tmp_path / "d.pt")
    with pytest.raises(CheckpointError, match="output 1 of the network is a str"):
        detect.load("d", _agent(path, [3]))


def test_devices_that_tracing_on_a_gpu_left_are_moved(tmp_path: Path) -> None:
    class Recurrent(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell = torch.nn.GRUCell(10, 16)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.cell(x, torch.zeros(1, 16, device=torch.device("cpu")).expand(x.shape[0], 16))

    network, buffer, path = Recurrent().eval(), io.BytesIO(), tmp_path / "gpu.pt"
    torch.jit.save(torch.jit.trace(network, torch.zeros(1, 10)), buffer)
    with zipfile.ZipFile(buffer) as source, zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as target:
        for item in source.infolist():
            data = source.read(item)
            if item.filename.endswith(".py"):
                data = data.replace(b'torch.device("cpu")', b'torch.device("cuda:0")')
            target.writestr(item.filename, data)
    config = AgentConfig.model_validate({"checkpoint": path, "inputs": [{"name": "x", "shape": [10]}]})
    x = torch.randn(3, 10)
    with torch.no_grad():
        torch.testing.assert_close(detect.load("gpu", config).module(x), network(x))
