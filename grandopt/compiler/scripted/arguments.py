"""What an archive's `forward` takes and gives, laid open: every tensor by itself, with a dotted name.

`forward(x, (h, c))` takes the tensors `x`, `hc.0` and `hc.1`. What a dict is asked for, and how many tensors
a list holds, is read from the graph.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from grandopt.compiler.scripted.graph import forward_graph
from grandopt.errors import CheckpointError

FLAGS = {"BoolType": bool, "IntType": int, "FloatType": float, "StringType": str}
"""Arguments that are fixed for good, by the kind of their TorchScript type."""

ASKED = ("aten::__getitem__", "aten::__contains__")
Tree = Any
"""A `_Leaf`, a `_Fixed`, or a `_Group` of those."""


@dataclass(frozen=True)
class _Leaf:
    """A tensor, by its dotted name."""

    name: str


@dataclass(frozen=True)
class _Fixed:
    """A value that is the same at each call."""

    value: Any


@dataclass(frozen=True)
class _Group:
    """A tuple, list or dict of others; `keys` are those of a dict."""

    kind: type
    items: tuple[Tree, ...]
    keys: tuple[str, ...] = ()


@dataclass(frozen=True)
class Arguments:
    """The arguments of `forward`: `names` are the tensors in calling order.

    `fixed` are those arguments that have one value for good, by name: a default, or what was `asked` for.
    """

    names: tuple[str, ...]
    fixed: Mapping[str, Any]
    asked: bool
    _trees: tuple[Tree, ...] = field(repr=False)

    @property
    def plain(self) -> bool:
        """Whether a call takes the tensors one by one, before all that keeps its default."""
        leading = [isinstance(tree, _Leaf) for tree in self._trees]
        count = len(self.names)
        return not self.asked and all(leading[:count]) and not any(leading[count:])

    @property
    def keyed(self) -> tuple[str, ...]:
        """The tensors that a dict holds, which have no order but their names."""
        groups = [tree for tree in self._trees if isinstance(tree, _Group)]
        return tuple(name for tree in groups if tree.kind is dict for name in _leaves(tree))

    def built(self, tensors: Sequence[Any]) -> list[Any]:
        """The values that `forward` takes, made of the tensors in the order of `names`."""
        given = iter(tensors)
        return [_built(tree, given) for tree in self._trees]


def arguments(
    module: torch.jit.ScriptModule,
    schema: Sequence[Any],
    declared: Sequence[str] = (),
    fix: Mapping[str, Any] | None = None,
) -> Arguments:
    """How a call looks whose inputs are `declared` (by name, in order), with the arguments in `fix` fixed.

    Optional tensors are given as far as there are declared inputs. Raises CheckpointError for an argument
    that is neither a tensor nor made of tensors and has no value, for a name in `fix` that is none of an
    argument without tensors, and for a value of another kind.
    """
    fix = fix or {}
    values = list(forward_graph(module).inputs())[1:]
    known = [argument.name for argument in schema]
    unknown = [name for name in fix if name not in known]
    if unknown:
        raise CheckpointError(
            f"fix: forward has no argument {unknown[0]!r}; its arguments: {', '.join(known) or 'none'}"
        )
    for argument in schema:
        _require_fixable(argument, fix)
    trees = {
        argument.name: _tree(argument.type, value, argument.name, declared)
        for argument, value in zip(schema, values, strict=True)
        if not argument.has_default_value() and argument.name not in fix
    }
    left = len(declared) - sum(1 for tree in trees.values() for _ in _leaves(tree))
    for argument, value in zip(schema, values, strict=True):
        if argument.name in trees:
            continue
        tree = _given_after_all(argument, value, declared, fix, left)
        left -= 0 if isinstance(tree, _Fixed) else sum(1 for _ in _leaves(tree))
        trees[argument.name] = tree
    ordered = tuple(trees[argument.name] for argument in schema)
    fixed = {
        argument.name: tree.value
        for argument, tree in zip(schema, ordered, strict=True)
        if isinstance(tree, _Fixed)
    }
    names = tuple(name for tree in ordered for name in _leaves(tree))
    return Arguments(names, fixed, bool(fix), ordered)


def _given_after_all(
    argument: Any, value: Any, declared: Sequence[str], fix: Mapping[str, Any], left: int
) -> Tree:
    """An argument that may keep its default: an input if inputs are left over for it."""
    if argument.name not in fix and left > 0 and _of_tensors(argument.type):
        tree = _tree(argument.type, value, argument.name, declared)
        if sum(1 for _ in _leaves(tree)) <= left:
            return tree
    return _Fixed(fix.get(argument.name, argument.default_value))


def results(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """What a call returned, value by value, each with its dotted name below `name`; None is left out."""
    if isinstance(value, Mapping):
        items = [(str(key), item) for key, item in value.items()]
    elif isinstance(value, tuple | list):
        fields = getattr(value, "_fields", None) or [str(place) for place in range(len(value))]
        items = list(zip(fields, value, strict=True))
    else:
        if value is not None:
            yield name, value
        return
    for key, item in items:
        yield from results(item, f"{name}.{key}" if name else key)


def _require_fixable(argument: Any, fix: Mapping[str, Any]) -> None:
    """Raise CheckpointError for an argument that is fixed to a value which it cannot have."""
    if argument.name not in fix:
        return
    kind = FLAGS.get(_inner(argument.type).kind())
    value = fix[argument.name]
    if kind is None:
        raise CheckpointError(
            f"fix: forward takes {argument.name!r} as {_shown(argument.type)}; only flags, numbers and texts "
            f"can be fixed"
        )
    if type(value) is not kind and not (kind is float and type(value) is int):
        raise CheckpointError(
            f"fix: forward takes {argument.name!r} as {_shown(argument.type)}, got {value!r}"
        )


def _tree(kind: Any, value: Any, name: str, declared: Sequence[str]) -> Tree:
    """An argument (or a part of one) of the TorchScript type `kind`; `value` is it in the graph, if known."""
    inner = _inner(kind)
    match inner.kind():
        case "TensorType":
            return _Leaf(name)
        case "TupleType":
            parts = enumerate(inner.elements())
            return _Group(
                tuple, tuple(_tree(part, None, f"{name}.{place}", declared) for place, part in parts)
            )
        case "ListType" if _inner(inner.getElementType()).kind() == "TensorType":
            count = _length(value) or len(_below(name, declared))
            if count:
                return _Group(list, tuple(_Leaf(f"{name}.{place}") for place in range(count)))
            raise CheckpointError(
                f"forward takes {name!r} as a list of tensors, and its code does not say how many; declare "
                f"the inputs {name}.0, {name}.1, …"
            )
        case "DictType" if _is_named(inner):
            keys = _below(name, declared) or _asked_for(value)
            if keys:
                return _Group(dict, tuple(_Leaf(f"{name}.{key}") for key in keys), tuple(keys))
            raise CheckpointError(
                f"forward takes {name!r} as a dict of tensors, and its code does not say which; declare the "
                f"inputs {name}.KEY, one for each"
            )
        case found if found in FLAGS:
            raise CheckpointError(
                f"forward takes {name!r} as a {inner}, which is the same at each call of an agent; say which "
                f"value: --fix {name}=VALUE (or `fix: {{{name}: VALUE}}`)"
            )
    raise CheckpointError(
        f"forward takes {name!r} as {_shown(kind)}; an agent's inputs are tensors, or tuples, lists and "
        f"dicts of them; export a wrapper that takes tensors and passes {name!r} on"
    )


def _of_tensors(kind: Any) -> bool:
    inner = _inner(kind)
    match inner.kind():
        case "TensorType":
            return True
        case "TupleType":
            return all(map(_of_tensors, inner.elements()))
        case "ListType":
            return _inner(inner.getElementType()).kind() == "TensorType"
        case "DictType":
            return _is_named(inner)
    return False


def _inner(kind: Any) -> Any:
    return kind.getElementType() if kind.kind() == "OptionalType" else kind


def _is_named(kind: Any) -> bool:
    return kind.getKeyType().kind() == "StringType" and _inner(kind.getValueType()).kind() == "TensorType"


def _below(name: str, declared: Sequence[str]) -> list[str]:
    return [other.removeprefix(f"{name}.") for other in declared if other.startswith(f"{name}.")]


def _asked_for(value: Any) -> list[str]:
    """The keys that a dict is asked for, if that is all that is done with it."""
    keys: dict[str, None] = {}
    for use in () if value is None else value.uses():
        key = _constant(use.user) if use.user.kind() in ASKED else None
        if not isinstance(key, str):
            return []
        keys[key] = None
    return list(keys)


def _length(value: Any) -> int:
    """How many tensors a list holds, as far as its code takes them out one by one; else 0."""
    count = 0
    for use in () if value is None else value.uses():
        if use.user.kind() == "prim::ListUnpack":
            return len(list(use.user.outputs()))
        place = _constant(use.user) if use.user.kind() == "aten::__getitem__" else None
        if use.user.kind() == "aten::len":
            continue
        if not isinstance(place, int) or place < 0:
            return 0
        count = max(count, place + 1)
    return count


def _constant(node: Any) -> Any:
    last = list(node.inputs())[-1].node()
    return last.output().toIValue() if last.kind() == "prim::Constant" else None


def _leaves(tree: Tree) -> Iterator[str]:
    if isinstance(tree, _Leaf):
        yield tree.name
    elif isinstance(tree, _Group):
        for item in tree.items:
            yield from _leaves(item)


def _built(tree: Tree, given: Iterator[Any]) -> Any:
    if isinstance(tree, _Leaf):
        return next(given)
    if isinstance(tree, _Fixed):
        return tree.value
    items = [_built(item, given) for item in tree.items]
    return dict(zip(tree.keys, items, strict=True)) if tree.kind is dict else tree.kind(items)


def _shown(kind: Any) -> str:
    said = str(kind).replace("Tensor", "tensor")
    return said if "[" in said else f"a {said}"
