"""`python -m grandopt.workflows.executorch_builder`: run in ExecuTorch's environment by `rivals.py`.

Answers {"program", "signature", "folder"} with why the batch is not dynamic ("note"), or with an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from grandopt.errors import GrandoptError, first_line
from grandopt.measurement.worker import serve
from grandopt.signature import Signature


def answer(job: Mapping[str, Any]) -> dict[str, Any]:
    """Lower one program."""
    try:
        from grandopt.compiler.backends import executorch

        signature = Signature.from_json(job["signature"])
        return {"note": executorch.lower(Path(job["program"]), signature, Path(job["folder"]))}
    except ImportError as error:
        return {"error": f"ExecuTorch cannot be imported there: {first_line(error)}"}
    except GrandoptError as error:
        return {"error": str(error)}


if __name__ == "__main__":
    serve(answer)
