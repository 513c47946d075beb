"""ModelStreamInfer: answers in order, errors of requests beside them, and streams that are left."""

from __future__ import annotations

import queue
import time
from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
import pytest

from grandopt.serving.grpc.coding import decode, encode
from grandopt.serving.grpc.inference_schema import INFERENCE
from tests.serving.grpc.asking import SERVICE, TIME_S, array, call, infer_request


def stream(channel: grpc.Channel, requests: Any, metadata: Any = None) -> Iterator[dict[str, Any]]:
    data = (
        one if isinstance(one, bytes) else encode(INFERENCE, "ModelInferRequest", one) for one in requests
    )
    call = channel.stream_stream(f"{SERVICE}/ModelStreamInfer")(data, timeout=TIME_S, metadata=metadata)
    return (decode(INFERENCE, "ModelStreamInferResponse", answer) for answer in call)


def line_request(number: float, **content: Any) -> dict[str, Any]:
    return infer_request("line", x=np.full((1, 4), number, "f"), **content)


def test_answers_come_in_the_order_of_the_requests(channel: grpc.Channel) -> None:
    count = 300
    answers = list(stream(channel, (line_request(index, id=str(index)) for index in range(count))))
    assert [answer["infer_response"]["id"] for answer in answers] == [str(index) for index in range(count)]
    for index, answer in enumerate(answers):
        np.testing.assert_array_equal(array(answer["infer_response"], 0), np.full((1, 4), 2 * index, "f"))


def test_a_slow_answer_is_not_overtaken(channel: grpc.Channel) -> None:
    slow = infer_request("slow", x=np.array([[0.2]], "f"), id="slow")
    answers = list(stream(channel, [slow, line_request(1, id="quick")]))
    assert [answer["infer_response"]["id"] for answer in answers] == ["slow", "quick"]


def test_an_error_is_its_requests_and_the_stream_lives_on(channel: grpc.Channel) -> None:
    wrong = infer_request("nobody", id="wrong")
    first, second, third, last = stream(
        channel, [line_request(1), wrong, b"\xff\xff", line_request(2, id="z")]
    )
    assert "error_message" not in first
    assert "nobody" in second["error_message"]
    assert second["infer_response"] == {"id": "wrong"}
    assert "no message of the protocol" in third["error_message"]
    assert last["infer_response"]["id"] == "z"


def test_an_error_ends_the_stream_for_those_who_ask_for_that(channel: grpc.Channel) -> None:
    requests = [line_request(1, id="a"), infer_request("nobody"), line_request(2, id="b")]
    answers = stream(channel, requests, (("triton_grpc_error", "true"),))
    assert next(answers)["infer_response"]["id"] == "a"
    with pytest.raises(grpc.RpcError) as error:
        next(answers)
    assert error.value.code() is grpc.StatusCode.NOT_FOUND


def test_the_final_response_is_marked_where_that_is_asked_for(channel: grpc.Channel) -> None:
    wanted = {"triton_enable_empty_final_response": {"bool_param": True}}
    wrong = {"triton_enable_empty_final_response": {"string_param": "yes"}}
    marked, plain, refused = stream(
        channel, [line_request(1, parameters=wanted), line_request(1), line_request(1, parameters=wrong)]
    )
    assert marked["infer_response"]["parameters"] == {"triton_final_response": {"bool_param": True}}
    assert "parameters" not in plain["infer_response"]
    assert "wanted a bool_param" in refused["error_message"]


def test_answers_come_while_the_client_still_asks(channel: grpc.Channel) -> None:
    """One at a time, each after the answer before."""
    asked = iter(range(20))

    def requests() -> Iterator[dict[str, Any]]:
        while (number := next(turns)) is not None:
            yield line_request(number)

    waiting: queue.Queue[int | None] = queue.Queue()
    turns = iter(waiting.get, object())
    waiting.put(next(asked))
    count = 0
    for _ in stream(channel, requests()):
        count += 1
        waiting.put(next(asked, None))
    assert count == 20


def test_a_stream_that_is_left_leaves_nothing_behind(channel: grpc.Channel) -> None:
    """What waits behind a slow answer is given up when the client goes; the next is answered at once."""
    data = encode(INFERENCE, "ModelInferRequest", infer_request("slow", x=np.array([[0.3]], "f")))
    left = channel.stream_stream(f"{SERVICE}/ModelStreamInfer")(iter([data] * 60))
    time.sleep(0.1)
    left.cancel()
    began = time.monotonic()
    call(channel, "ModelInfer", **infer_request("slow", x=np.array([[0.0]], "f")))
    assert time.monotonic() - began < 10, "60 requests of 0.3 s were computed for nobody"
