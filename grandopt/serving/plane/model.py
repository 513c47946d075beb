"""One agent that is served, as the protocol's requests ask it."""

from __future__ import annotations

import asyncio
from asyncio import Future
from collections.abc import Sequence
from functools import partial
from time import perf_counter_ns
from typing import NamedTuple

from grandopt.errors import GrandoptError
from grandopt.runtime.scheduling.request import Answer, Priority
from grandopt.runtime.scheduling.workers.base import computed
from grandopt.serving.plane.counts import Counts
from grandopt.serving.plane.inputs import Inputs
from grandopt.serving.plane.outputs import Outputs
from grandopt.serving.plane.parameters import PLAIN, Asked, asked
from grandopt.serving.plane.regions import Regions
from grandopt.serving.plane.sequences import Sequences
from grandopt.serving.protocol.errors import Code, ProtocolError, refused
from grandopt.serving.protocol.messages import NO_PARAMETERS, InferRequest, InferResponse
from grandopt.serving.repository.served import Served
from grandopt.signature import FITS, Array

Response = InferResponse | Future[InferResponse]
_now = perf_counter_ns
_made = tuple.__new__
_NORMAL = int(Priority.NORMAL)


class Pending(NamedTuple):
    """A request that is being answered: when it came and was handed on, and what was asked.

    `arrays` are [n, *shape]; `single` says that the answer will be of one observation, `outputs` who makes
    the response of it. `certain` says that this version answers, unless it is replaced meanwhile; and `again`
    that it does so for good, as where it is asked for the second time.
    """

    request: InferRequest
    arrays: tuple[Array, ...]
    outputs: Outputs
    single: bool
    began: int
    asked: int
    certain: bool
    again: bool


class Model:
    """Answers requests of one version of an agent, which has been looked up by its name.

    It belongs to the engine's event loop. `counts` and `sequences` go on when another version takes over.
    """

    def __init__(
        self,
        served: Served,
        counts: Counts,
        sequences: Sequences,
        regions: Regions | None,
        most_rows: int,
    ) -> None:
        self.served, self.counts, self.sequences = served, counts, sequences
        self.most_rows = most_rows
        self._regions = regions
        self._name, self._version = served.name, served.version
        self.agent = agent = served.agent
        self.batcher = agent.batcher
        self._lone = agent.lone
        self.executor = served.loaded.executor
        """What computes its answers; where the agent answers with another one, a newer model is there."""
        signature, contract = served.signature, served.contract
        moved = {tensor.output for tensor in contract.state}
        self.inputs = Inputs(self._name, signature.inputs, most_rows)
        self.outputs = Outputs(self._name, signature.outputs)
        self.observed = Inputs(self._name, signature.observed(contract), 1)
        self.kept = Outputs(self._name, [spec for spec in signature.outputs if spec.name not in moved])
        # What a request of one row to an agent with one input, as most are, is compared with.
        first = self.inputs.kinds[0]
        self._quick = len(self.inputs.kinds) == 1 and first.datatype != "BOOL"
        self._input, self._datatype, self._dtype = first.name, first.datatype, first.dtype
        self._row = (1, *first.shape)
        self._states = frozenset(tensor.input for tensor in contract.state)
        self._only = self.outputs.kinds[0].name if len(self.outputs.kinds) == 1 else None

    def infer(self, request: InferRequest, began: int) -> Response:
        """The response where it is there at once, else a future of it; raises ProtocolError.

        `began` is when the request came, in nanoseconds of the clock.
        """
        counts = self.counts
        counts.last_ns = began
        try:
            row = self._row_of(request)
            if row is None:
                return self._infer(request, began)
            checked = _now()
            lone = self._lone
            if lone is None:
                answer = self.agent.submit(row, _NORMAL, 0)
            else:  # the same, in less time
                lone.resumed()  # each request is a caller of its own, however many come in one turn
                answer = lone.at_once(row) or lone.submit(row)
            if not isinstance(answer, tuple):
                batch = (row[0][None],)
                return self._later(answer, request, batch, self.outputs, began, checked, single=True)
            answered = _now()
            outputs = self.outputs.one_row(answer)
        except ProtocolError as error:
            counts.failed(error, _now() - began)
            raise
        except GrandoptError as error:
            raise self._refused(error, began) from error
        counts.success += 1
        counts.rows += 1
        counts.input_ns += checked - began
        counts.once_ns += answered - checked
        counts.request_ns += _now() - began
        # As `InferResponse(…)`, in a third of the time.
        return _made(InferResponse, (self._name, self._version, request.id, NO_PARAMETERS, outputs))

    def _row_of(self, request: InferRequest) -> tuple[Array] | None:
        """The observation of a request that asks for nothing special and fits as it is; else None."""
        if not self._quick or request.parameters or len(request.inputs) != 1:
            return None
        wanted = request.outputs
        if wanted and (
            len(wanted) != 1
            or wanted[0].name != self._only
            or wanted[0].classification
            or wanted[0].region is not None
        ):
            return None
        name, datatype, shape, data, region = request.inputs[0]
        if (
            shape == self._row
            and name == self._input
            and datatype == self._datatype
            and region is None
            and data is not None
            and data.flags.num & FITS == FITS
        ):
            return (data[0, ...],)
        return None

    # ---- every other request ------------------------------------------------------------------------------

    def _infer(self, request: InferRequest, began: int) -> Response:
        wants = asked(request.parameters, began) if request.parameters else PLAIN
        if wants.sequence is not None:
            return self._infer_sequence(request, wants, began)
        self.outputs.check(request.outputs, self._regions)
        if self._states:
            self._check_state(request)
        arrays = self.inputs.arrays(request.inputs, self._regions)
        checked = _now()
        if len(arrays[0]) > 1:
            batch = asyncio.ensure_future(self.agent.infer_batch(arrays, wants.priority, wants.deadline))
            return self._later(batch, request, arrays, self.outputs, began, checked, single=False)
        if self._lone is not None:
            self._lone.resumed()
        answer = self.agent.submit(tuple(array[0, ...] for array in arrays), wants.priority, wants.deadline)
        if not isinstance(answer, tuple):
            return self._later(answer, request, arrays, self.outputs, began, checked, single=True)
        self.counts.input_ns += checked - began
        self.counts.once_ns += _now() - checked
        return self._response(request, self.outputs, [output[None] for output in answer], began)

    def _infer_sequence(self, request: InferRequest, wants: Asked, began: int) -> Future[InferResponse]:
        if not self._states:
            raise ProtocolError(
                Code.INVALID, f"{self._name} keeps no state between requests: ask it without a sequence_id"
            )
        self.kept.check(request.outputs, self._regions)
        arrays = self.observed.arrays(request.inputs, self._regions)
        checked = _now()
        answer = self.sequences.submit(tuple(array[0, ...] for array in arrays), wants)
        return self._later(answer, request, arrays, self.kept, began, checked, single=True)

    def _check_state(self, request: InferRequest) -> None:
        given = {tensor.name for tensor in request.inputs}
        if not self._states <= given:
            raise ProtocolError(
                Code.INVALID,
                f"{self._name} keeps a state: give a sequence_id (with sequence_start at first), or the "
                f"state as inputs, too: {', '.join(sorted(self._states - given))}",
            )

    # ---- answers that come later --------------------------------------------------------------------------

    def _later(
        self,
        answer: Future[Answer],
        request: InferRequest,
        arrays: tuple[Array, ...],
        outputs: Outputs,
        began: int,
        checked: int,
        *,
        single: bool,
    ) -> Future[InferResponse]:
        response: Future[InferResponse] = answer.get_loop().create_future()
        # What answered a sequence has moved its state on: that cannot be asked again.
        again = outputs is self.kept
        pending = Pending(request, arrays, outputs, single, began, checked, again or self._answers(), again)
        answer.add_done_callback(partial(self._deliver, pending, response))
        response.add_done_callback(partial(_given_up, answer))
        return response

    def _deliver(
        self,
        pending: Pending,
        response: Future[InferResponse],
        answer: Future[Answer],
    ) -> None:
        """The answer is there: make the response of it."""
        if response.done():
            self.counts.cancelled(_now() - pending.began)
            if not answer.cancelled():
                answer.exception()  # seen: nobody waits for it any more
            return
        if answer.cancelled():  # by nobody who waits for it: whoever does is told
            given_up = ProtocolError(Code.UNAVAILABLE, f"{self._name}: the request was given up", 1.0)
            response.set_exception(self._refused(given_up, pending.began))
            return
        error = answer.exception()
        if error is None:
            if not (pending.certain and (pending.again or self._answers())):
                self._again(pending, response)
                return
            self.counts.input_ns += pending.asked - pending.began
            self.counts.later_ns += _now() - pending.asked
            found = answer.result()
            batch = [output[None] for output in found] if pending.single else found
            try:
                response.set_result(self._response(pending.request, pending.outputs, batch, pending.began))
                return
            except ProtocolError as unwritten:  # a region of shared memory that is gone
                error = unwritten
        response.set_exception(self._refused(error, pending.began))

    def _again(self, pending: Pending, response: Future[InferResponse]) -> None:
        """Another version began to answer meanwhile, and may have answered this: let this one do it."""
        answer = response.get_loop().run_in_executor(None, computed, self.served.loaded, list(pending.arrays))
        once_more = pending._replace(single=False, certain=True, again=True)
        answer.add_done_callback(partial(self._deliver, once_more, response))
        response.add_done_callback(partial(_given_up, answer))

    def _response(
        self, request: InferRequest, outputs: Outputs, answer: Sequence[Array], began: int
    ) -> InferResponse:
        tensors = outputs.tensors(answer, request.outputs, self._regions)
        counts = self.counts
        counts.success += 1
        counts.rows += len(answer[0])
        counts.request_ns += _now() - began
        return InferResponse(self._name, self._version, request.id, NO_PARAMETERS, tensors)

    def _answers(self) -> bool:
        """Whether what is asked now is answered by this version, and by no other."""
        agent, executor = self.agent, self.executor
        if agent.front is not None and agent.version.executor is not executor:
            return False  # a cache has another version's answers until the agent has done with that
        return agent.answering is executor

    def _refused(self, error: BaseException, began: int) -> ProtocolError:
        told = refused(error)
        self.counts.failed(told, _now() - began)
        return told


def _given_up(answer: Future[Answer], response: Future[InferResponse]) -> None:
    if response.cancelled():
        answer.cancel()
