"""ModelInferRequest: from its bytes to what the data plane is asked.

A client's requests differ in their ids and numbers alone: everything else comes again and again, and is
looked up as the bytes it is, and read only when it is new. Where numbers do not come as raw bytes, so are the
parts that say which tensor they are for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

import numpy as np

from grandopt.serving.grpc.forms import Form, form_of
from grandopt.serving.grpc.infer_tensors import InputPart, read_input, read_output, tensors
from grandopt.serving.grpc.parameters import read_parameter
from grandopt.serving.grpc.wire import BYTES, fields, malformed, text
from grandopt.serving.protocol.datatypes import DTYPES
from grandopt.serving.protocol.errors import Code, ProtocolError
from grandopt.serving.protocol.messages import (
    NO_PARAMETERS,
    InferRequest,
    InputTensor,
    OutputRequest,
    Parameter,
)
from grandopt.signature import Array

ID, RAW = 3, 7
"""Numbers of fields."""
MAX_TENSORS = 128
"""Inputs, outputs or parameters of one request."""
REMEMBERED = 512
LONGEST_REMEMBERED = 256
"""How many parts are kept as read, and their bytes at most."""

T = TypeVar("T")


class Remembered(dict[bytes, T], Generic[T]):
    """What was read of parts that were seen before: `remembered[part]` reads a new one."""

    def __init__(self, read: Callable[[bytes], T]) -> None:
        super().__init__()
        self._read = read

    def __missing__(self, part: bytes) -> T:
        found = self._read(part)
        if len(part) <= LONGEST_REMEMBERED:
            if len(self) >= REMEMBERED:
                self.clear()
            self[part] = found
        return found


class Known(Form):
    """The form of requests of one size, and those that were read, by what is fixed of them.

    Of each all but its id and numbers is kept. `head` is how many bytes stand before the numbers of a request
    without an id, of one tensor; 0 for any other.
    """

    __slots__ = ("head", "requests")

    def __init__(self, size: int, of_id: slice, numbers: tuple[slice, ...]) -> None:
        super().__init__(size, of_id, numbers)
        self.requests: dict[bytes, InferRequest] = {}
        lone = len(numbers) == 1 and numbers[0].stop == size and of_id.start == of_id.stop
        self.head = numbers[0].start if lone else 0


class Many(NamedTuple):
    """Requests that are all `request`, with their own ids [n, characters], as bytes, and their own numbers:
    `data` has one array [n, *shape] for each input, of which each request is one row."""

    request: InferRequest
    ids: Array
    data: tuple[Array, ...]


class RequestReader:
    """Reads requests; what it remembers is bounded, and of no client in particular."""

    def __init__(self) -> None:
        self._inputs = Remembered(read_input)
        self._outputs = Remembered(read_output)
        self._texts = Remembered(text)
        self._forms: dict[int, Known] = {}
        """By how many bytes a request has."""
        self._remembered = 0

    def read(self, data: bytes) -> InferRequest:
        """The request that these bytes are. Raises ProtocolError where they are none."""
        form = self._forms.get(len(data))
        if form is None:
            return self._read(data)
        head = form.head
        if head and (known := form.requests.get(data[:head])) is not None:
            name, datatype, shape, _, _ = known.inputs[0]
            # Copied out, so that numbers begin where their dtype may.
            numbers = np.frombuffer(data[head:], DTYPES[datatype]).reshape(shape)
            tensor = InputTensor(name, datatype, shape, numbers)
            return InferRequest(known.model, known.version, "", known.parameters, (tensor,), known.outputs)
        if not head and (known := form.requests.get(form.key(data))) is not None:
            inputs = [
                InputTensor(one.name, one.datatype, one.shape, _array(data[place], one.datatype, one.shape))
                for one, place in zip(known.inputs, form.numbers, strict=True)
            ]
            request_id = text(data[form.id])
            return InferRequest(
                known.model, known.version, request_id, known.parameters, tuple(inputs), known.outputs
            )
        return self._read(data)

    def read_many(self, messages: Array) -> Many | None:
        """The first of some messages [n, size], of bytes, as far as they ask the same of different numbers.

        None where the first is to be read alone, which has it remembered if that helps.
        """
        form = self._forms.get(messages.shape[1])
        if form is None:
            return None
        known = form.requests.get(form.key(messages[0].tobytes()))
        if known is None or any(not one.shape or one.shape[0] != 1 for one in known.inputs):
            return None
        messages = messages[: form.alike(messages)]
        ids = messages[:, form.id]
        if ids.size and int(ids.max()) > 127:
            return None  # whether that is a text is looked at in full
        data = [
            # Copied out, as above.
            messages[:, place].copy().view(DTYPES[one.datatype]).reshape(-1, *one.shape[1:])
            for one, place in zip(known.inputs, form.numbers, strict=True)
        ]
        return Many(known, ids, tuple(data))

    def _read(self, data: bytes) -> InferRequest:
        model = version = request_id = ""
        parameters: dict[str, Parameter] = {}
        parts: list[InputPart] = []
        outputs: list[OutputRequest] = []
        raws: list[bytes] = []
        for number, kind, value in fields(data):
            if not isinstance(value, bytes) or kind != BYTES:
                if 0 < number < 8:
                    raise malformed(f"field {number} is a number")
            elif number == 7:
                raws.append(value)
            elif number == 5:
                parts.append(self._inputs[value])
            elif number == 1:
                model = self._texts[value]
            elif number == 3:
                request_id = text(value)
            elif number == 6:
                outputs.append(self._outputs[value])
            elif number == 2:
                version = self._texts[value]
            elif number == 4:
                parameters.update((read_parameter(value),))
            if len(parts) + len(outputs) + len(parameters) > MAX_TENSORS:
                raise ProtocolError(
                    Code.INVALID,
                    f"the request has over {MAX_TENSORS} inputs, outputs and parameters, the limit",
                )
        inputs = tensors(parts, raws)
        request = InferRequest(
            model, version, request_id, parameters or NO_PARAMETERS, inputs, tuple(outputs)
        )
        if raws and len(raws) == len(parts):
            self._remember(data, request)
        return request

    def _remember(self, data: bytes, request: InferRequest) -> None:
        """Have requests looked up that differ from this one in id and numbers alone; all of it is raw."""
        forms, size = self._forms, len(data)
        found = form_of(data, ID, RAW)
        if found is None or sum(place.stop - place.start for place in found.fixed) > LONGEST_REMEMBERED:
            return
        form = forms.setdefault(size, Known(size, found.id, found.numbers))
        if form.id != found.id or form.numbers != found.numbers:
            return  # another form has this size, and was first
        if self._remembered >= REMEMBERED or len(forms) > REMEMBERED:
            forms.clear()
            self._remembered = 0
            forms[size] = form
            form.requests.clear()
        inputs = tuple([one._replace(data=None) for one in request.inputs])
        form.requests[form.key(data)] = request._replace(id="", inputs=inputs)
        self._remembered += 1


def _array(raw: bytes, datatype: str, shape: tuple[int, ...]) -> Array:
    return np.frombuffer(raw, DTYPES[datatype]).reshape(shape)
