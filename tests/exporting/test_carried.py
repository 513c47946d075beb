"""The program that travels with an artifact: it is the agent, no call needs it, and it is not trusted."""

from __future__ import annotations

import io
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from torch import nn

from grandopt.artifacts.artifact import read, stored_name, write
from grandopt.artifacts.manifest import CARRIED
from grandopt.artifacts.store import Store
from grandopt.compiler.build import Candidate, build
from grandopt.compiler.capture import saved
from grandopt.compiler.program import evaluate
from grandopt.config.engines import EagerOptions
from grandopt.errors import ArtifactError
from grandopt.measurement.subject import Subject
from grandopt.runtime.executors.shared import contents
from grandopt.runtime.loader import load
from grandopt.workflows.exporting.program import carried
from tests.exporting.shipping import TRACED, shipped
from tests.processor import need_bfloat16
from tests.small_agents import Branching, Pair, Policy, draw, program


@pytest.mark.parametrize("kind", [Policy, Pair])
def test_what_is_carried_is_the_agent(tmp_path: Path, kind: type[nn.Module]) -> None:
    of = program(kind)
    found = carried(shipped(tmp_path, of).path)
    assert (found.name, found.signature, found.contract) == (of.name, of.signature, of.contract)
    assert of.exported is not None
    wanted = evaluate(of.exported.module(), of.example)
    for one, other in zip(evaluate(found.module, of.example), wanted, strict=True):
        assert one.equal(other)


def test_it_is_the_same_bytes_each_time_and_names_no_file(tmp_path: Path) -> None:
    of = program(Policy)
    assert of.exported is not None
    first, second = (saved.to_anonymous_bytes(of.exported) for _ in range(2))
    assert first == second
    with zipfile.ZipFile(io.BytesIO(first)) as archive:
        assert not [name for name in archive.namelist() if b".py" in archive.read(name)]
    assert any("stack_trace" in node.meta for node in of.exported.graph.nodes), "the original keeps them"


def test_no_call_needs_it(tmp_path: Path) -> None:
    of = program(Policy)
    artifact = shipped(tmp_path, of)
    (artifact.path / stored_name(artifact.entry(CARRIED))).unlink()
    inputs = draw(of, 2)
    without = build(of, Candidate("float32", TRACED), Store(tmp_path / "store"))
    np.testing.assert_array_equal(load(artifact.path).run(inputs)[0], load(without.path).run(inputs)[0])
    assert contents(artifact, 1) == contents(without, 1)
    with pytest.raises(ArtifactError, match=CARRIED):
        artifact.verify()
    with pytest.raises(ArtifactError, match=CARRIED):
        carried(artifact.path)


def test_sizes_do_not_count_it(tmp_path: Path) -> None:
    artifact = shipped(tmp_path, program(Policy))
    size = artifact.entry(CARRIED).size
    whole = sum(item.stat().st_size for item in artifact.path.iterdir())
    assert Subject("one", artifact.path).artifact_bytes == whole - size
    assert sum(entry.size for entry in artifact.manifest.needed) == (
        sum(entry.size for entry in artifact.manifest.payload) - size
    )


def test_an_engine_that_runs_the_program_itself_has_it_once(tmp_path: Path) -> None:
    exact = shipped(tmp_path / "exact", program(Policy), EagerOptions())
    assert [entry.name for entry in exact.manifest.payload] == ["program.pt2"]
    assert carried(exact.path).passes == exact.manifest.passes


def test_an_engine_that_runs_a_rounded_program_has_the_exact_one_beside_it(tmp_path: Path) -> None:
    need_bfloat16()
    rounded = shipped(tmp_path / "rounded", program(Policy), EagerOptions(), "bfloat16")
    assert [entry.name for entry in rounded.manifest.payload] == ["program.pt2", CARRIED]
    assert {value.dtype for value in carried(rounded.path).module.parameters()} == {
        value.dtype for value in program(Policy).module.parameters()
    }


def test_why_there_is_none_is_said(tmp_path: Path) -> None:
    without = build(program(Policy), Candidate("float32", TRACED), Store(tmp_path / "store"))
    with pytest.raises(ArtifactError, match="of earlier versions do not; optimize the agent again"):
        carried(without.path)
    of = program(Branching)
    assert of.exported is None
    original = shipped(tmp_path, of, EagerOptions(form="module"))
    with pytest.raises(ArtifactError) as caught:
        carried(original.path)
    assert str(caught.value).endswith(f"carries no program to export: {of.refusal('export')}")


def test_a_program_of_another_agent_is_refused(tmp_path: Path) -> None:
    artifact, other = shipped(tmp_path, program(Policy)), program(Pair)
    assert other.exported is not None
    files = {**artifact.payloads(), CARRIED: saved.to_bytes(other.exported)}
    changed = write(artifact.path, replace(artifact.manifest), files)
    with pytest.raises(ArtifactError, match="the program that it carries cannot be used"):
        carried(changed.path)


def test_a_program_that_is_more_than_computation_is_not_opened(tmp_path: Path) -> None:
    artifact = shipped(tmp_path, program(Policy))
    content = artifact.payload(CARRIED)
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(buffer, "w") as new:
        for name in old.namelist():
            text = old.read(name)
            new.writestr(
                name, text.replace(b"torch.ops.aten.relu.default", b"torch.ops.aten.from_file.default")
            )
    changed = write(artifact.path, artifact.manifest, {**artifact.payloads(), CARRIED: buffer.getvalue()})
    with pytest.raises(ArtifactError, match=r"is not opened: .*aten::from_file"):
        carried(changed.path)
    assert read(changed.path).manifest.digest != artifact.manifest.digest
