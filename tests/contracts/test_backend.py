"""The contract of backends (`compiler/backends/base.py`), run by every one in each of its forms."""

from __future__ import annotations

import ast
import importlib.util
import json
import subprocess
import sys
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from grandopt.artifacts.artifact import Artifact
from grandopt.artifacts.machine import cpu_features
from grandopt.artifacts.store import Store
from grandopt.compiler import backends
from grandopt.compiler.backends.base import Lowered
from grandopt.compiler.backends.native import toolchain
from grandopt.compiler.capture.export import export
from grandopt.compiler.capture.torchscript import trace
from grandopt.compiler.identity import content_digest, graph_digest
from grandopt.compiler.program import Program
from grandopt.config.engines import ENGINES, EagerOptions, TorchScriptOptions
from grandopt.errors import BuildError, EngineError, EngineUnavailableError, UnsupportedError
from tests.contracts.backends import BREAKS, MEMBERS, Counting, Member, Spectrum, captured
from tests.passes.programs import assert_untouched, fingerprint
from tests.small_agents import Branching, draw, expected, program

ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path(backends.__path__[0])

APART = {"executorch": "ships nothing: it takes a file, in an environment of its own"}
"""Modules with a `lower` that are no backend of an artifact, and why."""

COMPILED = {"inductor": pytest.mark.slow}
"""Those of which each network takes a C++ compiler many seconds."""

every_member = pytest.mark.parametrize("member", MEMBERS.values(), ids=list(MEMBERS))


@dataclass(frozen=True)
class Made:
    """The same program lowered by a call, and by a build of its own; and what it was before both."""

    member: Member
    direct: Lowered
    artifact: Artifact
    before: tuple[Any, ...]


@pytest.fixture(scope="module", params=[pytest.param(name, marks=COMPILED.get(name, ())) for name in MEMBERS])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    member = MEMBERS[request.param]
    _need(member)
    of = member.program()
    before = _everything(of)
    direct = member.lower(of)
    return Made(member, direct, member.built(of, Store(tmp_path_factory.mktemp("store"))), before)


def _need(member: Member) -> None:
    for library in member.libraries:
        pytest.importorskip(library, reason=f"skipped: {library} is not installed")


def _everything(of: Program) -> tuple[Any, ...]:
    """All that a backend could have changed in a program, as plain values."""
    captured = (
        [] if of.exported is None else [of.exported.graph_module.code, str(of.exported.graph_signature)]
    )
    weights = [] if of.exported is None else sorted(of.exported.state_dict.items())
    return (
        graph_digest(of),
        str(of.module),
        of.module.training,
        captured,
        [(name, value.tolist()) for name, value in weights],
        None if of.exported is None else of.exported.example_inputs is None,
        None if of.traced is None else str(of.traced.graph),
        [value.tolist() for value in of.example],
    )


def _refused(kind: type[EngineError], member: Member, of: Program) -> str:
    """What the backend says of a program that it refuses, after checking that it is one line."""
    with pytest.raises(kind) as caught:
        member.lower(of)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def _lower_of(path: Path) -> bool:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return any(isinstance(node, ast.FunctionDef) and node.name == "lower" for node in tree.body)


def test_every_backend_of_the_folder_is_here() -> None:
    """A module with a function `lower` is a backend, and each engine's options choose one."""
    found = {
        ".".join(path.relative_to(FOLDER).with_suffix("").parts)
        for path in (*FOLDER.glob("*.py"), *FOLDER.glob("*/*.py"))
        if _lower_of(path)
    }
    assert found == {member.module for member in MEMBERS.values()} | APART.keys()
    assert {member.options.engine for member in MEMBERS.values()} == set(ENGINES)


class TestLowered:
    def test_the_program_stays_as_it_is(self, made: Made) -> None:
        assert _everything(made.member.program()) == made.before

    def test_files_and_options_are_plain(self, made: Made) -> None:
        lowered = made.direct
        assert lowered.files
        for name, content in lowered.files.items():
            assert name == Path(name).name
            assert isinstance(content, bytes)
            assert content
        options = dict(lowered.options)
        assert json.loads(json.dumps(options, allow_nan=False)) == options
        assert options.keys() >= made.member.options.model_dump().keys()
        assert options["engine"] == made.member.options.engine

    def test_it_says_what_it_is_bound_to(self, made: Made) -> None:
        requires = dict(made.direct.requires)
        assert ("torch" in requires) == made.member.torch
        python = requires.pop("python", None)
        assert python is None or python == sys.version.split()[0]
        assert requires == {library: metadata.version(library) for library in requires}
        assert set(made.direct.cpu_features) <= cpu_features()
        assert made.direct.trusted_only == any(name.endswith(".pkl") for name in made.direct.files)

    def test_the_same_again_is_the_same(self, made: Made) -> None:
        again = made.artifact.payloads()
        files = made.direct.files
        assert files.keys() == again.keys()
        match made.member.repeats:
            case "bytes":
                assert all(files[name] == again[name] for name in files)
            case "contents":
                assert all(content_digest(files[name]) == content_digest(again[name]) for name in files)
            case name:
                assert files[name] == again[name]
        assert dict(made.direct.options) == made.artifact.manifest.options
        assert dict(made.direct.requires) == made.artifact.manifest.requires
        assert made.direct.cpu_features == made.artifact.manifest.cpu_features

    def test_loading_takes_no_torch_unless_it_says_so(self, made: Made, tmp_path: Path) -> None:
        if made.member.torch:
            pytest.skip("its engine is torch")
        inputs = draw(made.member.program(), 3)
        np.save(tmp_path / "inputs.npy", inputs[0])
        code = (
            "import sys; sys.modules['torch'] = None; import grandopt, numpy as np; "
            "policy = grandopt.load(sys.argv[1]); np.save(sys.argv[3], policy(np.load(sys.argv[2])))"
        )
        files = [str(tmp_path / name) for name in ("inputs.npy", "outputs.npy")]
        done = subprocess.run(
            [sys.executable, "-c", code, str(made.artifact.path), *files],
            cwd=ROOT, capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")
        (want,) = expected(made.member.program(), inputs)
        np.testing.assert_allclose(np.load(files[1]), want, rtol=1e-5, atol=1e-6)


@every_member
class TestRefused:
    def test_what_was_notcaptured(self, member: Member) -> None:
        _need(member)
        of = program(Branching)
        match member.options:
            case EagerOptions(form="module"):
                of = of.but(module=type(of.module)().eval())
                of.module.handle = (number for number in range(3))  # a generator cannot be pickled
                said = "branching: Branching cannot be pickled: "
            case TorchScriptOptions(form="archive"):
                said = "branching: is a Branching, not an archive"
            case TorchScriptOptions():
                said = "branching: the trace gives other outputs than the original"
                of = trace(of)
            case _:
                said = "the network's control flow depends on the data"
        assert said in _refused(UnsupportedError, member, of)

    def test_an_operator_is_named(self, member: Member) -> None:
        _need(member)
        if member.unknown is None:
            pytest.skip("torch's own operators are its engine's")
        with pytest.raises(UnsupportedError, match=member.unknown) as caught:
            member.lower(captured(Spectrum, 3, 3))
        assert "\n" not in str(caught.value)

    def test_state_between_calls(self, member: Member) -> None:
        _need(member)
        counting = Counting().eval()
        of = captured(nn.Identity, 3).but(module=counting, exported=None)
        match member.options:
            case TorchScriptOptions(form="archive"):
                of = of.but(module=torch.jit.script(counting))
            case TorchScriptOptions():
                of = trace(of)
            case EagerOptions(form="module"):
                pass
            case _:
                of = export(of)
                assert of.exported is not None
        kept, calls = fingerprint(counting), float(counting.calls)
        said = _refused(UnsupportedError, member, of)
        assert "calls" in said or "changes a buffer" in said
        assert "keeps no state" in said
        assert_untouched(counting, kept)
        assert float(counting.calls) == calls

    def test_outputs_that_are_not_the_signatures(self, member: Member) -> None:
        _need(member)
        if member.module == "inductor":
            pytest.skip("seen after compiling; `conventions` has tests of its own")
        of = member.program()
        wrong = of.but(signature=replace(of.signature, outputs=_other(of)))
        assert "float32" in _refused((BuildError, UnsupportedError), member, wrong)


def _other(of: Program) -> tuple[Any, ...]:
    (output,) = of.signature.outputs
    return (type(output)("one", (4,), "float32"),)


@every_member
class TestThirdParties:
    def test_their_errors_are_one_line(self, member: Member, monkeypatch: pytest.MonkeyPatch) -> None:
        _need(member)
        if member.options == EagerOptions(form="module"):
            pytest.skip("pickling fails as the refusal above")
        BREAKS[member.module](monkeypatch)
        said = _refused(BuildError, member, member.program())
        assert "and at another" not in said

    def test_one_that_is_missing_is_named_with_the_remedy(
        self, member: Member, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for library in member.libraries[:1]:
            monkeypatch.setitem(sys.modules, library, None)  # what an import finds where it is not installed
            monkeypatch.delitem(sys.modules, f"grandopt.runtime.executors.{member.module}", raising=False)
        if member.module == "native.backend":
            monkeypatch.delenv("CC", raising=False)
            monkeypatch.setenv("PATH", "")
            monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
            toolchain._find.cache_clear()
        elif not member.libraries:
            pytest.skip("torch is always there")
        assert "install " in _refused(EngineUnavailableError, member, member.program())
