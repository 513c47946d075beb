"""ADDRESS FOLDER: KServe's gRPC client."""

import asyncio
import sys

from cases import DATATYPES, cases, tell
from kserve import InferInput, InferRequest
from kserve.inference_client import InferenceGRPCClient


async def main(address, folder):
    async with InferenceGRPCClient(address) as client:
        ready = [
            await client.is_server_live(),
            await client.is_server_ready(),
            await client.is_model_ready("line"),
        ]
        for case in cases(folder):
            tensors = []
            for name, array in case.inputs.items():
                tensor = InferInput(name, list(array.shape), DATATYPES[array.dtype.name])
                tensor.set_data_from_numpy(array, binary_data=True)
                tensors.append(tensor)
            request = InferRequest(model_name=case.model, infer_inputs=tensors, request_id="9")
            response = await client.infer(request)
            outputs = {output.name: output for output in response.outputs}
            case.check(lambda name, outputs=outputs: outputs[name].as_numpy())
            assert response.id == "9"
        tell(ready=ready, cases=len(cases(folder)))


asyncio.run(main(*sys.argv[1:]))
