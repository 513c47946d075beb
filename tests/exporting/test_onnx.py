"""`--to onnx`: the file is the agent, says what it is, and is not written where it is not."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from grandopt.artifacts.artifact import Artifact
from grandopt.cli.commands.export import export
from grandopt.compiler.checkpoints import detect
from grandopt.compiler.checkpoints.onnx.stated import KEY
from grandopt.config.schema import AgentConfig
from grandopt.errors import (
    CheckpointError,
    ConfigError,
    EngineUnavailableError,
    OutputError,
    VerificationError,
)
from grandopt.signature import Contract, Signature, TensorSpec
from grandopt.workflows.exporting.onnx import write as writing
from grandopt.workflows.exporting.onnx.document import document
from grandopt.workflows.exporting.onnx.write import WrittenOnnx, export_onnx
from tests.exporting.shipping import shipped
from tests.small_agents import Pair, Policy, draw, expected, program

onnx = pytest.importorskip("onnx", reason="skipped: onnx is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="skipped: onnxruntime is not installed")
pytest.importorskip("onnxscript", reason="skipped: onnxscript is not installed")

BOUNDED = program(Policy).but(
    contract=Contract(action="continuous", low=(0.0,) * 3, high=(1.0,) * 3, normalised=True, clip_obs=10.0),
    signature=Signature(
        (TensorSpec("state", (8,), low=-10.0, high=10.0),),
        (TensorSpec("output_0", (3,), role="action"),),
    ),
)


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return shipped(tmp_path_factory.mktemp("onnx"), BOUNDED)


@pytest.fixture(scope="module")
def written(artifact: Artifact) -> WrittenOnnx:
    return export_onnx(artifact.path, artifact.path.parent / "policy.onnx")


def _metadata(file: Path) -> dict[str, Any]:
    return json.loads({entry.key: entry.value for entry in onnx.load(file).metadata_props}[KEY])


@pytest.mark.parametrize("batch", [1, 5])
def test_the_file_is_the_agent_for_any_batch(written: WrittenOnnx, batch: int) -> None:
    session = onnxruntime.InferenceSession(written.file, providers=["CPUExecutionProvider"])
    (state,) = draw(BOUNDED, batch)
    (found,) = session.run(["output_0"], {"state": state})
    np.testing.assert_allclose(found, expected(BOUNDED, [state])[0], atol=1e-6)


def test_it_says_what_was_checked(written: WrittenOnnx) -> None:
    checker, runtime, own = written.checks
    assert checker == "onnx.checker: passed"
    assert runtime.startswith(f"ONNX Runtime {onnxruntime.__version__}: 23 calls, largest error ")
    assert own.startswith("read back by grandopt: 23 calls, largest error ")
    assert (written.inputs, written.outputs, written.opset) == (("state",), ("output_0",), 20)
    assert written.bytes == written.file.stat().st_size


def test_the_metadata_hold_the_contract_and_no_path(artifact: Artifact, written: WrittenOnnx) -> None:
    said = _metadata(written.file)
    assert said["artifact"] == artifact.manifest.digest
    assert said["source"].keys() == {"format", "sha256", "weights"}
    assert said["inputs"][0] | {"low": -10.0, "high": 10.0} == said["inputs"][0]
    assert (said["contract"]["normalised"], said["contract"]["clip_obs"]) == (True, 10.0)
    assert b".py" not in written.file.read_bytes()


def test_optimize_knows_the_agent_again(written: WrittenOnnx) -> None:
    found = detect.load("policy", AgentConfig(checkpoint=written.file))
    assert (found.inputs, found.contract) == (BOUNDED.signature.inputs, BOUNDED.contract)
    assert (found.output_names, found.output_roles) == (("output_0",), ("action",))


def test_what_is_configured_counts_more_than_what_the_file_says(written: WrittenOnnx) -> None:
    found = detect.load("policy", AgentConfig(checkpoint=written.file, outputs=("output_0",)))
    assert found.contract.action == "none"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inputs": 3}, "cannot be read"),
        ({"contract": {"action": "magic"}}, "cannot be read .*magic"),
        ({"inputs": [{"name": "state", "shape": [9]}]}, r"says float32 \[9\] .* its graph float32 \[8\]"),
    ],
)
def test_metadata_that_make_no_sense_are_refused(
    written: WrittenOnnx, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    model = onnx.load(written.file)
    model.metadata_props[0].value = json.dumps(_metadata(written.file) | change)
    onnx.save(model, tmp_path / "changed.onnx")
    with pytest.raises(CheckpointError, match=message):
        detect.load("policy", AgentConfig(checkpoint=tmp_path / "changed.onnx"))


def test_metadata_of_another_version_say_nothing(written: WrittenOnnx, tmp_path: Path) -> None:
    model = onnx.load(written.file)
    model.metadata_props[0].value = json.dumps(_metadata(written.file) | {"version": 2})
    onnx.save(model, tmp_path / "newer.onnx")
    found = detect.load("policy", AgentConfig(checkpoint=tmp_path / "newer.onnx"))
    assert found.contract == Contract()


def test_a_file_that_is_there_is_not_written_over(artifact: Artifact, tmp_path: Path) -> None:
    file = tmp_path / "there.onnx"
    file.write_bytes(b"mine")
    with pytest.raises(OutputError, match="is there already; choose another name, or pass --overwrite"):
        export_onnx(artifact.path, file)
    assert file.read_bytes() == b"mine"
    with pytest.raises(OutputError, match=r"the folder .* does not exist"):
        export_onnx(artifact.path, tmp_path / "no" / "policy.onnx")


def test_a_file_of_another_agent_is_not_put_in_place(
    artifact: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoiled(*args: Any) -> bytes:
        model = onnx.load_from_string(document(*args))
        weights = next(item for item in model.graph.initializer if list(item.dims) == [16, 8])
        numbers = onnx.numpy_helper.to_array(weights).copy()
        numbers[0, 0] += 0.01
        weights.CopyFrom(onnx.numpy_helper.from_array(numbers, weights.name))
        return bytes(model.SerializeToString())

    monkeypatch.setattr(writing, "document", spoiled)
    with pytest.raises(VerificationError, match="the file in ONNX Runtime is not the same agent"):
        export_onnx(artifact.path, tmp_path / "spoiled.onnx")
    assert not any(tmp_path.iterdir())


def test_a_missing_package_is_named(
    artifact: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnx" else found(name))
    with pytest.raises(
        EngineUnavailableError, match=r"onnx is not installed; .*pip install 'grandopt\[onnx\]'"
    ):
        export_onnx(artifact.path, tmp_path / "a.onnx")


def test_outputs_can_be_chosen_and_recorded_observations_used(tmp_path: Path) -> None:
    of = program(Pair)
    artifact = shipped(tmp_path, of)
    state, image = draw(of, 64)
    np.savez(tmp_path / "seen.npz", state=state, image=image)
    chosen = export_onnx(
        artifact.path, tmp_path / "a.onnx", outputs=("output_1",), samples=tmp_path / "seen.npz"
    )
    assert (chosen.inputs, chosen.outputs) == (("state", "image"), ("output_1",))
    assert "every decision the same" in chosen.checks[1]
    with pytest.raises(ConfigError, match="has no output 'x'; it has output_0, output_1, output_2"):
        export_onnx(artifact.path, tmp_path / "b.onnx", outputs=("x",))


def test_the_command_says_where_and_what(
    artifact: Artifact, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "gate.onnx"
    export(artifact.path, file, to="onnx", flavour="isaaclab")
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{file}: ")
    assert first.endswith("opset 20, obs → actions")
    assert second.startswith("onnx.checker: passed; ONNX Runtime ")
    with pytest.raises(ConfigError, match="--flavour says nothing about --to c; leave it out"):
        export(artifact.path, tmp_path / "c", flavour="godot")
