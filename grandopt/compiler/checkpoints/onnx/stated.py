"""What a file that grandopt wrote says of its agent: in the metadata under `KEY`, as one JSON text.

`inputs` and `outputs` are the agent's tensors without the batch, in order, by the names that the file has:
shapes, dtypes, bounds and roles. `contract` is what it does around its network: normalisation and clipping
that are inside, the bounds that actions are scaled and clipped to, its recurrent state with its first value.
Units are those that the agent was trained in; no checkpoint says them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from grandopt import limits
from grandopt.artifacts import fields
from grandopt.errors import CheckpointError, SignatureError
from grandopt.signature import Contract, Signature, TensorSpec

KEY = "grandopt"
VERSION = 1
OWN_LAYOUT = "generic"
"""The flavour of files whose tensors are the agent's own."""


@dataclass(frozen=True)
class Stated:
    """What a file says of its agent."""

    signature: Signature
    contract: Contract

    def completed(self, specs: Sequence[TensorSpec], where: str) -> tuple[TensorSpec, ...]:
        """The inputs that were found, with the bounds that the file says.

        Raises CheckpointError where it says another shape or dtype.
        """
        for found, said in zip(specs, self.signature.inputs, strict=True):
            if (found.shape, found.dtype) != (said.shape, said.dtype):
                raise CheckpointError(
                    f"{where}: its metadata {KEY!r} says {said.dtype} {list(said.shape)} for input "
                    f"{said.name!r}, its graph {found.dtype} {list(found.shape)}; write the file again"
                )
        return self.signature.inputs


def told(
    metadata: Mapping[str, str], inputs: Sequence[str], outputs: Sequence[str], where: str
) -> Stated | None:
    """What the file says of the agent with these tensors; None where it says nothing, or of others.

    Raises CheckpointError where that cannot be read.
    """
    if KEY not in metadata:
        return None
    try:
        data = limits.document(metadata[KEY])
        if not isinstance(data, dict) or (data.get("version"), data.get("flavour")) != (VERSION, OWN_LAYOUT):
            return None
        stated = Stated(Signature.from_json(data), Contract.from_json(data["contract"]))
    except (ValueError, LookupError, TypeError, AttributeError, SignatureError) as error:
        raise CheckpointError(
            f"{where}: its metadata {KEY!r} cannot be read ({error}); write the file again"
        ) from error
    names = [[spec.name for spec in side] for side in (stated.signature.inputs, stated.signature.outputs)]
    return stated if names == [list(inputs), list(outputs)] else None


def stated(signature: Signature, contract: Contract, names: Mapping[str, str]) -> dict[str, Any]:
    """The agent's tensors and contract as plain data; `names` are those of the file."""

    def named(specs: tuple[TensorSpec, ...]) -> tuple[TensorSpec, ...]:
        return tuple(replace(spec, name=names.get(spec.name, spec.name)) for spec in specs)

    known = Contract(
        **{
            **vars(contract),
            "state": tuple(
                replace(
                    state,
                    input=names.get(state.input, state.input),
                    output=names.get(state.output, state.output),
                )
                for state in contract.state
            ),
            "episode_start": names.get(contract.episode_start or "", contract.episode_start),
        }
    )
    data: dict[str, Any] = fields.plain(
        {
            "version": VERSION,
            **Signature(named(signature.inputs), named(signature.outputs)).to_json(),
            "contract": asdict(known),
        }
    )
    return data
