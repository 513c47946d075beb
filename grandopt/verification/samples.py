"""Reading recorded observations from an `.npz` file."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from grandopt.errors import SamplesError
from grandopt.signature import Array, Signature, TensorSpec


def load_samples(path: Path, signature: Signature) -> tuple[Array, ...]:
    """The recorded observations in `path`: one array [N, *shape] per input, of the declared dtypes.

    An input's array is found by the input's name, as `obs.<name>`, or, for an agent with one input, as
    `obs` or as the only array of the file; other arrays are ignored. Nothing is unpickled. Raises
    SamplesError for a file that is missing or no .npz, and for samples that are absent, empty, of
    another shape, of a dtype that does not convert without loss of kind or range, of different lengths,
    or that hold NaN or infinity.
    """
    arrays = _read(path, signature)
    lengths = {spec.name: array.shape[0] for spec, array in zip(signature.inputs, arrays, strict=True)}
    if len(set(lengths.values())) > 1:
        shown = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise SamplesError(f"{path}: the inputs have different numbers of samples ({shown})")
    return arrays


def _read(path: Path, signature: Signature) -> tuple[Array, ...]:
    if path.is_dir():
        raise SamplesError(f"{path}: is a folder; give an .npz file (numpy.savez) with recorded observations")
    try:
        file = path.open("rb")
    except OSError as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else error.strerror
        raise SamplesError(f"{path}: {reason}; give an .npz file with recorded observations") from error
    with file:
        # Opened here and not by NumPy, which leaves the file open when it is no archive.
        try:
            archive = np.load(file, allow_pickle=False)
        except (ValueError, EOFError, OSError, zipfile.BadZipFile) as error:
            raise SamplesError(f"{path}: is not an .npz file; write one with numpy.savez") from error
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise SamplesError(f"{path}: holds a single array, not an .npz archive; use numpy.savez")
        with archive:
            return tuple(
                _checked(path, spec, _member(path, archive, spec, signature)) for spec in signature.inputs
            )


def _member(path: Path, archive: Mapping[str, Array], spec: TensorSpec, signature: Signature) -> Array:
    names = list(archive)
    wanted = [spec.name, f"obs.{spec.name}"]
    if len(signature.inputs) == 1:
        wanted += ["obs", *(names if len(names) == 1 else ())]
    name = next((name for name in wanted if name in names), None)
    if name is None:
        known = " or ".join(map(repr, wanted))
        raise SamplesError(
            f"{path}: no samples for input {spec.name!r}: expected an array named {known}, "
            f"found {', '.join(names) or 'none'}"
        )
    try:
        return archive[name]
    except (ValueError, EOFError, OSError, zipfile.BadZipFile) as error:
        raise SamplesError(
            f"{path}: array {name!r} cannot be read (damaged, or pickled objects, which are refused)"
        ) from error


def _checked(path: Path, spec: TensorSpec, array: Array) -> Array:
    if array.ndim != len(spec.shape) + 1 or array.shape[1:] != spec.shape:
        expected = ", ".join(["N", *map(str, spec.shape)])
        raise SamplesError(f"{path}: {spec.name}: expected shape [{expected}], got {list(array.shape)}")
    if array.shape[0] == 0:
        raise SamplesError(f"{path}: {spec.name}: holds no samples (shape {list(array.shape)})")
    return np.ascontiguousarray(_converted(path, spec, array))


def _converted(path: Path, spec: TensorSpec, array: Array) -> Array:
    integers = array.dtype.kind in "iu" and np.dtype(spec.dtype).kind in "iu"
    if not integers and not np.can_cast(array.dtype, spec.dtype, casting="same_kind"):
        raise SamplesError(f"{path}: {spec.name}: expected dtype {spec.dtype}, got {array.dtype}")
    # An overflow shows in the values below, as inf or as an integer that wrapped around.
    with np.errstate(over="ignore"):
        converted = array.astype(spec.dtype)
    if integers and not np.array_equal(converted, array):
        raise SamplesError(
            f"{path}: {spec.name}: values {array.min()} … {array.max()} do not fit the dtype {spec.dtype}"
        )
    if converted.dtype.kind == "f":
        broken = ~np.isfinite(converted).reshape(array.shape[0], -1).all(axis=1)
        if broken.any():
            raise SamplesError(
                f"{path}: {spec.name}: {int(broken.sum())} of {array.shape[0]} samples hold NaN or infinity "
                f"(as {spec.dtype}), first at index {int(broken.argmax())}; remove them"
            )
    return converted
