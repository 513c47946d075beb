"""What one call of a program costs at least: its weights and its floating-point operations."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from grandopt.compiler.program import FORWARD_ERRORS, Program, evaluate

UNCOUNTED = ("aten::_transformer_encoder_layer_fwd", "aten::_native_multi_head_attention")
"""Fused operators of the fast path that a trace may have recorded, and for which the counter has no rule."""


def parameters(module: torch.nn.Module) -> tuple[int, int]:
    """The number of weights, and the bytes of them and the buffers.

    Of a frozen TorchScript archive the weights are the floating-point constants of its graph.
    """
    weights: list[torch.Tensor] = list(module.parameters())
    buffers = list(module.buffers())
    if isinstance(module, torch.jit.ScriptModule):
        weights += _constants(module)
    count = sum(value.numel() for value in weights)
    return count, sum(value.numel() * value.element_size() for value in (*weights, *buffers))


def read_weights(program: Program) -> tuple[int, int]:
    """The number and the bytes of the weights that every call reads.

    That is without embedding tables, of which a call reads some rows, without buffers, which may be folded,
    and, where the network is exported, without the weights that its graph does not use.
    """
    read: list[torch.Tensor]
    if program.exported is None:
        owners = {id(module): module for module in program.module.modules() if not _is_table(module)}
        read = [value for module in owners.values() for value in module.parameters(recurse=False)]
        if isinstance(program.module, torch.jit.ScriptModule):
            read += _constants(program.module)
    else:
        names = program.exported.graph_signature.inputs_to_parameters
        read = [
            program.exported.state_dict[names[node.name]]
            for node in program.exported.graph.nodes
            if node.op == "placeholder" and node.name in names and not _is_looked_up(node)
        ]
    distinct = {value.data_ptr(): value for value in read if value.numel()}.values()
    return sum(value.numel() for value in distinct), sum(v.numel() * v.element_size() for v in distinct)


def _is_table(module: torch.nn.Module) -> bool:
    name = getattr(module, "original_name", type(module).__name__)
    return name in ("Embedding", "EmbeddingBag")


def _is_looked_up(node: torch.fx.Node) -> bool:
    """Whether a weight is not used, or only to look up rows of it."""
    return all("embedding" in str(user.target) for user in node.users)


def flop(program: Program) -> int | None:
    """Floating-point operations of one call at batch 1, a multiplication and an addition counted as two.

    Counted by `torch.utils.flop_counter`: matrix products, convolutions and attention; elementwise work is
    not in it. None when the counter cannot run the network, when an archive holds a fused operator that it
    would leave out, and when it finds no operation that it knows.
    """
    if isinstance(program.module, torch.jit.ScriptModule):
        graph = program.module.inlined_graph
        if any(node.kind() in UNCOUNTED for node in _nodes(graph)):
            return None
    example = tuple(value[:1] for value in program.example)
    try:
        with _decomposed(), FlopCounterMode(display=False) as counter:
            evaluate(program.module, example)
    except FORWARD_ERRORS:
        return None
    return counter.get_total_flops() or None


@contextlib.contextmanager
def _decomposed() -> Iterator[None]:
    """Within this block torch takes no fused kernel that the counter does not know (LSTM, attention)."""
    fast_path = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    # Not `mkldnn.flags`: that sets the other flags as well, and torch warns about one of them.
    onednn, *_ = torch.backends.mkldnn.set_flags(_enabled=False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mkldnn.set_flags(_enabled=onednn)
        torch.backends.mha.set_fastpath_enabled(fast_path)


def _constants(module: torch.jit.ScriptModule) -> list[torch.Tensor]:
    graph = module.inlined_graph  # a copy: its nodes live as long as it does
    found: dict[int, torch.Tensor] = {}
    for node in _nodes(graph):
        value = node.output().toIValue() if node.kind() == "prim::Constant" else None
        if isinstance(value, torch.Tensor) and value.is_floating_point():
            found.setdefault(value.data_ptr(), value)
    return list(found.values())


def _nodes(block: Any) -> Iterator[Any]:
    for node in block.nodes():
        yield node
        for inner in node.blocks():
            yield from _nodes(inner)
