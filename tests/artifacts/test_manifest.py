"""A manifest says the same after it was written and read."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace

import numpy as np

from grandopt.artifacts.manifest import Manifest
from grandopt.signature import Contract, Signature, TensorSpec


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
