"""URL FOLDER: KServe's REST client."""

import asyncio
import sys

import numpy as np
from cases import DATATYPES, cases, tell
from kserve import InferInput, InferRequest
from kserve.inference_client import InferenceRESTClient, RESTConfig


async def main(url, folder):
    client = InferenceRESTClient(RESTConfig(protocol="v2"))
    ready = [
        await client.is_server_live(url),
        await client.is_server_ready(url),
        await client.is_model_ready(url, "line"),
    ]
    as_text = 0
    for case in cases(folder):
        half = any(array.dtype == np.float16 for array in case.inputs.values())
        for binary in (True,) if half else (True, False):
            tensors = []
            for name, array in case.inputs.items():
                tensor = InferInput(name, list(array.shape), DATATYPES[array.dtype.name])
                tensor.set_data_from_numpy(array, binary_data=binary)
                tensors.append(tensor)
            request = InferRequest(model_name=case.model, infer_inputs=tensors, request_id="9")
            request.parameters = {"binary_data_output": binary}
            response = await client.infer(url, request, model_name=case.model)
            outputs = {output.name: output for output in response.outputs}
            case.check(lambda name, outputs=outputs: outputs[name].as_numpy())
            assert response.id == "9"
            as_text += not binary
    await client.close()
    tell(ready=ready, cases=len(cases(folder)), as_text=as_text)


asyncio.run(main(*sys.argv[1:]))
