"""What the protocol tells of an agent, and of the server."""

from __future__ import annotations

from typing import Any

from grandopt.artifacts.libraries import installed_version
from grandopt.serving.plane.model import Model

Json = dict[str, Any]

EXTENSIONS = (
    "classification",
    "sequence",
    "sequence(string_id)",
    "model_repository",
    "schedule_policy",
    "model_configuration",
    "binary_tensor_data",
    "parameters",
    "statistics",
    "logging",
)
"""Those that work always; shared memory only where it is switched on."""
SHARED_MEMORY = "system_shared_memory"


def server_metadata(shared_memory: bool) -> Json:
    """Name, version and extensions of the server."""
    extensions = [*EXTENSIONS, SHARED_MEMORY] if shared_memory else [*EXTENSIONS]
    return {
        "name": "grandopt",
        "version": installed_version("grandopt") or "unknown",
        "extensions": extensions,
    }


def model_metadata(model: Model) -> Json:
    """Inputs and outputs of an agent, with -1 for the number of rows.

    Those of a recurrent agent are the ones of a request in a sequence; its state is in the configuration.
    """
    return {
        "name": model.served.name,
        "versions": [model.served.version],
        "platform": platform_of(model),
        "inputs": [
            {"name": kind.name, "datatype": kind.datatype, "shape": [-1, *kind.shape]}
            for kind in model.observed.kinds
        ],
        "outputs": [
            {"name": kind.name, "datatype": kind.datatype, "shape": [-1, *kind.shape]}
            for kind in model.kept.kinds
        ],
    }


def platform_of(model: Model) -> str:
    """The engine that computes an agent, as a platform's name."""
    return f"grandopt_{model.served.engine}"
