"""Observations of many callers as one batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from grandopt.errors import SignatureError
from grandopt.runtime.executors.observation import as_arrays
from grandopt.signature import Array, Signature


def single(signature: Signature, observation: Sequence[Any]) -> tuple[Array, ...]:
    """One observation in any form, as arrays [*shape] of the declared dtypes; raises SignatureError."""
    arrays, batched, _ = as_arrays(signature, observation)
    if batched:
        raise SignatureError("expected one observation, got a batch; `batch_inference` answers it")
    return tuple(array[0, ...] for array in arrays)


def stacked(signature: Signature, observations: Sequence[Any]) -> tuple[list[Array], bool]:
    """One array [n, *shape] per input, and whether tensors were among them.

    An observation is its only input, a tuple of its inputs, or a mapping by input name. Raises SignatureError
    with the number of the first that does not fit, and for none at all.
    """
    if not observations:
        raise SignatureError("the batch holds no observation")
    rows, any_tensors = [], False
    for number, observation in enumerate(observations):
        values = observation if isinstance(observation, tuple) else (observation,)
        try:
            arrays, batched, tensors = as_arrays(signature, values)
        except SignatureError as error:
            raise SignatureError(f"observation {number} of the batch: {error}") from error
        if batched:
            raise SignatureError(f"observation {number} of the batch has a batch dimension of its own")
        rows.append(arrays)
        any_tensors |= tensors
    return [np.concatenate(column) for column in zip(*rows, strict=True)], any_tensors
