"""The contract of passes (`pipeline.Pass`), run by every one in the pipeline's list."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from grandopt.compiler import passes
from grandopt.compiler.candidates import PLAIN
from grandopt.compiler.passes import bfloat16, pipeline
from grandopt.compiler.passes.check import TOLERANCE
from grandopt.compiler.program import Program, Refusal, evaluate
from grandopt.errors import PassError, UnsupportedError
from tests.capture import agents
from tests.passes.programs import assert_untouched, fingerprint, program, shaken

Apply = Callable[[Program], Program]

WHATEVER_THE_PROCESSOR: dict[str, Apply] = {
    bfloat16.NAME: bfloat16.convert,
    bfloat16.NAME_INSIDE: partial(bfloat16.convert, inside=True),
}
"""What a pass does apart from the question whether this processor is made for it."""

PROMISED = {"float32": TOLERANCE, "bfloat16": 0.05, "int8_dynamic": 0.1}
"""The largest relative L2 error of the programs below, by the precision that a pass leaves behind."""

every_pass = pytest.mark.parametrize("name", pipeline.PASSES)


def _apply(name: str) -> Apply:
    return WHATEVER_THE_PROCESSOR.get(name, pipeline.PASSES[name].apply)


class Busy(nn.Module):
    """Something to do for every pass: a normalisation, a dropout, layers near the input and further in."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2))
        self.inner = nn.Linear(16, 16)
        self.head = nn.Linear(16, 3)

    def forward(self, state: Tensor) -> Tensor:
        return self.head(torch.tanh(self.inner(self.first(state))))


class Undecided(Busy):
    """The same, another way round when the data says so: nothing that looks ahead can follow it."""

    def forward(self, state: Tensor) -> Tensor:
        return super().forward(state if float(state.sum()) > 0 else -state)


class Idle(nn.Module):
    """Nothing to do for any pass."""

    def forward(self, state: Tensor) -> Tensor:
        return torch.tanh(state)


def _busy(kind: type[nn.Module] = Busy) -> Program:
    torch.manual_seed(3)
    return program(shaken(kind()), (8,))


def _draws(batch: int) -> tuple[Tensor, ...]:
    return (torch.randn(batch, 8, generator=torch.Generator().manual_seed(batch)),)


def _refused(name: str, before: Program) -> str:
    with pytest.raises(UnsupportedError) as caught:
        _apply(name)(before)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_every_pass_of_the_folder_is_in_the_list() -> None:
    """A file with a name of a pass in it (NAME, NAME_…) is a member, and takes part from then on."""
    modules = [
        importlib.import_module(f"{passes.__name__}.{found.name}")
        for found in pkgutil.iter_modules(passes.__path__)
    ]
    named = [value for module in modules for key, value in vars(module).items() if key.startswith("NAME")]
    assert sorted(set(named)) == sorted(pipeline.PASSES)
    assert WHATEVER_THE_PROCESSOR.keys() <= pipeline.PASSES.keys()


@every_pass
class TestChanged:
    def test_the_given_program_stays_as_it_is(self, name: str) -> None:
        before = _busy()
        before = before.but(scores=before.module)
        kept, fields = fingerprint(before.module), vars(before).copy()
        example = [value.clone() for value in before.example]
        after = _apply(name)(before)
        assert after is not before
        assert_untouched(before.module, kept)
        assert vars(before) == fields
        assert all(map(torch.equal, before.example, example))
        owned = {value.data_ptr() for value in before.module.state_dict().values()}
        for value in after.module.parameters():
            assert value.data_ptr() not in owned

    def test_only_the_module_and_the_precision_change(self, name: str) -> None:
        before = _busy()
        after = _apply(name)(before)
        assert after.passes == (name,)
        assert (after.exported, after.traced, after.identity) == (None, None, None)
        assert after.precision in PROMISED
        for field in ("name", "signature", "contract", "source", "example", "refusals"):
            assert getattr(after, field) == getattr(before, field)
        assert not any(module.training for module in after.module.modules())
        assert not any(value.requires_grad for value in after.module.parameters())

    def test_it_computes_the_same_within_its_promise(self, name: str) -> None:
        before = _busy()
        after = _apply(name)(before)
        for batch in (1, 2, 33):
            (want,), (got,) = evaluate(before.module, _draws(batch)), evaluate(after.module, _draws(batch))
            assert (got.shape, got.dtype) == (want.shape, want.dtype)
            error = torch.linalg.vector_norm(got - want) / torch.linalg.vector_norm(want)
            assert float(error) <= PROMISED[after.precision]

    def test_nan_stays_nan_in_its_row(self, name: str) -> None:
        (inputs,) = _draws(3)
        inputs[1, 2] = float("nan")
        (got,) = evaluate(_apply(name)(_busy()).module, (inputs,))
        assert got[1].isnan().all()
        assert got[[0, 2]].isfinite().all()

    def test_once_more_is_refused_or_finds_nothing(self, name: str) -> None:
        before = _busy()
        once = _apply(name)(before)
        if once.precision == before.precision:
            assert _apply(name)(once) is once
        else:
            assert f"not from {once.precision}" in _refused(name, once)

    def test_the_same_twice_gives_the_same(self, name: str) -> None:
        before = _busy()
        one, other = (_apply(name)(before) for _ in range(2))
        assert str(one.module) == str(other.module)
        assert all(map(torch.equal, evaluate(one.module, _draws(9)), evaluate(other.module, _draws(9))))


def test_a_folded_normalisation_is_not_called_any_more() -> None:
    """The passes of every candidate find what the one before them left to do."""
    after = pipeline.run(_busy(), PLAIN)
    called: list[nn.Module] = []
    for module in after.module.modules():
        module.register_forward_hook(lambda module, *_: called.append(module))
    evaluate(after.module, after.example)
    assert not any(isinstance(module, nn.Identity | nn.Dropout | nn.BatchNorm1d) for module in called)


@every_pass
class TestUnchanged:
    def test_nothing_to_do(self, name: str) -> None:
        before = program(Idle(), (8,))
        if _apply(name)(_busy()).precision == "float32":
            assert _apply(name)(before) is before
        else:
            assert "the network has no" in _refused(name, before)

    def test_an_archive_holds_no_layers(self, name: str) -> None:
        before = program(torch.jit.script(agents.Policy().eval()), (8,))
        if _apply(name)(_busy()).precision == "float32":
            assert _apply(name)(before) is before
        else:
            assert "a TorchScript archive holds a graph" in _refused(name, before)

    def test_where_a_pass_cannot_look_it_says_so_and_leaves_what_is(self, name: str) -> None:
        before = _busy(Undecided)
        after = _apply(name)(before)
        if after.module is before.module:
            assert [refusal.stage for refusal in after.refusals] == [name]
            assert isinstance(after.refusals[0], Refusal)
            assert "\n" not in str(after.refusals[0].reason)
        else:
            assert after.passes == (name,)

    def test_a_processor_without_the_arithmetic_is_named(self, name: str) -> None:
        lacking = ""
        try:
            assert pipeline.run(_busy(), [name]).passes == (name,)
        except UnsupportedError as error:
            lacking = str(error)
        if lacking:
            assert lacking.startswith("this processor has no ")
            assert name in WHATEVER_THE_PROCESSOR


@every_pass
class TestChecks:
    def test_a_broken_program_does_not_get_into_it(self, name: str) -> None:
        broken = _busy().but(module=nn.Identity())
        with pytest.raises(PassError, match=r"float32 \[2, 8\] instead of float32 \[2, 3\]"):
            pipeline.run(broken, [name])

    def test_what_leaves_it_broken_is_refused(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        apply = _apply(name)

        def breaks(before: Program) -> Program:
            after = apply(before)
            return after.but(module=nn.Sequential(after.module, nn.Threshold(1e9, float("inf"))))

        broken = pipeline.Pass(name, breaks, pipeline.PASSES[name].reason)
        monkeypatch.setitem(pipeline.PASSES, name, broken)
        with pytest.raises(PassError, match=f"^after {name}: output .* is not finite"):
            pipeline.run(_busy(), [name])
