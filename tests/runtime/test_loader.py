"""The loader: opens what fits in a fresh process, refuses the rest in one line."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from grandopt.artifacts.artifact import Artifact, read, write
from grandopt.artifacts.store import Store
from grandopt.compiler.build import Candidate, build, original
from grandopt.config.engine import Precision
from grandopt.config.engines import EagerOptions, TorchScriptOptions
from grandopt.errors import ArtifactError, ConfigError, EngineError
from grandopt.runtime.loader import load
from tests.processor import has_bfloat16
from tests.small_agents import Policy, Recurrent, draw, expected, program

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("store"))


@pytest.fixture
def artifact(store: Store) -> Artifact:
    return build(program(Policy), Candidate("float32", EagerOptions()), store)


def _changed(artifact: Artifact, folder: Path, **changes: Any) -> Path:
    manifest = replace(artifact.manifest, **changes)
    return write(folder / "changed", manifest, artifact.payloads()).path


def _python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", *arguments], capture_output=True, text=True, cwd=ROOT
    )


RUN_IN_A_FRESH_PROCESS = """
import sys, time
from pathlib import Path
import numpy as np
from grandopt.runtime.loader import load
for folder in sys.argv[1:]:
    executor = load(folder, trust=True)
    cases = np.load(Path(folder) / "cases.npz")
    for _ in range(3):  # TorchScript specialises itself in the first calls
        for batch in (1, 7, 64):
            (got,) = executor.run([cases[f"in{batch}"]])
            np.testing.assert_allclose(got, cases[f"out{batch}"], rtol=0, atol=float(cases["atol"]))
print("equal")
"""


@pytest.mark.slow
def test_a_saved_artifact_runs_in_a_fresh_process(tmp_path: Path, store: Store) -> None:
    torchscript = TorchScriptOptions(), TorchScriptOptions(optimize_for_inference=False)
    precisions: list[tuple[Precision, float]] = [("float32", 1e-6), ("int8_dynamic", 0.05)]
    if has_bfloat16():
        precisions.append(("bfloat16", 0.05))
    folders = []
    for network in (Policy, Recurrent):
        of = program(network)
        artifacts = [
            (original(of, store), 1e-6),
            (build(of, Candidate("float32", EagerOptions()), store), 1e-6),
        ]
        artifacts += [
            (build(of, Candidate(precision, options), store), atol)
            for precision, atol in precisions
            for options in torchscript
        ]
        for artifact, atol in artifacts:
            cases: dict[str, Any] = {"atol": atol}
            for batch in (1, 7, 64):
                inputs = draw(of, batch)
                cases[f"in{batch}"], cases[f"out{batch}"] = inputs[0], expected(of, inputs)[0]
            folder = write(tmp_path / str(len(folders)), artifact.manifest, artifact.payloads()).path
            np.savez(folder / "cases.npz", **cases)
            folders.append(str(folder))
    done = _python("-c", RUN_IN_A_FRESH_PROCESS, *folders)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "equal\n"
    assert done.stderr == ""


def test_importing_the_loader_imports_no_engine() -> None:
    done = _python("-c", "import sys, grandopt.runtime.loader; print({'torch', 'optuna'} & set(sys.modules))")
    assert (done.stdout, done.returncode) == ("set()\n", 0), done.stderr


def test_refusing_an_artifact_imports_no_engine(tmp_path: Path, artifact: Artifact) -> None:
    """Every check of a machine and of the payload comes before the engine is imported."""
    script = """
import sys
sys.modules["torch"] = None
from grandopt.errors import ArtifactError
from grandopt.runtime.loader import load
try:
    load(sys.argv[1])
except ArtifactError as error:
    print(error)
"""
    folder = _changed(artifact, tmp_path, machine="pdp11")
    assert "built for pdp11, this machine is" in _python("-c", script, str(folder)).stdout
    folder = write(folder, artifact.manifest, artifact.payloads()).path
    read(folder).payload_path("program.pt2").write_bytes(b"")
    assert "damaged: 0 bytes where" in _python("-c", script, str(folder)).stdout


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"machine": "pdp11"}, "built for pdp11, this machine is .*; build it again here"),
        ({"cpu_features": ("avx9000",)}, "needs the CPU feature.* avx9000, which this machine does not have"),
        (
            {"requires": {"torch": "1.2.3"}},
            r"built with torch 1\.2\.3, here is .*pip install 'torch==1\.2\.\*'",
        ),
        ({"requires": {"no-such-library": "4.5.6"}}, "needs no-such-library 4.5, which is not installed"),
        ({"requires": {"python": "2.7.18"}}, r"built with python 2\.7\.18, here is .*; build it again$"),
        ({"engine": "abacus"}, "its engine 'abacus' is unknown to this grandopt"),
        ({"trusted_only": True}, r"can run any code when it is loaded; .* pass trust=True \(.*--trust\)"),
        ({"options": {}}, "option 'form' is None, must be one of 'exported', 'module'"),
    ],
    ids=["machine", "cpu", "torch", "library", "python", "engine", "trust", "options"],
)
def test_what_does_not_fit_is_refused(
    tmp_path: Path, artifact: Artifact, changes: dict[str, Any], message: str
) -> None:
    folder = _changed(artifact, tmp_path, **changes)
    with pytest.raises(ArtifactError, match=message) as caught:
        load(folder)
    assert "\n" not in str(caught.value)


def test_a_patch_release_of_a_library_fits(tmp_path: Path, artifact: Artifact) -> None:
    minor = ".".join(torch.__version__.split(".")[:2])
    load(_changed(artifact, tmp_path, requires={"torch": f"{minor}.99+cpu"}))


def test_a_pickled_module_needs_trust(store: Store) -> None:
    pickled = original(program(Policy), store)
    assert pickled.manifest.trusted_only
    with pytest.raises(ArtifactError, match="pass trust=True"):
        load(pickled.path)
    load(pickled.path, trust=True)


def test_a_module_whose_code_is_gone_is_named(tmp_path: Path, store: Store) -> None:
    pickled = original(program(Policy), store)
    content = pickled.payload("module.pkl").replace(b"tests.small_agents", b"tests.small_absent")
    folder = write(tmp_path / "gone", pickled.manifest, {"module.pkl": content}).path
    with pytest.raises(ArtifactError, match="cannot be unpickled here: No module named"):
        load(folder, trust=True)


def test_loading_while_it_is_replaced_gives_the_old_or_the_new(tmp_path: Path, store: Store) -> None:
    of = program(Policy)
    variants = [
        build(of, Candidate("float32", TorchScriptOptions(optimize_for_inference=optimize)), store, threads=1)
        for optimize in (True, False)
    ]
    payloads = [variant.payloads() for variant in variants]
    assert payloads[0] != payloads[1]
    folder = write(tmp_path / "live", variants[0].manifest, payloads[0]).path
    done = threading.Event()

    def replace() -> None:
        turn = 0
        while not done.wait(0.002):
            turn = 1 - turn
            write(folder, variants[turn].manifest, payloads[turn])

    writer = threading.Thread(target=replace)
    writer.start()
    try:
        inputs = draw(of, 2)
        for _ in range(60):
            np.testing.assert_allclose(load(folder).run(inputs)[0], expected(of, inputs)[0], atol=1e-6)
    finally:
        done.set()
        writer.join()


@pytest.mark.parametrize("threads", [0, -1])
def test_threads_must_be_positive(artifact: Artifact, threads: int) -> None:
    with pytest.raises(ConfigError, match=f"threads must be at least 1, got {threads}"):
        load(artifact.path, threads=threads)


def test_threads_are_set_at_load(artifact: Artifact) -> None:
    before = torch.get_num_threads()
    try:
        load(artifact.path, threads=2)
        assert torch.get_num_threads() == 2
        load(artifact.path)
        assert torch.get_num_threads() == artifact.manifest.threads == 1
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("engine", ["eager", "torchscript"])
def test_a_payload_that_torch_cannot_read(tmp_path: Path, store: Store, engine: str) -> None:
    options = EagerOptions() if engine == "eager" else TorchScriptOptions()
    built = build(program(Policy), Candidate("float32", options), store)
    (name,) = built.payloads()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/byteorder", "little")
    for number, content in enumerate((b"", b"not a zip", built.payload(name)[:-40], buffer.getvalue())):
        folder = write(tmp_path / str(number), built.manifest, {name: content}).path
        with pytest.raises(ArtifactError, match="build it again") as caught:
            load(folder)
        assert "\n" not in str(caught.value)


class _Bomb:
    """A pickle that leaves a file when it is opened."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.mark),)


def test_code_in_an_exported_program_does_not_run(tmp_path: Path, artifact: Artifact) -> None:
    """`torch.export.load` unpickles sample inputs and pickled tensors: neither gets that far."""
    mark = tmp_path / "it ran"
    bomb = io.BytesIO()
    torch.save((_Bomb(mark),), bomb)
    name = "archive/data/sample_inputs/model.pt"
    folder = _with_members(artifact, tmp_path / "samples", {name: bomb.getvalue()})
    with pytest.raises(ArtifactError, match=r"sample_inputs/model\.pt', which would have to be unpickled"):
        load(folder)
    config = "archive/data/weights/model_weights_config.json"
    with zipfile.ZipFile(io.BytesIO(artifact.payload("program.pt2"))) as archive:
        weights = json.loads(archive.read(config))
    for entry in weights["config"].values():
        entry["use_pickle"] = True
    members = {config: json.dumps(weights).encode(), "archive/data/weights/weight_0": bomb.getvalue()}
    folder = _with_members(artifact, tmp_path / "weights", members)
    with pytest.raises(ArtifactError, match="holds a pickled tensor, which would have to be unpickled"):
        load(folder)
    assert not mark.exists()


@pytest.mark.parametrize("config", [b"", b"[]", b'{"config": []}', b'{"config": {"w": {}}}'])
def test_a_broken_index_of_an_exported_program(tmp_path: Path, artifact: Artifact, config: bytes) -> None:
    members = {"archive/data/weights/model_weights_config.json": config}
    with pytest.raises(ArtifactError, match="not an exported program"):
        load(_with_members(artifact, tmp_path / "broken", members))


def _with_members(artifact: Artifact, folder: Path, members: dict[str, bytes]) -> Path:
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(artifact.payload("program.pt2"))) as old,
        zipfile.ZipFile(buffer, "w") as new,
    ):
        for name in old.namelist():
            new.writestr(name, members.get(name, old.read(name)))
    return write(folder, artifact.manifest, {"program.pt2": buffer.getvalue()}).path


def test_what_torch_cannot_compute_is_an_engine_error(artifact: Artifact) -> None:
    """`run` leaves checking to its caller; what torch then refuses must name the call, in one line."""
    executor = load(artifact.path)
    with pytest.raises(EngineError, match=r"could not run the agent on float32 \[2, 9\]: ") as caught:
        executor.run([np.zeros((2, 9), np.float32)])
    assert "\n" not in str(caught.value)
    executor.run(draw(program(Policy), 2))
