"""LSTM, GRU and RNN: torch's own layers where a node is one, else its formula step by step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import _VF

from grandopt import limits
from grandopt.compiler.checkpoints.onnx.call import Call, Result, is_symbol, operator

GATES = {"LSTM": (0, 2, 3, 1), "GRU": (1, 0, 2), "RNN": (0,)}
"""Where torch's gates stand among those of ONNX: i f g o among i o f c, r z n among z r h."""

USUAL = {"LSTM": ["sigmoid", "tanh", "tanh"], "GRU": ["sigmoid", "tanh"], "RNN": ["tanh"]}
WITH_ALPHA = ("leakyrelu", "thresholdedrelu", "elu", "affine", "scaledtanh", "hardsigmoid")
WITH_BETA = ("affine", "scaledtanh", "hardsigmoid")
DIRECTIONS = ("forward", "reverse", "bidirectional")

Function = Callable[[torch.Tensor], torch.Tensor]


def _activation(name: str, alpha: float | None, beta: float | None) -> Function | None:
    """An activation by its name in lower case; None for one that is not known."""
    plain: dict[str, Function] = {
        "sigmoid": torch.sigmoid,
        "tanh": torch.tanh,
        "relu": torch.relu,
        "softsign": torch.nn.functional.softsign,
        "softplus": lambda x: torch.clamp(x, min=0.0) + torch.log1p(torch.exp(-torch.abs(x))),
        "thresholdedrelu": lambda x: torch.where(
            x > (1.0 if alpha is None else alpha), x, torch.zeros_like(x)
        ),
        "elu": lambda x: torch.nn.functional.elu(x, 1.0 if alpha is None else alpha),
        "leakyrelu": lambda x: torch.nn.functional.leaky_relu(x, 0.01 if alpha is None else alpha),
        "affine": lambda x: (1.0 if alpha is None else alpha) * x + (0.0 if beta is None else beta),
        "scaledtanh": lambda x: (
            (1.0 if alpha is None else alpha) * torch.tanh((1.0 if beta is None else beta) * x)
        ),
        "hardsigmoid": lambda x: torch.clamp(
            x * (0.2 if alpha is None else alpha) + (0.5 if beta is None else beta), 0.0, 1.0
        ),
    }
    return plain.get(name)


@dataclass(frozen=True)
class _Layer:
    """One node over steps: `x` is [T, B, features]."""

    call: Call
    hidden: int
    directions: int
    x: torch.Tensor


def _directions(call: Call) -> int:
    direction = call.attribute("direction", "forward")
    if direction not in DIRECTIONS:
        call.refuse(f"direction {direction!r}")
    return 2 if direction == "bidirectional" else 1


def _names(call: Call) -> list[str]:
    """The activations of each direction one after the other, in lower case."""
    usual = USUAL[call.node.op] * _directions(call)
    names = [name.lower() for name in call.attribute("activations", usual)]
    if len(names) != len(usual):
        call.refuse(f"{len(names)} activations")
    return names


def _is_plain(call: Call) -> bool:
    """Whether torch has a layer that computes this node."""
    kind, names = call.node.op, _names(call)
    if call.unrolled or call.attribute("clip", 0.0) or call.has(4) or call.has(7):
        return False
    if call.attribute("input_forget", 0) or any(
        call.attributes.get(f"activation_{n}") for n in ("alpha", "beta")
    ):
        return False
    if kind == "GRU" and not call.attribute("linear_before_reset", 0):
        return False
    usual = [USUAL[kind], ["relu"]] if kind == "RNN" else [USUAL[kind]]
    return call.attribute("direction", "forward") != "reverse" and any(
        names == given * _directions(call) for given in usual
    )


def _layer(call: Call) -> _Layer:
    x = call.tensor(0)
    x = x.transpose(0, 1) if call.attribute("layout", 0) else x
    if is_symbol(x.shape[0]) or x.shape[0] > limits.STEPS:
        call.refuse(
            f"takes {x.shape[0]} steps; at most {limits.STEPS:,} are taken, and their number must be fixed"
        )
    hidden = (call.prepared[1] if call.prepared else call.tensor(2)).shape[-1]
    return _Layer(call, hidden, _directions(call), x)


def plain_weights(call: Call) -> tuple[torch.Tensor, ...]:
    """The weights of a node that torch has a layer for, as `_weights` says; none of any other."""
    return _weights(call) if _is_plain(call) else ()


def _weights(call: Call) -> tuple[torch.Tensor, ...]:
    """The weights as torch's layers have them: per direction two matrices, and two biases if any."""
    order = GATES[call.node.op]
    w, r, b = call.tensor(1), call.tensor(2), call.optional(3)
    made = []
    for direction in range(w.shape[0]):
        parts = [w[direction], r[direction]]
        if b is not None:
            parts += list(b[direction].chunk(2))
        for part in parts:
            gates = part.chunk(len(order))
            made.append(torch.cat([gates[place] for place in order]).contiguous())
    return tuple(made)


def _state(layer: _Layer, place: int) -> torch.Tensor:
    """The state before the first step, [directions, B, hidden]; zero without one."""
    call, batch = layer.call, layer.x.shape[1]
    given = call.optional(place)
    if given is None:
        return layer.x.new_zeros((layer.directions, batch, layer.hidden))
    given = given.transpose(0, 1) if call.attribute("layout", 0) else given
    built_in = call.batch == 1 and not is_symbol(given.shape[1])
    return given.expand(-1, batch, -1).contiguous() if built_in else given


@operator("LSTM", "GRU", "RNN")
def recurrent(call: Call) -> Result:
    """All steps, the last hidden state, and of an LSTM the last cell state."""
    layer = _layer(call)
    states = [_state(layer, 5)] + ([_state(layer, 6)] if call.node.op == "LSTM" else [])
    y, last = _torch(layer, states) if _is_plain(call) else _stepped(layer, states)
    if call.attribute("layout", 0):
        return (y.permute(2, 0, 1, 3), *(state.transpose(0, 1) for state in last))
    return (y, *last)


def _torch(layer: _Layer, states: list[torch.Tensor]) -> tuple[torch.Tensor, list[torch.Tensor]]:
    call, kind = layer.call, layer.call.node.op
    weights = list(call.prepared or _weights(call))
    rest = (call.has(3), 1, 0.0, False, layer.directions == 2, False)
    if kind == "LSTM":
        y, h, c = _VF.lstm(layer.x, states, weights, *rest)
        last = [h, c]
    else:
        run = _VF.gru if kind == "GRU" else _VF.rnn_relu if _names(call)[0] == "relu" else _VF.rnn_tanh
        y, h = run(layer.x, states[0], weights, *rest)
        last = [h]
    steps, batch = layer.x.shape[:2]
    return y.reshape(steps, batch, layer.directions, layer.hidden).permute(0, 2, 1, 3), last


def _stepped(layer: _Layer, states: list[torch.Tensor]) -> tuple[torch.Tensor, list[torch.Tensor]]:
    call = layer.call
    steps = layer.x.shape[0]
    ends = call.tensor(4).reshape(-1, 1) if call.has(4) else None
    outputs, last = [], []
    for direction in range(layer.directions):
        backwards = direction == 1 or call.attribute("direction", "forward") == "reverse"
        cell = _cell(layer, direction)
        state = [item[direction] for item in states]
        rows: list[torch.Tensor | None] = [None] * steps
        for step in reversed(range(steps)) if backwards else range(steps):
            new = cell(layer.x[step], state)
            if ends is not None:
                live = step < ends
                row = torch.where(live, new[0], torch.zeros_like(new[0]))
                state = [torch.where(live, one, other) for one, other in zip(new, state, strict=True)]
            else:
                row, state = new[0], new
            rows[step] = row
        outputs.append(torch.stack([row for row in rows if row is not None]))
        last.append(state)
    return torch.stack(outputs, 1), [torch.stack(list(parts)) for parts in zip(*last, strict=True)]


Cell = Callable[[torch.Tensor, list[torch.Tensor]], list[torch.Tensor]]


def _cell(layer: _Layer, direction: int) -> Cell:
    call, kind = layer.call, layer.call.node.op
    functions = _functions(call, direction)
    w, r = call.tensor(1)[direction], call.tensor(2)[direction]
    bias = call.tensor(3)[direction] if call.has(3) else None
    wb, rb = (None, None) if bias is None else bias.chunk(2)
    limit = call.attribute("clip", 0.0)

    def clipped(value: torch.Tensor) -> torch.Tensor:
        return torch.clamp(value, -limit, limit) if limit else value

    linear = torch.nn.functional.linear
    if kind == "RNN":
        return lambda x, s: [functions[0](clipped(linear(x, w, wb) + linear(s[0], r, rb)))]
    if kind == "GRU":
        after = bool(call.attribute("linear_before_reset", 0))

        def gru(x: torch.Tensor, s: list[torch.Tensor]) -> list[torch.Tensor]:
            (xz, xr, xh), (hz, hr, hh) = linear(x, w, wb).chunk(3, -1), linear(s[0], r, rb).chunk(3, -1)
            z, reset = functions[0](clipped(xz + hz)), functions[0](clipped(xr + hr))
            if not after:
                hh = linear(reset * s[0], r.chunk(3)[2], None if rb is None else rb.chunk(3)[2])
            new = functions[1](clipped(xh + (reset * hh if after else hh)))
            return [(1 - z) * new + z * s[0]]

        return gru
    peep = call.tensor(7)[direction].chunk(3) if call.has(7) else None

    def lstm(x: torch.Tensor, s: list[torch.Tensor]) -> list[torch.Tensor]:
        i, o, f, c = (linear(x, w, wb) + linear(s[0], r, rb)).chunk(4, -1)
        if peep is not None:
            i, f = i + peep[0] * s[1], f + peep[2] * s[1]
        i = functions[0](clipped(i))
        f = 1 - i if call.attribute("input_forget", 0) else functions[0](clipped(f))
        cell = f * s[1] + i * functions[1](clipped(c))
        o = o if peep is None else o + peep[1] * cell
        return [functions[0](clipped(o)) * functions[2](cell), cell]

    return lstm


def _functions(call: Call, direction: int) -> list[Function]:
    count = len(USUAL[call.node.op])
    alphas, betas = (list(call.attributes.get(f"activation_{name}") or []) for name in ("alpha", "beta"))
    found = []
    for name in _names(call):
        alpha = alphas.pop(0) if name in WITH_ALPHA and alphas else None
        beta = betas.pop(0) if name in WITH_BETA and betas else None
        function = _activation(name, alpha, beta)
        if function is None:
            call.refuse(f"activation {name!r}")
        found.append(function)
    return found[direction * count :][:count]
