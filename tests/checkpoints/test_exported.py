"""`.pt2` programs: their inputs come from the file, and nothing in them is run before it was vetted."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from grandopt.compiler.capture.export import capture
from grandopt.compiler.checkpoints import detect
from grandopt.compiler.checkpoints.exported import size_expressions
from grandopt.config.schema import AgentConfig
from grandopt.errors import CheckpointError, UntrustedError
from tests.checkpoints.sb3_zips import Touch


class TwoInputs(nn.Module):
    """Joins two inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Sequential(nn.Linear(5, 4), nn.Dropout(), nn.Linear(4, 2))

    def forward(self, state: torch.Tensor, goal: torch.Tensor) -> torch.Tensor:
        value: torch.Tensor = self.layer(torch.cat([state, goal], dim=-1))
        return value


def _export(module: nn.Module, path: Path, *example: torch.Tensor, low: int | None = 1) -> Path:
    """Save the program; its batch is dynamic from `low` on, or fixed where that is None."""
    shapes = None
    if low is not None:
        batch = torch.export.Dim("batch", min=low)
        shapes = tuple({0: batch} for _ in example)
    torch.export.save(torch.export.export(module, example, dynamic_shapes=shapes), path)
    return path


def _two(path: Path, *, batch: int = 3, low: int | None = 1) -> tuple[Path, TwoInputs]:
    torch.manual_seed(0)
    module = TwoInputs().eval()
    return _export(module, path, torch.zeros(batch, 3), torch.zeros(batch, 2), low=low), module


def _load(path: Path, **settings: Any) -> Any:
    return detect.load("program", AgentConfig.model_validate({"checkpoint": path, **settings}))


@pytest.mark.parametrize(("batch", "low"), [(3, 1), (3, None), (1, None)])
def test_a_program_runs_with_any_batch(tmp_path: Path, batch: int, low: int | None) -> None:
    path, module = _two(tmp_path / "p.pt2", batch=batch, low=low)
    checkpoint = _load(path)
    assert [(spec.name, spec.shape, spec.dtype) for spec in checkpoint.inputs] == [
        ("state", (3,), "float32"),
        ("goal", (2,), "float32"),
    ]
    assert not any(part.training for part in checkpoint.module.modules())
    for size in (1, 2, 6):
        state, goal = torch.randn(size, 3), torch.randn(size, 2)
        for runnable in (checkpoint.module, checkpoint.exported.module()):
            torch.testing.assert_close(runnable(state, goal), module(state, goal))


def test_a_program_is_described(tmp_path: Path) -> None:
    facts = detect.describe(_two(tmp_path / "p.pt2", low=None)[0])
    assert (facts["format"], facts["batch"], facts["parameters"]) == ("exported", 3, 34)
    assert "aten.linear.default" in facts["operators"]
    assert facts["inputs"][1] == {"name": "goal", "shape": [2], "dtype": "float32"}


class SumsBatch(nn.Module):
    """Mixes the rows of a batch."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + x.sum(0, keepdim=True)


class SortsBatch(nn.Module):
    """Mixes the rows by an operator that takes no others beside them."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + torch.nn.functional.conv1d(x.t().unsqueeze(0), torch.ones(2, 2, 3), padding=1)[0].t()


class OneStep(nn.Module):
    """A batch of 1 in the sizes of a view, whose frames are joined."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.head = nn.Linear(8, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        frames = x.view(1, 3, 4)
        result: torch.Tensor = self.head(torch.cat([frames[:, -1].tanh(), frames[:, 0]], dim=1))
        return result


def test_rows_that_do_not_come_out_alone_are_one_observation(tmp_path: Path) -> None:
    path = _export(SumsBatch(), tmp_path / "sum.pt2", torch.zeros(3, 2), low=None)
    checkpoint = _load(path)
    assert [spec.shape for spec in checkpoint.inputs] == [(3, 2)]
    assert checkpoint.source.details["batch"].startswith("3 fixed: no row could be taken alone")
    x = torch.randn(4, 3, 2)
    torch.testing.assert_close(checkpoint.module(x), torch.stack([SumsBatch()(each) for each in x]))


def test_a_batch_of_1_that_cannot_be_undone_is_each_row_by_itself(tmp_path: Path) -> None:
    network = OneStep().eval()
    checkpoint = _load(_export(network, tmp_path / "one.pt2", torch.zeros(1, 12), low=None))
    assert checkpoint.source.details["batch"].startswith("a batch of 1 is fixed; its operators take any")
    x = torch.randn(5, 12)
    wanted = torch.cat([network(row) for row in x.unsqueeze(1)])
    torch.testing.assert_close(checkpoint.module(x), wanted)
    assert capture(checkpoint).exported is not None


class OtherSize(nn.Module):
    """Reads how long its second dimension is."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.sum(1)


def test_programs_that_are_no_agents_are_refused(tmp_path: Path) -> None:
    path = _export(SortsBatch(), tmp_path / "mode.pt2", torch.zeros(3, 2), low=None)
    with pytest.raises(CheckpointError, match="fixed batch of 3, and gives other rows with a batch of 1"):
        _load(path)
    path = _export(nn.Linear(2, 2), tmp_path / "eight.pt2", torch.zeros(9, 2), low=8)
    with pytest.raises(CheckpointError, match="takes batches of at least 8 only"):
        _load(path)
    path = _export(nn.Sequential(nn.Dropout()).train(), tmp_path / "train.pt2", torch.zeros(2, 2))
    with pytest.raises(CheckpointError, match="exported in training mode"):
        _load(path)
    lengths = ({0: torch.export.Dim("batch", min=1), 1: torch.export.Dim("length", min=1)},)
    program = torch.export.export(OtherSize(), (torch.zeros(3, 4),), dynamic_shapes=lengths)
    torch.export.save(program, tmp_path / "length.pt2")
    with pytest.raises(CheckpointError, match="dimension 1 of input 'x' is dynamic"):
        _load(tmp_path / "length.pt2")


def test_weights_must_be_numbers_and_settings_must_apply(tmp_path: Path) -> None:
    module = nn.Linear(2, 2)
    path = _export(module, tmp_path / "p.pt2", torch.zeros(2, 2))
    with pytest.raises(CheckpointError, match=r"'inputs' cannot be used with a torch\.export program"):
        _load(path, inputs=[{"name": "x", "shape": [2]}])
    with torch.no_grad():
        module.bias[0] = float("inf")
    with pytest.raises(CheckpointError, match=r"tensor 'bias' \[2\] holds 0 NaN and 1 inf"):
        _load(_export(module, path, torch.zeros(2, 2)))


def _rewrite(path: Path, end: str, change: Callable[[bytes], bytes]) -> None:
    """Replace the member whose name ends with `end`."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = next(name for name in members if name.endswith(end))
    members[name] = change(members[name])
    with zipfile.ZipFile(path, "w") as archive:
        for member, data in members.items():
            archive.writestr(member, data)


def _edit(path: Path, end: str, edit: Callable[[Any], None]) -> None:
    def change(data: bytes) -> bytes:
        document = json.loads(data)
        edit(document)
        return json.dumps(document).encode()

    _rewrite(path, end, change)


def _pickled(marker: Path) -> bytes:
    buffer = io.BytesIO()
    torch.save(Touch(marker), buffer)
    return buffer.getvalue()


def test_a_rewritten_program_still_loads(tmp_path: Path) -> None:
    path, _ = _two(tmp_path / "p.pt2")
    _edit(path, "model.json", lambda document: None)
    assert _load(path).inputs[0].name == "state"


def test_pickles_in_a_program_are_refused_and_nothing_ran(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    path, _ = _two(tmp_path / "inputs.pt2")
    _rewrite(path, "sample_inputs/model.pt", lambda data: _pickled(marker))
    with pytest.raises(UntrustedError, match="pathlib"):
        _load(path)
    path, _ = _two(tmp_path / "weights.pt2")
    _edit(path, "weights_config.json", lambda d: d["config"]["layer.0.weight"].update(use_pickle=True))
    _rewrite(path, "weights/weight_0", lambda data: _pickled(marker))
    with pytest.raises(UntrustedError, match="a tensor that must be unpickled"):
        _load(path)
    assert not marker.exists()


def _touching(marker: Path) -> str:
    return f"__import__('pathlib').Path('{marker}').touch()"


def test_text_in_a_program_that_could_run_is_refused_and_nothing_ran(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    path, _ = _two(tmp_path / "operator.pt2")
    _edit(
        path, "model.json", lambda d: d["graph_module"]["graph"]["nodes"][0].update(target="torch.os.system")
    )
    with pytest.raises(UntrustedError, match=r"the operator 'torch\.os\.system'"):
        _load(path)

    def size(document: Any) -> None:
        values = document["graph_module"]["graph"]["tensor_values"]
        values["state"]["sizes"][0]["as_expr"]["expr_str"] = _touching(marker)

    path, _ = _two(tmp_path / "size.pt2")
    _edit(path, "model.json", size)
    with pytest.raises(UntrustedError, match="no plain arithmetic"):
        _load(path)
    path, _ = _two(tmp_path / "guard.pt2")
    _edit(path, "model.json", lambda d: d.update(guards_code=[_touching(marker)]))
    with pytest.raises(UntrustedError, match="no plain comparison"):
        _load(path)
    assert not marker.exists()


@pytest.mark.parametrize(
    ("expression", "harmless"),
    [
        ("Symbol('s77', positive=True, integer=True)", True),
        ("Mul(Integer(16), Symbol('s77', positive=True, integer=True))", True),
        ("2*s0 + Max(1, s1)", True),
        ("L['y'].size()[0] == L['x'].size()[0]", True),
        ("exit()", False),
        ("().__class__", False),
        ("Symbol('__import__(1)')", False),
        ("[s0 for s0 in (1,)]", False),
        ("lambda: 1", False),
        ("s0 if s0 else s1", False),
        ("s0; s1", False),
        (7, False),
    ],
)
def test_only_arithmetic_over_sizes_is_harmless(expression: Any, harmless: bool) -> None:
    assert size_expressions.harmless(expression) is harmless
