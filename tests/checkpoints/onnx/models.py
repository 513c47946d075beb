"""Small ONNX files, written node by node: no exporter is needed, and each holds what its test is about."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
ACTIVATIONS = {torch.nn.Tanh: "Tanh", torch.nn.ReLU: "Relu"}
Shape = Sequence[int | str | None] | None


def value(name: str, shape: Shape, kind: int = TensorProto.FLOAT) -> Any:
    """An input or output."""
    return helper.make_tensor_value_info(name, kind, None if shape is None else list(shape))


def model(
    nodes: Sequence[Any],
    inputs: Sequence[Any],
    outputs: Sequence[Any],
    constants: dict[str, Any] | None = None,
    opset: int = OPSET,
    **more: Any,
) -> Any:
    """A model of these nodes; `constants` are arrays."""
    held = [numpy_helper.from_array(np.asarray(array), name) for name, array in (constants or {}).items()]
    graph = helper.make_graph(list(nodes), "graph", list(inputs), list(outputs), held)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8, **more)


def save(made: Any, path: Path) -> Path:
    """The path, after writing the model there."""
    path.write_bytes(made.SerializeToString())
    return path


def sequential(network: torch.nn.Sequential, batch: int | str = "batch") -> Any:
    """Linear layers and activations between them, as exporters write them."""
    nodes, constants, name = [], {}, "state"
    for place, layer in enumerate(network):
        if isinstance(layer, torch.nn.Linear):
            constants |= {
                f"{place}.weight": layer.weight.detach().numpy(),
                f"{place}.bias": layer.bias.detach().numpy(),
            }
            nodes.append(
                helper.make_node("Gemm", [name, f"{place}.weight", f"{place}.bias"], [f"h{place}"], transB=1)
            )
        else:
            nodes.append(helper.make_node(ACTIVATIONS[type(layer)], [name], [f"h{place}"]))
        name = f"h{place}"
    nodes.append(helper.make_node("Identity", [name], ["scores"]))
    first, last = network[0], network[-1]
    return model(
        nodes,
        [value("state", [batch, first.in_features])],
        [value("scores", [batch, last.out_features])],
        constants,
    )


def lstm_policy(layers: int = 1, seed: int = 0) -> Any:
    """What Isaac Lab exports of a recurrent policy: a batch of 1, layers first, `obs, h_in, c_in` taken."""
    random = np.random.default_rng(seed)

    def weights(*shape: int) -> Any:
        return (random.standard_normal(shape) * 0.3).astype(np.float32)

    constants: dict[str, Any] = {"axis": np.array([0]), "w": weights(4, 16), "b": weights(4)}
    nodes = [helper.make_node("Unsqueeze", ["obs", "axis"], ["x0"])]
    for layer in range(layers):
        width = 10 if layer == 0 else 16
        constants |= {
            f"w{layer}": weights(1, 64, width), f"r{layer}": weights(1, 64, 16), f"b{layer}": weights(1, 128),
            f"from{layer}": np.array([layer]), f"to{layer}": np.array([layer + 1]),
        }  # fmt: skip
        nodes += [
            node("Slice", [f"{state}_in", f"from{layer}", f"to{layer}", "axis"], [f"{state}{layer}"])
            for state in "hc"
        ]
        nodes += [
            helper.make_node(
                "LSTM",
                [f"x{layer}", f"w{layer}", f"r{layer}", f"b{layer}", "", f"h{layer}", f"c{layer}"],
                [f"y{layer}", f"h_next{layer}", f"c_next{layer}"],
                hidden_size=16,
            ),
            helper.make_node("Squeeze", [f"y{layer}", "one"], [f"x{layer + 1}"]),
        ]
    constants["one"] = np.array([1])
    for state in "hc":
        parts = [f"{state}_next{layer}" for layer in range(layers)]
        nodes.append(helper.make_node("Concat", parts, [f"{state}_out"], axis=0))
    nodes += [
        helper.make_node("Squeeze", [f"x{layers}", "axis"], ["features"]),
        helper.make_node("Gemm", ["features", "w", "b"], ["actions"], transB=1),
    ]
    state_shape = [layers, 1, 16]
    return model(
        nodes,
        [value("obs", [1, 10]), value("h_in", state_shape), value("c_in", state_shape)],
        [value("actions", [1, 4]), value("h_out", state_shape), value("c_out", state_shape)],
        constants,
    )


def answers(made: Any, **inputs: Any) -> dict[str, Any]:
    """What ONNX's own interpreter computes."""
    from onnx.reference import ReferenceEvaluator

    evaluator = ReferenceEvaluator(made)
    names = [item.name for item in made.graph.output]
    return dict(zip(names, evaluator.run(None, inputs), strict=True))


def node(op: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> Any:
    """One node."""
    return helper.make_node(op, list(inputs), list(outputs), **attributes)
