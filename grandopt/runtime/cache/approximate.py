"""Keys under which inputs that differ by less than a step per feature are equal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from grandopt.errors import ConfigError, SignatureError
from grandopt.runtime.cache.keys import InputKeys
from grandopt.signature import Array, Signature, TensorSpec

Steps = Mapping[str, float | Sequence[float]]


class ApproximateKeys(InputKeys):
    """Keys of inputs rounded to the nearest multiples of a step.

    The answer that stands for all inputs of a key is that to the rounded input, so it does not depend on
    which of them came first, and each feature is off by half of its step at most. Steps are per input name:
    one, or one per feature in row-major order; features with a step of 0, and NaN and infinity, are as they
    are. Raises ConfigError for a name that is no input, an input of whole numbers, and a wrong number of
    steps. Making a key raises SignatureError for an array without the input's features.
    """

    def __init__(self, digest: str, signature: Signature, steps: Steps) -> None:
        names = {spec.name for spec in signature.inputs}
        for name in steps:
            if name not in names:
                raise ConfigError(
                    f"steps for {name!r}, which is no input; they are {', '.join(sorted(names))}"
                )
        self._steps = [_per_feature(spec, steps.get(spec.name, 0.0)) for spec in signature.inputs]
        described = ";".join(step.tobytes().hex() for step in self._steps)
        super().__init__(digest, marked=f" in steps of {described}")
        self._exact_one = self.one
        self.one = self._one

    def key(self, inputs: Sequence[Array]) -> bytes:
        return super().key(self.representative(inputs))

    def representative(self, inputs: Sequence[Array]) -> Sequence[Array]:
        """The rounded inputs."""
        return [_rounded(array, step) for array, step in zip(inputs, self._steps, strict=True)]

    def _one(self, array: Array) -> bytes:
        return self._exact_one(_rounded(array, self._steps[0]))


def _per_feature(spec: TensorSpec, step: float | Sequence[float]) -> Array:
    """Steps as float64 of the input's shape; of no shape where there is none, as for whole numbers."""
    flat = np.asarray(step, np.float64)
    if not flat.any():
        return np.zeros(())
    if not np.isfinite(flat).all() or (flat < 0).any():
        raise ConfigError(f"steps of input {spec.name!r} must be 0 or positive numbers, got {step}")
    if np.dtype(spec.dtype).kind != "f":
        raise ConfigError(f"input {spec.name!r} holds {spec.dtype}, which is not rounded; give it no step")
    if flat.ndim and flat.size != spec.elements:
        raise ConfigError(f"input {spec.name!r} has {spec.elements} features, got {flat.size} steps")
    return np.broadcast_to(flat.reshape(spec.shape) if flat.ndim else flat, spec.shape).copy()


def _rounded(array: Array, step: Array) -> Array:
    if not step.ndim and not step:
        return array
    if step.ndim and array.shape[-step.ndim :] != step.shape:
        raise SignatureError(f"an input has features {list(step.shape)}, got an array {list(array.shape)}")
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        multiples = np.rint(array / step) * step + 0.0  # without negative zeros
    # Also where a number is so large that it has no multiple.
    return np.where((step > 0) & np.isfinite(multiples), multiples, array).astype(array.dtype)
