"""Building: the candidates, their stages, and the key under which a result is found again."""

from __future__ import annotations

import importlib.metadata
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from grandopt.artifacts.machine import architecture
from grandopt.artifacts.store import Store
from grandopt.compiler import build as building
from grandopt.compiler.build import Candidate, build, candidates, key, original
from grandopt.compiler.candidates import LIST, left_out
from grandopt.compiler.capture.export import capture
from grandopt.compiler.capture.torchscript import trace
from grandopt.compiler.checkpoints.module.memory import from_module
from grandopt.compiler.program import Program
from grandopt.config.engine import PRECISIONS
from grandopt.config.engines import (
    ENGINES,
    EagerOptions,
    EngineName,
    EngineOptions,
    InductorOptions,
    NativeOptions,
    OnnxRuntimeOptions,
    OpenVinoOptions,
    TorchScriptOptions,
)
from grandopt.config.profiles import PROFILES
from grandopt.errors import BuildError, UnsupportedError
from grandopt.runtime.loader import load
from tests.small_agents import Branching, Pair, Policy, draw, expected, program

INTERPRETERS: tuple[EngineName, ...] = ("eager", "torchscript")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def _labels(of: Program, *precisions: str, engines: tuple[EngineName, ...] = INTERPRETERS) -> list[str]:
    chosen = [name for name in PRECISIONS if name in precisions]
    return [candidate.label for candidate in candidates(of, engines, chosen)]


def _archive(of: Program) -> Program:
    return of.but(module=torch.jit.trace(of.module, of.example, check_trace=False))


def test_candidates_read_from_plain_to_reduced() -> None:
    of = program(Policy)
    float32 = ["eager/float32", "torchscript/float32/no-ofi", "torchscript/float32"]
    assert _labels(of, "float32") == float32
    assert _labels(of, *PRECISIONS) == [
        *float32,
        "eager/bfloat16",
        "torchscript/bfloat16/no-ofi",
        "torchscript/bfloat16",
        "torchscript/int8_dynamic/no-ofi",
        "torchscript/int8_dynamic",
    ]
    assert [item.label for item in candidates(of, ("eager",), ("float32",))] == ["eager/float32"]
    assert _labels(_archive(of), *PRECISIONS) == float32


def test_candidates_of_the_compiled_engines() -> None:
    of = program(Policy)
    assert _labels(of, *PRECISIONS, engines=("native",)) == [
        "native/float32",
        "native/float32/256-bit",
        "native/bfloat16",
        "native/int8_dynamic",
    ]
    usual = _labels(of, *PRECISIONS, engines=("inductor", "onnxruntime", "openvino"))
    assert usual == [
        "inductor/float32",
        "inductor/float32/library",
        "onnxruntime/float32",
        "openvino/float32",
        "openvino/float32/no-snippets",
        "inductor/bfloat16",
        "openvino/bfloat16",
        "onnxruntime/int8_dynamic",
        "onnxruntime/int8_static",
        "openvino/int8_static",
    ]
    archived = _labels(_archive(of), *PRECISIONS, engines=("inductor", "onnxruntime", "openvino"))
    assert archived == [label for label in usual if label != "inductor/bfloat16"]
    every = [
        item.label
        for item in candidates(of, ENGINES, PRECISIONS, every=True, limits=PROFILES["maximum"].limits)
    ]
    assert len(set(every)) == len(every) == len(LIST)
    assert {"inductor/float32/autotune", "inductor/float32/library/single"} < set(every)
    assert all(item.reason for item in LIST)


def test_without_samples_what_is_calibrated_is_left_out_with_one_reason() -> None:
    of, engines = program(Policy), ("onnxruntime", "openvino")
    kept = candidates(of, engines, PRECISIONS, every=True, samples=False)
    assert {item.precision for item in kept} == {"float32", "bfloat16", "int8_dynamic"}
    (refusal,) = left_out(of, engines, PRECISIONS)
    assert refusal.stage == "int8_static"
    assert refusal.reason.remedy == "--samples FILE.npz"
    assert refusal.reason.text.startswith("calibration needs recorded observations: --samples")
    assert left_out(of, engines, ("float32",)) == left_out(of, ("native",), ("int8_static",)) == ()


def test_engines_with_precisions_of_their_own_get_float32_programs() -> None:
    for candidate in candidates(program(Policy), ("onnxruntime", "openvino"), PRECISIONS, every=True):
        assert candidate.passes == ("fold_batchnorm", "remove_identity")
    assert Candidate("bfloat16", InductorOptions()).passes[-1] == "bfloat16"


def test_labels_tell_all_variants_apart() -> None:
    variants: list[EngineOptions] = [EagerOptions(form=form) for form in ("module", "exported")]
    variants += [
        TorchScriptOptions(form=form, freeze=freeze, optimize_for_inference=optimize)
        for form in ("traced",)
        for freeze in (True, False)
        for optimize in (True, False)
    ]
    variants += [NativeOptions(), NativeOptions(tile=1), NativeOptions(levels=("x86-64-v3",))]
    variants.append(TorchScriptOptions(form="archive", freeze=False, optimize_for_inference=False))
    variants += [
        InductorOptions(gemm=gemm, single=single)
        for gemm in ("library", "templates", "autotune")
        for single in (True, False)
    ]
    variants += [OnnxRuntimeOptions(spinning=spinning) for spinning in (True, False)]
    variants += [
        OpenVinoOptions(single=single, snippets=snippets)
        for single in (True, False)
        for snippets in (True, False)
    ]
    labels = {Candidate("float32", options).label for options in variants}
    assert len(labels) == len(variants)
    assert "torchscript/float32/unfrozen/no-ofi" in labels


def test_more_threads_are_not_another_build(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    candidate = Candidate("float32", TorchScriptOptions())
    one = build(program(Policy), candidate, store)
    monkeypatch.setattr(building, "_lower", None)  # whoever builds again now fails
    two = build(program(Policy), candidate, store, threads=2)
    assert (one.manifest.threads, two.manifest.threads) == (1, 2)
    assert two.payloads() == one.payloads()
    assert build(program(Policy), candidate, store, threads=2).path == two.path


def test_code_generated_for_a_number_of_threads_is(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(building, "_lower", _refused)
    with pytest.raises(UnsupportedError, match="with 2 threads"):
        build(program(Policy), Candidate("float32", InductorOptions()), store, threads=2)


def _refused(of: Program, options: EngineOptions, threads: int, calibration: object) -> None:
    raise UnsupportedError(f"{options.engine} with {threads} threads")


def test_the_manifest_says_what_was_built(store: Store) -> None:
    of = program(Pair)
    artifact = build(of, Candidate("float32", TorchScriptOptions()), store, threads=2)
    manifest = artifact.manifest
    assert (manifest.name, manifest.engine, manifest.precision) == ("pair", "torchscript", "float32")
    assert manifest.parsed_signature() == of.signature
    assert manifest.parsed_contract() == of.contract
    assert manifest.source == of.source
    assert manifest.threads == 2
    assert manifest.machine == architecture()
    assert manifest.requires == {"torch": importlib.metadata.version("torch")}
    assert manifest.built_by == f"grandopt {importlib.metadata.version('grandopt')}"
    assert not manifest.trusted_only
    assert manifest.options["optimize_for_inference"] is True
    assert [entry.name for entry in manifest.payload] == ["program.pt"]


def test_what_was_built_is_not_built_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    candidate = Candidate("float32", EagerOptions())
    first = build(program(Policy), candidate, store)
    monkeypatch.setattr(building, "_lower", None)  # whoever builds now fails
    assert build(program(Policy), candidate, store) == first
    assert first.path.name == key(program(Policy), candidate)


def test_passes_are_recorded_and_the_graph_is_captured_anew(store: Store) -> None:
    network = torch.nn.Sequential(
        torch.nn.Linear(4, 8),
        torch.nn.BatchNorm1d(8),
        torch.nn.ReLU(),
        torch.nn.Dropout(),
        torch.nn.Linear(8, 2),
    )
    network[1].running_mean.uniform_(-1, 1)
    of = capture(from_module("folded", network.eval(), np.zeros((2, 4), np.float32)), 0)
    inputs = draw(of, 5)
    for options in (EagerOptions(), TorchScriptOptions()):
        artifact = build(of, Candidate("float32", options), store)
        assert artifact.manifest.passes == ("fold_batchnorm", "remove_identity")
        np.testing.assert_allclose(load(artifact.path).run(inputs)[0], expected(of, inputs)[0], atol=1e-5)
    assert of.passes == ()


class TestOriginal:
    def test_a_module_is_pickled_as_it_is(self, store: Store) -> None:
        artifact = original(program(Policy), store)
        assert artifact.manifest.trusted_only
        assert list(artifact.payloads()) == ["module.pkl"]
        assert artifact.manifest.passes == ()
        assert original(program(Policy), store) == artifact

    def test_an_archive_stays_the_archive(self, store: Store) -> None:
        of = _archive(program(Policy))
        artifact = original(of, store)
        assert not artifact.manifest.trusted_only
        options = artifact.manifest.options
        assert (options["form"], options["freeze"], options["optimize_for_inference"]) == (
            "archive",
            False,
            False,
        )

    def test_what_cannot_be_pickled_is_represented_by_its_export(self, store: Store) -> None:
        of = _unpicklable(program(Policy))
        artifact = original(of, store)
        assert list(artifact.payloads()) == ["program.pt2"]
        reason = artifact.manifest.source.details["original_form"]
        assert "exported program, because policy: Policy cannot be pickled" in reason
        inputs = draw(of, 3)
        np.testing.assert_allclose(load(artifact.path).run(inputs)[0], expected(of, inputs)[0], atol=1e-6)

    def test_what_has_neither_form_is_refused(self, store: Store) -> None:
        of = _unpicklable(program(Branching))
        with pytest.raises(
            UnsupportedError, match=r"cannot be pickled.*not exported either: .*depends on the data"
        ):
            original(of, store)

    def test_data_dependent_branches_survive_in_the_original(self, store: Store) -> None:
        of = program(Branching)
        assert of.exported is None
        executor = load(original(of, store).path, trust=True)
        for sign in (1, -1):
            inputs = [np.full((1, 4), sign, np.float32)]
            np.testing.assert_allclose(executor.run(inputs)[0], expected(of, inputs)[0], atol=1e-6)


class TestRefusals:
    @pytest.mark.parametrize(
        ("options", "reason"),
        [
            (EagerOptions(), "not exported: the network's control flow depends on the data"),
            (TorchScriptOptions(), "the trace gives other outputs than the original"),
        ],
        ids=["eager", "torchscript"],
    )
    def test_no_graph(self, store: Store, options: EngineOptions, reason: str) -> None:
        with pytest.raises(UnsupportedError, match=f"^branching: {reason}") as caught:
            build(program(Branching), Candidate("float32", options), store)
        assert "\n" not in str(caught.value)

    def test_no_archive(self, store: Store) -> None:
        options = TorchScriptOptions(form="archive")
        with pytest.raises(UnsupportedError, match="is a Policy, not an archive"):
            build(program(Policy), Candidate("float32", options), store)

    def test_state_between_calls(self, store: Store) -> None:
        kept = capture(from_module("counting", _Counting(), np.zeros((2, 3), np.float32)), 0)
        assert [tensor.input for tensor in kept.contract.state] == ["calls"]
        # Lowering looks for itself: a pass might have brought such a module.
        still = capture(from_module("counting", torch.nn.Identity(), np.zeros((2, 3), np.float32)), 0)
        of = trace(still.but(module=_Counting().eval()))
        calls = float(of.module.calls)
        for options in (EagerOptions(form="module"), TorchScriptOptions()):
            with pytest.raises(UnsupportedError, match="counting: writes to its own 'calls' at each call"):
                building._lower(of, options)
        assert float(of.module.calls) == calls, "lowering works on a copy"

    def test_outputs_that_are_not_the_signatures(self, store: Store) -> None:
        of = program(Policy)
        wrong = of.but(signature=program(Pair).signature, example=of.example)
        with pytest.raises(BuildError, match=r"the built program gives \[\('float32', \[1, 3\]\)\]"):
            building._lower(wrong, EagerOptions())


class _Counting(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, state: torch.Tensor) -> torch.Tensor:
        self.calls.add_(1)
        return state + self.calls * 0


def _unpicklable(of: Program) -> Program:
    module = type(of.module)()
    module.load_state_dict(of.module.state_dict())
    module.eval().handle = (number for number in range(3))  # a generator cannot be pickled
    return of.but(module=module)


class TestKey:
    candidate = Candidate("float32", EagerOptions())

    def test_the_same_build_has_the_same_key(self) -> None:
        again = capture(
            from_module("policy", program(Policy).module, {"state": np.zeros((2, 8), np.float32)}), 0
        )
        assert key(again, self.candidate) == key(program(Policy), self.candidate)

    def test_the_same_archive_read_twice_has_the_same_key(self, tmp_path: Path) -> None:
        torch.jit.save(torch.jit.freeze(_archive(program(Policy)).module), tmp_path / "a.pt")
        keys = {
            key(program(Policy).but(module=torch.jit.load(tmp_path / "a.pt"), exported=None), self.candidate)
            for _ in range(3)
        }
        assert len(keys) == 1

    @pytest.mark.parametrize("form", ["module", "archive", "frozen"])
    def test_a_single_weight_changes_it(self, form: str) -> None:
        of = program(Policy)
        module = type(of.module)()
        module.load_state_dict(of.module.state_dict())
        with torch.no_grad():
            module.head.bias[0] = torch.nextafter(module.head.bias[0], torch.tensor(9.0))
        keys = set()
        for variant in (of.module, module.eval().requires_grad_(False)):
            changed = of.but(module=variant, exported=None)
            if form != "module":
                changed = _archive(changed)
            if form == "frozen":
                changed = changed.but(module=torch.jit.freeze(changed.module))
            keys.add(key(changed, self.candidate))
        assert len(keys) == 2

    def test_an_attribute_that_is_no_weight_changes_it(self) -> None:
        keys = set()
        for negative in (False, True):
            network = _Steered(negative)
            of = capture(from_module("steered", network, np.zeros((2, 4), np.float32)), 0)
            keys |= {key(of, self.candidate), key(of.but(exported=None), self.candidate)}
        assert len(keys) == 4

    def test_candidate_threads_name_and_source_change_it(self) -> None:
        of = program(Policy)
        other = of.but(source=replace(of.source, path="elsewhere"))
        keys = {
            key(of, self.candidate),
            key(of, self.candidate, threads=2),
            key(of, Candidate("bfloat16", EagerOptions())),
            key(of, Candidate("float32", EagerOptions(form="module"))),
            key(of.but(name="other"), self.candidate),
            key(other, self.candidate),
        }
        assert len(keys) == 6

    def test_the_machine_and_the_compilers_change_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        keys = {key(program(Policy), self.candidate)}
        monkeypatch.setattr(building, "cpu_features", lambda: frozenset({"mmx"}))
        keys.add(key(program(Policy), self.candidate))
        monkeypatch.setattr(building, "compiler_identity", lambda: {"torch": "1.0"})
        keys.add(key(program(Policy), self.candidate))
        assert len(keys) == 3


class _Steered(torch.nn.Module):
    def __init__(self, negative: bool) -> None:
        super().__init__()
        self.negative = negative

    def forward(self, state: torch.Tensor) -> torch.Tensor:
        return -state if self.negative else state * 2


@pytest.mark.parametrize("name", ["ultra_fast_tactical", "strategic_system_jit"])
def test_real_frozen_archives(shared_checkpoints: Path, store: Store, name: str) -> None:
    """Archives that are frozen already: they have lost the attribute that freezing asks for."""
    shapes: list[tuple[int, ...]] = [(60, 7)] if name == "ultra_fast_tactical" else [(4,), (6,), (3,)]
    module = torch.jit.load(shared_checkpoints / "grandmodel" / f"{name}.pt")
    of = capture(from_module(name, module, tuple(np.zeros((2, *shape), np.float32) for shape in shapes)), 0)
    inputs = draw(of, 3)
    want = expected(of, inputs)
    artifacts = [original(of, store)]
    artifacts += [build(of, candidate, store) for candidate in candidates(of, INTERPRETERS, PRECISIONS)]
    assert len(artifacts) == 4
    for artifact in artifacts:
        for got, output in zip(load(artifact.path).run(inputs), want, strict=True):
            np.testing.assert_allclose(got, output, rtol=1e-4, atol=1e-5)


def test_recorded_samples_change_only_the_builds_that_look_at_them() -> None:
    of = program(Policy)
    samples = draw(of, 4)
    plain, static = Candidate("float32", TorchScriptOptions()), OnnxRuntimeOptions(quantization="static")
    assert key(of, plain, calibration=samples) == key(of, plain)
    calibrated = Candidate("int8_static", static)
    assert key(of, calibrated, calibration=samples) != key(of, calibrated)
