"""A manifest says the same after it was written and read."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace

import numpy as np
import pytest

from grandopt.artifacts.manifest import Manifest
from grandopt.errors import ArtifactError
from grandopt.signature import Contract, Signature, TensorSpec

WITHOUT_DEFECT = "071ddef33fd9446ac9c00afe73c507f03fcf7577455218d1f64f61fbfc0c3384"
WITH_DEFECT_AMONG_OPTIONS = "a9bef1a430a40a4d0052d2b20c6c633fb3256d0e1aa760637362e16aeccda35a"


def _again(manifest: Manifest) -> Manifest:
    return Manifest.from_json(json.loads(json.dumps(manifest.to_json())))


def test_bounds_survive_json(manifest: Manifest) -> None:
    signature = Signature(
        (
            TensorSpec("joints", (2,), low=(-math.inf, -1.0), high=(math.inf, 1.0)),
            TensorSpec("speed", (3,), low=-math.inf, high=2.0),
        ),
        (TensorSpec("scores", (4,), role="scores"),),
    )
    contract = Contract(action="continuous", low=(-math.inf, -1.0), high=(1.0, math.inf), clip_obs=10.0)
    manifest = replace(manifest, signature=signature.to_json(), contract=asdict(contract))
    read = _again(manifest)
    for before, after in zip(signature.inputs, read.parsed_signature().inputs, strict=True):
        for expected, bound in zip(before.bounds(), after.bounds(), strict=True):
            np.testing.assert_array_equal(bound, expected)
    assert read.parsed_signature().outputs == signature.outputs
    assert read.parsed_contract() == contract


def test_the_digest_is_of_what_is_computed(manifest: Manifest) -> None:
    assert _again(manifest).digest == manifest.digest
    for same in ({"name": "other"}, {"built_by": "other"}, {"evidence": {"p50": 1.0}}):
        assert replace(manifest, **same).digest == manifest.digest
    for other in ({"threads": 2}, {"precision": "bfloat16"}, {"options": {"form": "module"}}):
        assert replace(manifest, **other).digest != manifest.digest


def test_a_known_defect_is_a_field_where_there_is_one(manifest: Manifest) -> None:
    assert "known_defect" not in manifest.to_json()
    flawed = replace(manifest, known_defect="mixes up heads")
    assert flawed.to_json()["known_defect"] == "mixes up heads"
    assert _again(flawed).known_defect == "mixes up heads"
    assert flawed.digest != manifest.digest
    with pytest.raises(ArtifactError, match="field known_defect: must be a string, is 3"):
        Manifest.from_json({**manifest.to_json(), "format_version": 1, "known_defect": 3})


def test_artifacts_from_before_that_field_open_with_the_same_digest(manifest: Manifest) -> None:
    """The digests are those that were written when a known defect stood among the options."""
    data = replace(manifest, options={"snippets": True, "known_defect": "mixes up heads"}).to_json()
    earlier = {**data, "digest": WITH_DEFECT_AMONG_OPTIONS}
    assert manifest.digest == WITHOUT_DEFECT
    for read in (Manifest.from_json(earlier), Manifest.from_json({**data, "format_version": 1})):
        assert (read.known_defect, read.options) == ("mixes up heads", {"snippets": True})
    assert Manifest.from_json(earlier).digest == WITH_DEFECT_AMONG_OPTIONS
    assert _again(Manifest.from_json(earlier)).digest == WITH_DEFECT_AMONG_OPTIONS
    with pytest.raises(ArtifactError, match="field digest"):
        Manifest.from_json({**earlier, "options": {"snippets": True, "known_defect": "mixes up"}})
