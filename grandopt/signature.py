"""What an agent takes and gives: names, dtypes, shapes with a dynamic batch, and what its action means."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from grandopt.errors import SignatureError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
else:

    class _NumPy:
        """NumPy, imported when something of it is first used: reading a manifest needs none of it."""

        def __getattr__(self, name: str) -> Any:
            import numpy

            value = getattr(numpy, name)
            setattr(self, name, value)  # found there from now on, as fast as in the module itself
            return value

    np = _NumPy()

Array: TypeAlias = "NDArray[Any]"
Bound = float | tuple[float, ...] | None
Role = Literal["value", "scores", "action"]
ActionKind = Literal["none", "argmax", "binary", "continuous"]

DTYPES = frozenset({"float32", "float64", "float16", "int64", "int32", "int16", "int8", "uint8", "bool"})


@dataclass(frozen=True)
class TensorSpec:
    """One input or output, described without its batch dimension.

    `low` and `high` are the inclusive bounds of the declared space, one number for all elements or one
    per element in row-major order; they guide seeded draws and are not enforced at a call. `role` says
    of an output whether its arg max over the last axis is a decision ("scores"), whether it is the
    action itself, or neither ("value").
    """

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"
    low: Bound = None
    high: Bound = None
    role: Role = "value"

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise SignatureError(
                f"{self.name}: dtype {self.dtype!r} is not one of {', '.join(sorted(DTYPES))}"
            )
        if any(isinstance(size, bool) or not isinstance(size, int) or size < 1 for size in self.shape):
            raise SignatureError(f"{self.name}: shape {list(self.shape)} must hold positive whole numbers")

    @property
    def elements(self) -> int:
        """Number of elements of one observation."""
        return math.prod(self.shape)

    def bounds(self) -> tuple[Array, Array]:
        """Lower and upper bound as float64 arrays of `shape`; infinite where nothing was declared."""
        low = -np.inf if self.low is None else self.low
        high = np.inf if self.high is None else self.high
        return self._full(low), self._full(high)

    def _full(self, bound: float | tuple[float, ...]) -> Array:
        flat = np.asarray(bound, dtype=np.float64)
        return np.broadcast_to(flat if flat.ndim == 0 else flat.reshape(self.shape), self.shape).copy()


@dataclass(frozen=True)
class Moments:
    """Statistics of the observations of one input, one number per element in row-major order.

    `std` is positive. The agent clips at `clip` of them from the mean, infinite where it does not.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    clip: float = math.inf

    def arrays(self, shape: tuple[int, ...]) -> tuple[Array, Array]:
        """Mean and standard deviation as float64 arrays of `shape`."""
        mean, std = (np.asarray(part, dtype=np.float64).reshape(shape) for part in (self.mean, self.std))
        return mean, std


@dataclass(frozen=True)
class StateTensor:
    """One tensor of a recurrent state: what a call gives as `output`, the next call takes as `input`.

    `initial` is its value before the first call: one number for all elements, or one per element in row-major
    order, the same for every row of a batch.
    """

    input: str
    output: str
    initial: float | tuple[float, ...] = 0.0


@dataclass(frozen=True)
class Contract:
    """What the agent does around its network, and what its action means.

    `action` is "argmax" (index of the largest score, one per group of `groups`), "binary" (one bit per
    score, set where it is positive), "continuous" (numbers within `low` … `high`), or "none" (the outputs
    are plain tensors). `normalised` says that observation statistics are folded in, `clip_obs` at which
    normalised value observations are clipped, `squashed` that a tanh bounds the action.

    `state` names the recurrent state, empty for an agent without one. `episode_start` names the input, if
    there is one, that is 1 where an episode begins and makes the network forget its state there.
    """

    action: ActionKind = "none"
    groups: tuple[int, ...] = ()
    low: tuple[float, ...] | None = None
    high: tuple[float, ...] | None = None
    normalised: bool = False
    clip_obs: float | None = None
    squashed: bool = False
    state: tuple[StateTensor, ...] = ()
    episode_start: str | None = None

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Contract:
        """A contract from the plain data of its fields; raises SignatureError when it is none."""
        _check_choice(data, "action", ActionKind)
        given: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in data.items()
        }
        try:
            return cls(**given | _bounds(given) | {"state": _state(given.get("state", ()))})
        except (TypeError, ValueError, OverflowError) as error:
            raise SignatureError(f"not a contract: {error}") from error

    def margins(self, scores: Array) -> Array:
        """How far each row of `scores` [B, n] is from another decision, in units of the scores: [B]."""
        if self.action == "binary":
            return np.abs(scores).min(axis=-1)  # type: ignore[no-any-return]
        edges = np.cumsum(self.groups or (scores.shape[-1],))[:-1]
        gaps = []
        for group in np.split(scores, edges, axis=-1):
            if group.shape[-1] < 2:
                continue
            top = np.partition(group, -2, axis=-1)
            gaps.append(top[..., -1] - top[..., -2])
        if not gaps:
            return np.full(scores.shape[0], np.inf)
        return np.min(gaps, axis=0)  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Signature:
    """The inputs and outputs of an agent, in calling order. The batch is the first dimension of each."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...] = ()

    def __post_init__(self) -> None:
        names = [spec.name for spec in self.inputs]
        if len(set(names)) != len(names):
            raise SignatureError(f"input names must differ, got {', '.join(names)}")

    @property
    def row_bytes(self) -> int:
        """What the inputs of one observation take."""
        return sum(spec.elements * np.dtype(spec.dtype).itemsize for spec in self.inputs)

    def order(self, observation: Mapping[str, Any]) -> tuple[Any, ...]:
        """The values of a Dict observation in calling order; raises SignatureError on a wrong key."""
        names = [spec.name for spec in self.inputs]
        missing = [name for name in names if name not in observation]
        extra = [str(name) for name in observation if name not in names]
        if missing or extra:
            raise SignatureError(
                f"observation keys are wrong: missing {missing or 'none'}, unexpected {extra or 'none'}; "
                f"this agent takes {', '.join(names)}"
            )
        return tuple(observation[name] for name in names)

    def prepare(self, values: Sequence[Any]) -> tuple[list[Array], bool]:
        """Check and convert the inputs of one call.

        Returns C-contiguous, aligned arrays [B, *shape] of the declared dtypes and whether the caller
        gave a batch. An array that already fits is passed through uncopied; another layout, or a dtype
        whose values all have their equal in the declared one (floats may be rounded, see `casts`), is
        copied. Raises SignatureError for a wrong number of inputs, a wrong shape, an empty batch, unequal
        batches, or a value that would be lost.
        """
        if len(values) != len(self.inputs):
            raise SignatureError(
                f"expected {len(self.inputs)} input(s) ({', '.join(s.name for s in self.inputs)}), "
                f"got {len(values)}"
            )
        arrays: list[Array] = []
        batched: bool | None = None
        for spec, value in zip(self.inputs, values, strict=True):
            array = value if type(value) is np.ndarray else _as_array(spec.name, value)
            this = self._is_batched(spec, array)
            if batched is not None and this != batched:
                raise SignatureError(f"{spec.name}: give every input with a batch dimension, or none of them")
            batched = this
            arrays.append(_converted(spec, array if this else array[np.newaxis]))
        sizes = {array.shape[0] for array in arrays}
        if len(sizes) > 1:
            raise SignatureError(f"inputs have different batch sizes: {sorted(sizes)}")
        return arrays, bool(batched)

    @staticmethod
    def _is_batched(spec: TensorSpec, array: Array) -> bool:
        if array.shape == spec.shape:
            return False
        if array.shape[1:] == spec.shape and array.ndim == len(spec.shape) + 1:
            if array.shape[0] == 0:
                raise SignatureError(f"{spec.name}: the batch is empty (shape {list(array.shape)})")
            return True
        raise SignatureError(
            f"{spec.name}: expected shape {list(spec.shape)} or [batch, "
            f"{', '.join(map(str, spec.shape))}], got {list(array.shape)}"
        )

    def observed(self, contract: Contract) -> tuple[TensorSpec, ...]:
        """The inputs that are neither recurrent state nor the start of an episode, in calling order."""
        kept = {tensor.input for tensor in contract.state} | {contract.episode_start}
        return tuple(spec for spec in self.inputs if spec.name not in kept)

    def check_state(self, contract: Contract) -> None:
        """Raise SignatureError unless the contract's recurrent state fits the inputs and the outputs."""
        inputs = {spec.name: spec for spec in self.inputs}
        outputs = {spec.name: spec for spec in self.outputs}
        for tensor in contract.state:
            for side, name, known in (("input", tensor.input, inputs), ("output", tensor.output, outputs)):
                if name not in known:
                    raise SignatureError(
                        f"state {tensor.input!r}: there is no {side} {name!r}; the {side}s are "
                        f"{', '.join(known)}"
                    )
            taken, given = inputs[tensor.input], outputs[tensor.output]
            if (taken.shape, taken.dtype) != (given.shape, given.dtype):
                raise SignatureError(
                    f"state {tensor.input!r}: the input is {taken.dtype} {list(taken.shape)}, the output "
                    f"{tensor.output!r} is {given.dtype} {list(given.shape)}; a state keeps both"
                )
            if isinstance(tensor.initial, tuple) and len(tensor.initial) != taken.elements:
                raise SignatureError(
                    f"state {tensor.input!r}: 'initial' holds {len(tensor.initial)} numbers, but shape "
                    f"{list(taken.shape)} has {taken.elements} elements"
                )
        if len({tensor.output for tensor in contract.state}) != len(contract.state):
            raise SignatureError("two states are fed from one output; each needs an output of its own")
        if contract.state and not self.observed(contract):
            raise SignatureError("every input is declared as state; an agent needs an observation, too")
        if contract.state and len(contract.state) == len(self.outputs):
            raise SignatureError("every output is declared as state; an agent needs an action, too")

    def to_json(self) -> dict[str, Any]:
        """Plain data for a manifest or a report."""
        return {
            "inputs": [asdict(spec) for spec in self.inputs],
            "outputs": [asdict(spec) for spec in self.outputs],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Signature:
        """The inverse of `to_json`; raises SignatureError when a field is missing, unknown or wrong."""
        try:
            return cls(
                inputs=tuple(_spec(item) for item in data["inputs"]),
                outputs=tuple(_spec(item) for item in data.get("outputs", ())),
            )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise SignatureError(f"not a signature: {error}") from error


def _state(data: Sequence[Mapping[str, Any]]) -> tuple[StateTensor, ...]:
    try:
        return tuple(
            StateTensor(
                item["input"],
                item["output"],
                tuple(item["initial"]) if isinstance(item["initial"], list) else item["initial"],
            )
            for item in data
        )
    except (KeyError, TypeError) as error:
        raise SignatureError(f"not a recurrent state: {error}") from error


def _spec(data: Mapping[str, Any]) -> TensorSpec:
    given = dict(data)
    given["shape"] = tuple(given["shape"])
    if not isinstance(given["name"], str):
        raise SignatureError(f"the name of a tensor must be text, is {given['name']!r}")
    _check_choice(given, "role", Role)
    return TensorSpec(**given | _bounds(given))


def _bounds(given: Mapping[str, Any]) -> dict[str, Bound]:
    """`low` and `high` of JSON, which has no infinity: an element without a bound is null there."""
    bounds: dict[str, Bound] = {}
    for name, infinite in (("low", -math.inf), ("high", math.inf)):
        value = given.get(name)
        if isinstance(value, list | tuple):
            bounds[name] = tuple(infinite if item is None else float(item) for item in value)
        elif value is not None:
            bounds[name] = float(value)
    return bounds


def _check_choice(given: Mapping[str, Any], name: str, choices: Any) -> None:
    if name in given and given[name] not in get_args(choices):
        raise SignatureError(f"{name} {given[name]!r} is not one of {', '.join(get_args(choices))}")


FITS = 0x101
"""NumPy's flags C_CONTIGUOUS and ALIGNED."""


def _as_array(name: str, value: Any) -> Array:
    from grandopt.casts import as_array  # NumPy, which reading a manifest needs not

    return as_array(name, value)


def _converted(spec: TensorSpec, array: Array) -> Array:
    dtype = np.dtype(spec.dtype)
    if array.dtype != dtype:
        from grandopt.casts import converted

        return converted(spec.name, array, dtype)
    if array.flags.num & FITS == FITS:
        return array
    return np.require(array, requirements=("C", "A"))
