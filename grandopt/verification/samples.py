"""Reading recorded observations from an `.npz` file."""

from __future__ import annotations

import io
import zipfile
import zlib
from pathlib import Path

import numpy as np

from grandopt import limits, npy
from grandopt.errors import SamplesError
from grandopt.signature import Array, Signature, TensorSpec

ENTRY = b"PK\x01\x02"
"""What each entry of a zip's table of contents begins with."""

DAMAGED = (*npy.DAMAGED, zipfile.BadZipFile, zlib.error, RuntimeError)
"""What zipfile and NumPy are seen to raise on damaged archives and arrays."""


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
    try:
        data = limits.content(path, limits.SAMPLES_BYTES)
    except IsADirectoryError as error:
        raise SamplesError(
            f"{path}: is a folder; give an .npz file (numpy.savez) with recorded observations"
        ) from error
    except OSError as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else error.strerror
        raise SamplesError(
            f"{limits.shortened(path)}: {reason}; give an .npz file with recorded observations"
        ) from error
    if data.startswith(npy.MAGIC) and _is_array(data):
        raise SamplesError(f"{path}: holds a single array, not an .npz archive; use numpy.savez")
    if data.count(ENTRY) > limits.MEMBERS:
        raise SamplesError(f"{path}: holds more than {limits.MEMBERS:,} arrays")
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
    except DAMAGED as error:
        raise SamplesError(f"{path}: is not an .npz file; write one with numpy.savez") from error
    with archive:
        total, most = sum(item.file_size for item in archive.infolist()), limits.inflated(len(data))
        if total > most:
            raise SamplesError(
                f"{path}: its arrays come to {total:,} bytes; from a file of {len(data):,} bytes at most "
                f"{most:,} are read"
            )
        return tuple(
            _checked(path, spec, _member(path, archive, spec, signature)) for spec in signature.inputs
        )


def _member(path: Path, archive: zipfile.ZipFile, spec: TensorSpec, signature: Signature) -> Array:
    members = {name.removesuffix(".npy"): name for name in archive.namelist()}
    names = list(members)
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
        return npy.array(archive.read(members[name]))
    except DAMAGED as error:
        raise SamplesError(
            f"{path}: array {name!r} cannot be read (damaged, or pickled objects, which are refused)"
        ) from error


def _is_array(data: bytes) -> bool:
    try:
        npy.array(data)
    except DAMAGED:
        return False
    return True


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
