"""What counts as evidence about an agent's inputs, and what is drawn from it."""

from __future__ import annotations

import numpy as np
import pytest

from grandopt.signature import Moments, Signature, TensorSpec
from grandopt.verification.evidence import Evidence, EvidenceKind, evidence_of
from grandopt.verification.populations import populations

FREE = TensorSpec("state", (5,))
BOX = TensorSpec("box", (5,), low=-2.0, high=(1.0, 2.0, 3.0, 4.0, 5.0))
MOMENTS = Moments((0.0, 1.0, 1000.0, -5.0, 0.1), (1.0, 2.0, 50.0, 0.5, 1e-3), 10.0)


@pytest.mark.parametrize(
    ("specs", "kind"),
    [
        ((FREE,), "none"),
        ((BOX,), "bounds"),
        ((BOX, FREE), "none"),
        ((TensorSpec("half", (2,), low=0.0),), "none"),
        ((TensorSpec("endless", (2,), low=-3.4e38, high=3.4e38),), "none"),
        ((TensorSpec("one", (2,), low=(-1.0, -np.inf), high=1.0),), "none"),
        ((TensorSpec("pixels", (3, 8, 8), "uint8"),), "bounds"),
        ((TensorSpec("flags", (4,), "bool"),), "bounds"),
        ((TensorSpec("number", (), "int64"),), "none"),
        ((TensorSpec("number", (), "int64", low=0, high=6),), "bounds"),
    ],
)
def test_bounds_are_evidence_where_every_element_has_two(
    specs: tuple[TensorSpec, ...], kind: EvidenceKind
) -> None:
    found = evidence_of(specs)
    assert found.kind == kind
    assert found.there == (kind != "none")
    assert ("--samples" in found.detail) == (kind == "none")


def test_recorded_observations_count_before_statistics_and_these_before_bounds() -> None:
    assert evidence_of((FREE,), recorded=12, moments={"state": MOMENTS}).kind == "recorded"
    assert evidence_of((FREE, BOX), moments={"state": MOMENTS}).kind == "statistics"
    assert evidence_of((FREE, BOX), moments={"box": MOMENTS}).kind == "none"
    assert evidence_of((FREE,), moments={"else": MOMENTS}).moments == {}


def test_draws_are_seeded_and_stay_where_they_may_be() -> None:
    signature = Signature((BOX, TensorSpec("pixels", (2, 4), "uint8"), TensorSpec("flag", (3,), "bool")))
    evidence = evidence_of(signature.inputs)
    first, again, other = (populations(signature, evidence, seed=seed) for seed in (0, 0, 1))
    low, high = BOX.bounds()
    assert len({population.name for population in first}) == len(first) >= 5
    for one, two in zip(first, again, strict=True):
        for world, twin in zip(one.worlds, two.worlds, strict=True):
            assert all(map(np.array_equal, world, twin))
            assert [array.dtype for array in world] == [np.float32, np.uint8, np.bool_]
            assert (world[0] >= low).all()
            assert (world[0] <= high).all()
    assert not np.array_equal(first[0].worlds[0][0], other[0].worlds[0][0])
    corners = np.concatenate([world[0] for world in first[1].worlds])
    assert set(np.unique(corners[:, 4])) == {-2.0, 5.0}


def test_without_evidence_the_draws_have_every_scale() -> None:
    signature = Signature((FREE, TensorSpec("index", (), "int64")))
    found = {item.name: item for item in populations(signature, Evidence("none", ""))}
    sizes = [np.abs(world[0]).mean(axis=0) for world in found["scales from 1e-3 to 1e4"].worlds]
    assert np.min(sizes) < 0.01
    assert np.max(sizes) > 1000
    assert any(
        (np.ptp(world[0], axis=0) == 0).any() and (np.abs(world[0]) >= 30).any()
        for world in found["saturated"].worlds
    )
    assert any(
        (np.abs(world[0].mean(axis=0)) > 30 * world[0].std(axis=0)).any() for world in found["offsets"].worlds
    )
    for population in found.values():
        assert all(world[1].min() >= 0 and world[1].max() <= 15 for world in population.worlds)


def test_draws_along_statistics_reach_the_clip() -> None:
    signature = Signature((FREE,))
    evidence = evidence_of(signature.inputs, moments={"state": MOMENTS})
    mean, std = MOMENTS.arrays((5,))
    for population in populations(signature, evidence):
        rows = np.concatenate([world[0] for world in population.worlds]).astype(np.float64)
        assert (np.abs(rows - mean) <= 40 * std).all()
        if population.name == "at the bounds":
            assert np.abs((rows - mean) / std) == pytest.approx(10.0, rel=1e-2)


def test_states_and_very_large_inputs() -> None:
    signature = Signature((TensorSpec("frames", (3, 300, 300)), TensorSpec("h", (4,))))
    for population in populations(signature, Evidence("none", ""), states=("h",))[:2]:
        assert sum(len(world[0]) for world in population.worlds) <= 8
        assert all(np.abs(world[1]).max() < 6 for world in population.worlds)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int16", "uint8", "bool"])
@pytest.mark.parametrize("shape", [(), (1,), (2, 3)])
@pytest.mark.parametrize("limited", [False, True])
def test_every_shape_and_dtype_can_be_drawn(dtype: str, shape: tuple[int, ...], *, limited: bool) -> None:
    low, high = (-1.0, 3.0) if limited and dtype != "bool" else (None, None)
    spec = TensorSpec("x", shape, dtype, 0.0 if low and dtype == "uint8" else low, high)
    for population in populations(Signature((spec,)), evidence_of((spec,)), rows=128):
        for (rows,) in population.worlds:
            assert rows.shape[1:] == shape
            assert rows.dtype == np.dtype(dtype)
            assert np.isfinite(rows.astype(np.float64)).all()
            if limited and dtype != "bool":
                assert rows.min() >= -1
                assert rows.max() <= 3
