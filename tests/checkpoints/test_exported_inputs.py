"""`.pt2` programs whose inputs come by name, and what is built of a program from a file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from grandopt.artifacts.store import Store
from grandopt.compiler.build import Candidate, build
from grandopt.compiler.capture.export import capture
from grandopt.compiler.checkpoints import detect
from grandopt.config.engines import TorchScriptOptions
from grandopt.config.schema import AgentConfig


class TwoInputs(nn.Module):
    """Something of an observation and of a goal, which are no two alike."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(5, 3)

    def forward(self, state: torch.Tensor, goal: torch.Tensor) -> torch.Tensor:
        return self.net(state) - 2.0 * goal


@pytest.mark.parametrize("dynamic", [True, False])
@pytest.mark.parametrize("by_name", [("goal",), ("state", "goal"), ("goal", "state")])
def test_inputs_by_keyword_become_inputs_by_their_names(
    tmp_path: Path, by_name: tuple[str, ...], *, dynamic: bool
) -> None:
    module = TwoInputs().eval()
    values = {"state": torch.randn(2, 5), "goal": torch.randn(2, 3)}
    args = tuple(value for name, value in values.items() if name not in by_name)
    kwargs = {name: values[name] for name in by_name}
    batch = torch.export.Dim("batch", min=1)
    shapes = {name: {0: batch} for name in values} if dynamic else None
    path = tmp_path / "program.pt2"
    torch.export.save(torch.export.export(module, args, kwargs, dynamic_shapes=shapes), path)
    checkpoint = detect.load("program", AgentConfig(checkpoint=path))
    assert {spec.name: spec.shape for spec in checkpoint.inputs} == {"state": (5,), "goal": (3,)}
    given = {"state": torch.randn(7, 5), "goal": torch.randn(7, 3)}
    got = checkpoint.module(*(given[spec.name] for spec in checkpoint.inputs))
    torch.testing.assert_close(got, module(**given))


@pytest.mark.filterwarnings("ignore:.isinstance.treespec, LeafSpec.:FutureWarning")  # torch's own, by copying
def test_a_program_from_a_file_is_built_for_torchscript(tmp_path: Path) -> None:
    batch = torch.export.Dim("batch", min=1)
    program = torch.export.export(
        nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 3)).eval(),
        (torch.randn(2, 5),),
        dynamic_shapes=({0: batch},),
    )
    torch.export.save(program, tmp_path / "program.pt2")
    checkpoint = detect.load("program", AgentConfig(checkpoint=tmp_path / "program.pt2"))
    candidate = Candidate("float32", TorchScriptOptions())
    artifact = build(capture(checkpoint), candidate, Store(tmp_path / "store"))
    assert artifact.manifest.engine == "torchscript"
