"""The configuration of an agent, in the form of Triton's ModelConfig."""

from __future__ import annotations

from typing import Any

from grandopt.serving.plane.inputs import InputKind, kinds_of
from grandopt.serving.plane.metadata import Json, platform_of
from grandopt.serving.plane.model import Model
from grandopt.serving.plane.outputs import OutputKind

PRIORITIES = 4
"""Levels of the protocol's priority, of which 1 is the highest."""
DEFAULT_PRIORITY = 3


def model_config(model: Model) -> Json:
    """Everything that a client or a load generator has to know before it asks the agent."""
    served, agent = model.served, model.agent
    config: Json = {
        "name": served.name,
        "platform": platform_of(model),
        "backend": "grandopt",
        "version_policy": {"latest": {"num_versions": 1}},
        "max_batch_size": model.most_rows,
        "input": [_tensor(kind) for kind in model.observed.kinds],
        "output": [_tensor(kind) for kind in model.kept.kinds],
        "instance_group": [{"name": served.name, "kind": "KIND_CPU", "count": _workers(model)}],
        "model_transaction_policy": {"decoupled": False},
        "response_cache": {"enable": agent.front is not None},
        "parameters": {"digest": {"string_value": served.digest}},
    }
    if served.contract.state:
        config["sequence_batching"] = _sequence_batching(model)
    elif agent.batcher is not None:
        settings = agent.batcher.settings
        config["dynamic_batching"] = {
            "preferred_batch_size": [],
            "max_queue_delay_microseconds": 0,
            "priority_levels": PRIORITIES,
            "default_priority_level": DEFAULT_PRIORITY,
            "default_queue_policy": {
                "timeout_action": "REJECT",
                "default_timeout_microseconds": 0,
                "allow_timeout_override": True,
                "max_queue_size": settings.queue_rows,
            },
        }
    return config


def _workers(model: Model) -> int:
    return 1 if model.agent.batcher is None else model.agent.batcher.workers.size


def _tensor(kind: InputKind | OutputKind) -> Json:
    return {"name": kind.name, "data_type": _type(kind.datatype), "dims": list(kind.shape)}


def _sequence_batching(model: Model) -> Json:
    served = model.served
    inputs = {kind.name: kind for kind in kinds_of(served.signature.inputs)}
    states: list[dict[str, Any]] = [
        {
            "input_name": tensor.input,
            "output_name": tensor.output,
            "data_type": _type(inputs[tensor.input].datatype),
            "dims": list(inputs[tensor.input].shape),
        }
        for tensor in served.contract.state
    ]
    sessions = model.agent.sessions
    return {
        "max_sequence_idle_microseconds": int(sessions.idle_s * 1e6),
        "state": states,
        "oldest": {"max_candidate_sequences": sessions.limit},
    }


def _type(datatype: str) -> str:
    return f"TYPE_{datatype}"
