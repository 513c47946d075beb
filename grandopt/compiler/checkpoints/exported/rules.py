"""What each text in the JSON of a `.pt2` may be: read without torch, so that a refusal costs next to nothing.

torch's reader evaluates symbolic sizes, compiles guards, looks operators up by dotted names, and writes
the names of values into Python code that it then runs. Every text has to fit the rule of its field.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Callable, Iterator
from typing import Any

from grandopt import limits
from grandopt.compiler.checkpoints.exported.size_expressions import SYMBOL, harmless
from grandopt.compiler.checkpoints.vetting import operators
from grandopt.errors import CheckpointError, UntrustedError

OPERATOR = re.compile(r"torch\.ops\.(\w+)\.(\w+)(?:\.[A-Za-z]\w*)?")
"""An operator with its overload, which cannot be a name of Python's own such as `__class__`."""

SIZE_OPERATORS = """
    _operator.eq _operator.ne _operator.le _operator.ge _operator.lt _operator.gt _operator.neg _operator.pos
    _operator.mul _operator.add _operator.sub _operator.floordiv _operator.mod _operator.pow _operator.truediv
    _operator.and_ _operator.or_ _operator.lshift _operator.rshift torch.sym_not torch.sym_int torch.sym_float
    torch.sym_ite torch.sym_max torch.sym_min torch.sym_sqrt torch.sym_sum math.trunc math.ceil math.floor
"""
TARGET = re.compile(r"[\w.\- /:\[\]]{0,500}")
"""The dotted name of a parameter or a module: nothing that could end a quotation."""

NODES = """
    builtins.tuple builtins.list builtins.dict collections.OrderedDict torch.Size
    torch.fx.immutable_collections.immutable_list torch.fx.immutable_collections.immutable_dict
"""
"""Containers that inputs and outputs may be arranged in; others import a module by its name."""


def parsed(data: bytes, where: str) -> Any:
    """The JSON document in `data`; raises CheckpointError when it is none, or beyond the limits."""
    if len(data) > limits.CODE_BYTES:
        raise CheckpointError(
            f"{where}: has {len(data):,} bytes of JSON; at most {limits.CODE_BYTES:,} are read"
        )
    try:
        return limits.document(data)
    except ValueError as error:
        raise CheckpointError(f"{where}: is damaged: {error}") from error


def untrusted(where: str, what: str) -> UntrustedError:
    return UntrustedError(
        f"{where}: holds {what}; pass --trust (or `trust: true`) only if you know who made it"
    )


def require_plain(document: Any, where: str) -> None:
    """Raise UntrustedError for a guard or an operator anywhere in `document` that does more than compute."""
    guards = document.get("guards_code") if isinstance(document, dict) else None
    for guard in guards if isinstance(guards, list) else ():
        if not harmless(guard):
            raise untrusted(where, f"the guard {guard!r:.200}, which is no plain comparison")
    for text in _targets(document):
        problem = _operator(text)
        if problem is not None:
            raise untrusted(where, problem)


def _targets(document: Any) -> Iterator[str]:
    """The operators of all nodes. Their metadata are words, which are not read."""
    pending = [document]
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            if isinstance(item.get("target"), str):
                yield item["target"]
            pending += (value for name, value in item.items() if name != "metadata")
        elif isinstance(item, list):
            pending += item


def _identifier(text: str) -> str | None:
    fits = text.isidentifier() and not keyword.iskeyword(text)
    return None if fits else f"the name {text!r:.80}, which is no name of a value"


def _argument(text: str) -> str | None:
    return None if text == "" or text.isidentifier() else f"the argument {text!r:.80}, which is no name"


def _target(text: str) -> str | None:
    return None if TARGET.fullmatch(text) else f"the name {text!r:.80}, which no parameter has"


def _symbol(text: str) -> str | None:
    return None if SYMBOL.fullmatch(text) else f"the symbol {text!r:.80}, which torch does not write"


def _size(text: str) -> str | None:
    return None if harmless(text) else f"the size {text!r:.200}, which is no plain arithmetic"


def _operator(text: str) -> str | None:
    match = OPERATOR.fullmatch(text)
    if match is None:
        return (
            None if text in SIZE_OPERATORS.split() else f"the operator {text!r:.80}, which is none of torch's"
        )
    namespace, name = match.groups()
    if operators.allowed(namespace, name):
        return None
    return f"the operator '{namespace}::{name}', which is not among those that only compute"


def _layout(text: str) -> str | None:
    """Whether a treespec consists of tuples, lists and dicts with plain keys."""
    problem = f"the layout {text!r:.80} of inputs or outputs, which is none of tuples, lists and dicts"
    try:
        protocol, root = limits.document(text)
        pending, plain = [(root, 0)], protocol == 1
        while pending and plain:
            node, depth = pending.pop()
            kind, context, children = node["type"], node["context"], node["children_spec"]
            plain = depth < limits.DEPTH and set(node) == {"type", "context", "children_spec"}
            if kind is None:
                plain = plain and context is None and children == []
            else:
                plain = (
                    plain and kind in NODES.split() and _plain_keys(limits.document(context), len(children))
                )
            pending += [(child, depth + 1) for child in children]
    except (ValueError, TypeError, KeyError):
        return problem
    return None if plain else problem


def _plain_keys(context: Any, children: int) -> bool:
    if context is None:
        return True
    return (
        isinstance(context, list)
        and len(context) == children
        and all(isinstance(key, str) and _argument(key) is None and key for key in context)
    )


def _free(_: str) -> None:
    """A text that is only ever handed on as a text."""


Rule = Callable[[str], str | None]
RULES: dict[tuple[str, ...], Rule] = {
    **{
        (record, "name"): _identifier
        for record in ("TensorArgument", "GraphArgument", "InputToConstantInputSpec", "Node")
    },
    **{(f"Sym{kind}Argument", "as_name"): _identifier for kind in ("Int", "Float", "Bool")},
    **{
        ("Graph", f"{kind}_values", "key"): _identifier
        for kind in ("tensor", "sym_int", "sym_bool", "sym_float", "custom_obj")
    },
    ("NamedArgument", "name"): _argument,
    ("Argument", "as_string"): _free,
    ("Argument", "as_strings"): _free,
    ("Argument", "as_string_to_argument", "key"): _free,
    ("ConstantValue", "as_string"): _free,
    ("Argument", "as_operator"): _operator,
    ("Node", "target"): _operator,
    ("SymExpr", "expr_str"): _size,
    ("InputToParameterSpec", "parameter_name"): _target,
    ("InputToBufferSpec", "buffer_name"): _target,
    ("InputToTensorConstantSpec", "tensor_constant_name"): _target,
    ("BufferMutationSpec", "buffer_name"): _target,
    ("ParameterMutationSpec", "parameter_name"): _target,
    ("GradientToParameterSpec", "parameter_name"): _target,
    ("GradientToUserInputSpec", "user_input_name"): _identifier,
    ("UserInputMutationSpec", "user_input_name"): _identifier,
    ("ModuleCallEntry", "fqn"): _target,
    ("ModuleCallSignature", "in_spec"): _layout,
    ("ModuleCallSignature", "out_spec"): _layout,
    ("ModuleCallSignature", "forward_arg_names"): _identifier,
    ("ExportedProgram", "opset_version", "key"): _identifier,
    ("ExportedProgram", "range_constraints", "key"): _symbol,
    ("ExportedProgram", "verifiers"): _identifier,
    ("ExportedProgram", "torch_version"): _free,
    ("PayloadConfig", "config", "key"): _target,
    ("PayloadMeta", "path_name"): _identifier,
}
"""What each text of the schema may be, by record and field; the keys of a dict have a rule of their own."""
