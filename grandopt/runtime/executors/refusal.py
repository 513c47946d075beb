"""What is said of arrays that an engine cannot use as they are, by the binding in C and by Python."""

from __future__ import annotations

from typing import Any, NoReturn

from grandopt.errors import EngineError, SignatureError
from grandopt.signature import Signature


class Refusal:
    """Raises the exception for a call that was refused, by the position of its array and one of `REASONS`.

    What can be called lets go of it last: it keeps alive what the call needs to the end.
    """

    def __init__(self, signature: Signature, *kept: object) -> None:
        self._signature = signature
        self._kept = kept

    def __call__(self, position: int, given: Any, reason: str) -> NoReturn:
        inputs, outputs = self._signature.inputs, self._signature.outputs
        if reason == "fault":
            raise _fault(position)
        if reason in ("inputs", "outputs"):
            wanted, kind = (inputs, "input") if reason == "inputs" else (outputs, "output")
            count = len(given) if isinstance(given, (tuple, list)) else type(given).__name__
            raise SignatureError(
                f"expected {len(wanted)} {kind} array(s) in a tuple or list "
                f"({', '.join(spec.name for spec in wanted)}), got {count}"
            )
        output = position >= len(inputs)
        spec = (*inputs, *outputs)[position]
        shape = f"[{', '.join(map(str, ('batch', *spec.shape)))}]"
        if output:
            must = f"output array must be writeable, {spec.dtype} {shape}, C-contiguous"
        else:
            must = f"must be {spec.dtype} {shape}, C-contiguous"
        raise SignatureError(f"{spec.name}: {must}; {REASONS[reason]}, got {_described(given)}")


REASONS = {
    "layout": "the memory cannot be used as it is",
    "dtype": "the dtype differs",
    "shape": "the shape differs",
    "alignment": "its elements are not aligned",
    "overlap": "it overlaps another array of the call",
    "empty": "the batch is empty",
    "batch": "its batch differs from the first input's",
}


def _fault(code: int) -> Exception:
    if code == 3:
        return SignatureError("an index in the inputs lies outside its table")
    if code == 5:
        return EngineError("the system did not permit this process to use AMX tiles")
    return EngineError(f"the compiled agent refused the call with code {code}")


def _described(given: Any) -> str:
    shape, dtype = getattr(given, "shape", None), getattr(given, "dtype", None)
    if shape is None:
        return f"a {type(given).__name__}"
    flags = getattr(given, "flags", None)
    notes = [
        note
        for name, note in (("writeable", "read-only"), ("c_contiguous", "not C-contiguous"))
        if flags is not None and not getattr(flags, name, True)
    ]
    return ", ".join([f"{dtype} {list(shape)}", *notes])
