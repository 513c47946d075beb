"""What an agent can have answered: the values in a storage that others write to are held against it."""

from __future__ import annotations

from typing import Any

import numpy as np

from grandopt.runtime.cache.keys import InputKeys
from grandopt.signature import Signature, TensorSpec


class Answers:
    """The answers of an agent with this signature to inputs with these keys. Thread safety: as the keys'."""

    def __init__(self, signature: Signature, keys: InputKeys) -> None:
        self._signature, self._keys = signature, keys

    def fit(self, key: bytes, value: Any) -> bool:
        """Whether `value` has the number, dtypes and shapes of outputs that the inputs of `key` have."""
        specs = self._signature.outputs
        values = value if type(value) is tuple else (value,)
        if len(values) != len(specs) or (type(value) is tuple and len(specs) == 1):
            return False
        given = self._keys.shape_of(key)
        if given is None:
            return False  # a key that this process has not made
        lead = given[: len(given) - len(self._signature.inputs[0].shape)]
        return all(_fits(item, spec, lead) for item, spec in zip(values, specs, strict=True))


def _fits(value: Any, spec: TensorSpec, lead: tuple[int, ...]) -> bool:
    return (
        isinstance(value, np.ndarray | np.generic)
        and value.dtype == np.dtype(spec.dtype)
        and value.shape == (*lead, *spec.shape)
    )
