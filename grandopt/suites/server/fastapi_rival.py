"""A program that serves the same agent by FastAPI on one uvicorn worker; it runs where FastAPI is installed.

`python fastapi_rival.py ARTIFACT PORT PLACE…`: PLACE are folders to import from after its own. The agent is
the same artifact, called directly.
"""

from __future__ import annotations

import sys
from typing import Any


def main(artifact: str, port: int, places: list[str]) -> None:
    """Serve until a signal comes."""
    sys.path += places
    import numpy as np
    import uvicorn
    from fastapi import FastAPI
    from pydantic import BaseModel

    from grandopt.runtime.loader import load

    policy = load(artifact)
    (spec,) = policy.signature.inputs

    class Tensor(BaseModel):
        name: str
        shape: list[int]
        datatype: str
        data: list[float]

    class Request(BaseModel):
        inputs: list[Tensor]

    app = FastAPI()

    async def infer(request: Any) -> Any:
        tensor = request.inputs[0]
        observation = np.array(tensor.data, spec.dtype).reshape(tensor.shape)
        (answer,) = policy.run([observation])
        output = {"name": "y", "datatype": "FP32", "shape": answer.shape, "data": answer.ravel().tolist()}
        return {"model_name": "agent", "model_version": "1", "outputs": [output]}

    infer.__annotations__["request"] = Request
    app.post("/v2/models/agent/infer")(infer)
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", loop="uvloop", http="httptools")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3:])
