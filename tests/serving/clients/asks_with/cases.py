"""What is asked, and what has to come back: arrays that the test has written down."""

import json
from pathlib import Path

import numpy as np

DATATYPES = {
    "bool": "BOOL",
    "uint8": "UINT8",
    "int8": "INT8",
    "int16": "INT16",
    "int32": "INT32",
    "int64": "INT64",
    "float16": "FP16",
    "float32": "FP32",
    "float64": "FP64",
}


class Case:
    """One request: arrays by name of `inputs`, and those of `outputs` that are the answer."""

    def __init__(self, folder):
        self.model = folder.name.partition("@")[0]
        self.inputs = self._arrays(folder, "input")
        self.outputs = self._arrays(folder, "output")

    @staticmethod
    def _arrays(folder, kind):
        return {path.stem.partition(".")[2]: np.load(path) for path in sorted(folder.glob(f"{kind}.*.npy"))}

    def check(self, get):
        """Every output bit for bit; `get` gives an output by its name."""
        for name, expected in self.outputs.items():
            found = get(name)
            assert found is not None, (self.model, name)
            assert found.dtype == expected.dtype, (self.model, name, found.dtype)
            assert found.shape == expected.shape, (self.model, name, found.shape)
            assert found.tobytes() == expected.tobytes(), (self.model, name)


def cases(folder):
    return [Case(one) for one in sorted(Path(folder).iterdir())]


def tell(**found):
    print(json.dumps(found))
