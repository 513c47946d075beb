"""Whether what one stage gives fits what another takes, as far as it is known before running."""

from __future__ import annotations

from collections.abc import Sequence

from grandopt.errors import ConfigError
from grandopt.runtime.scheduling.pipelines.stage import REQUEST, Node, Reference
from grandopt.signature import TensorSpec

Form = tuple[str, tuple[int, ...]]
"""A dtype and a shape."""


def check_shapes(nodes: Sequence[Node]) -> dict[str, TensorSpec | None]:
    """The pipeline's inputs in the order of their first use, with what is known of each.

    An input that an agent takes has the agent's dtype and shape; a part of a joined one what the other parts
    leave, where all of them are known. Raises ConfigError, which names both sides, where forms differ.
    """
    known: dict[Reference, tuple[Form, str]] = {}
    inputs: dict[str, TensorSpec | None] = {}
    for node in nodes:
        for output, spec in node.outputs.items():
            if spec is not None:
                known[Reference(node.name, output)] = (
                    (spec.dtype, spec.shape),
                    f"stage {node.name!r} gives it",
                )
    for node in nodes:
        for name, parts in node.inputs.items():
            inputs |= {
                part.output: None for part in parts if part.stage == REQUEST and part.output not in inputs
            }
            wanted = _wanted(node, name)
            if wanted is None:
                continue
            where = f"stage {node.name!r}, input {name!r}"
            if len(parts) == 1:
                _agree(known, parts[0], (wanted.dtype, wanted.shape), where)
            else:
                _join(known, parts, wanted, where)
    for reference, ((dtype, shape), _) in known.items():
        if reference.stage == REQUEST:
            inputs[reference.output] = TensorSpec(reference.output, shape, dtype)
    return inputs


def _wanted(node: Node, name: str) -> TensorSpec | None:
    if node.served is None or node.stage.pre is not None:
        return None
    return next(spec for spec in node.served.signature.inputs if spec.name == name)


def _agree(known: dict[Reference, tuple[Form, str]], part: Reference, form: Form, where: str) -> None:
    if part not in known:
        if part.stage == REQUEST:
            known[part] = form, f"{where} takes it"
        return
    there, whose = known[part]
    if there != form:
        raise ConfigError(f"{where}: takes {_shown(form)}, but {part} is {_shown(there)} ({whose})")


def _join(
    known: dict[Reference, tuple[Form, str]], parts: Sequence[Reference], wanted: TensorSpec, where: str
) -> None:
    """Check the parts of an input that are joined along the last axis."""
    if not wanted.shape:
        raise ConfigError(f"{where}: takes a single number, which cannot be joined of {len(parts)} parts")
    *rest, last = wanted.shape
    sizes, unknown = 0, []
    for part in parts:
        if part not in known:
            unknown.append(part)
            continue
        (dtype, shape), whose = known[part]
        if dtype != wanted.dtype or shape[:-1] != tuple(rest) or not shape:
            raise ConfigError(
                f"{where}: {part} is {_shown((dtype, shape))} ({whose}), which is no part of "
                f"{_shown((wanted.dtype, wanted.shape))}"
            )
        sizes += shape[-1]
    left = last - sizes
    if left < len(unknown) or (not unknown and left):
        joined = " + ".join(
            f"{part} {known[part][0][1][-1]}" if part in known else str(part) for part in parts
        )
        raise ConfigError(f"{where}: takes {_shown((wanted.dtype, wanted.shape))}, but gets {joined}")
    if len(unknown) == 1:
        _agree(known, unknown[0], (wanted.dtype, (*rest, left)), where)


def _shown(form: Form) -> str:
    return f"{form[0]} {list(form[1])}"
