"""Spaces from the texts that different releases of gym and gymnasium leave in a zip."""

from __future__ import annotations

from typing import Any

import pytest

from grandopt.compiler.checkpoints.sb3 import spaces
from grandopt.compiler.checkpoints.sb3.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete
from grandopt.errors import CheckpointError

CUT = "[[[0 0 0 ... 0 0 0]\n  ...\n  [0 0 0 ... 0 0 0]]]"


def _gym(kind: str, **attributes: Any) -> dict[str, Any]:
    return {":type:": f"<class 'gym.spaces.{kind.lower()}.{kind}'>", **attributes}


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        (
            _gym("Box", dtype="float32", shape=[2], low="[-1. -8.]", high="[1. 8.]"),
            Box((2,), "float32", (-1.0, -8.0), (1.0, 8.0)),
        ),
        (
            _gym("Box", dtype="float64", _shape="(3,)", low="[-inf -inf -inf]", high="[inf inf inf]"),
            Box((3,), "float64", float("-inf"), float("inf")),
        ),
        (
            _gym("Box", dtype="float32", _shape=[2], low="[-4.8000002e+00 -3.4028235e+38]", high="[1. 1.]"),
            Box((2,), "float32", (-4.8000002, -3.4028235e38), 1.0),
        ),
        (
            _gym("Box", dtype="uint8", _shape=[3, 84, 84], low=CUT, high=CUT.replace("0", "255")),
            Box((3, 84, 84), "uint8", 0.0, 255.0),
        ),
        (
            _gym("Box", dtype="float32", _shape=[2000], low="[-1. 0. ... -1.]", high="[1. ... 1.]"),
            Box((2000,), "float32", None, 1.0),
        ),
        (
            _gym("Box", dtype="float32", _shape=[3], low="[0. ... 2.]", low_repr="[0. 1. 2.]", high="3.0"),
            Box((3,), "float32", (0.0, 1.0, 2.0), 3.0),
        ),
        (_gym("Discrete", n=2), Discrete(2)),
        (_gym("Discrete", n="5", start="0"), Discrete(5)),
        (_gym("MultiDiscrete", nvec="[3 4]", start="[0 0]"), MultiDiscrete((3, 4))),
        (_gym("MultiBinary", n=[2, 3]), MultiBinary((2, 3))),
        (_gym("MultiBinary", n="4"), MultiBinary((4,))),
    ],
)
def test_attributes_are_read(data: dict[str, Any], wanted: spaces.Space) -> None:
    assert spaces.parse(data, "space") == wanted


def test_an_image_is_told_by_type_and_bounds() -> None:
    assert Box((3, 84, 84), "uint8", 0.0, 255.0).is_image
    assert not Box((3, 84, 84), "float32", 0.0, 255.0).is_image
    assert not Box((3, 84, 84), "uint8", 0.0, 1.0).is_image
    assert not Box((84, 84), "uint8", 0.0, 255.0).is_image


@pytest.mark.parametrize(
    "text",
    [
        "{'b': Box([-1.  -2.5], [ 1. inf], (2,), float32), 'a, (x': Discrete(4), 'm': MultiDiscrete([3 4])}",
        "OrderedDict([('b', Box([-1.  -2.5], [ 1. inf], (2,), float32)), ('a, (x', Discrete(4)), "
        "('m', MultiDiscrete([3 4]))])",
        "OrderedDict({'b': Box([-1.  -2.5], [ 1. inf], (2,), float32), 'a, (x': Discrete(4, start=0), "
        "'m': MultiDiscrete([3 4])})",
    ],
)
def test_members_of_a_dict_space_keep_their_order(text: str) -> None:
    space = spaces.parse(_gym("Dict", spaces=text), "space")
    assert isinstance(space, Dict)
    assert list(space.spaces.items()) == [
        ("b", Box((2,), "float32", (-1.0, -2.5), (1.0, float("inf")))),
        ("a, (x", Discrete(4)),
        ("m", MultiDiscrete((3, 4))),
    ]


def test_the_short_print_of_old_gym_has_no_bounds() -> None:
    assert spaces.printed("Box(3,)", "space") == Box((3,), "float32", None, None)
    with pytest.raises(CheckpointError, match="does not say whether it is an image"):
        spaces.printed("Box(84, 84, 3)", "space")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "is not in the zip's text"),
        (_gym("Tuple"), "kind Tuple are not supported"),
        (_gym("Box", dtype="float32", low="0", high="1"), "no readable shape"),
        (_gym("Discrete", n="x"), "no readable size"),
        (_gym("Discrete", n=3, start="1"), "begins at 1; SB3's policies count from 0"),
        (_gym("MultiDiscrete", nvec="[[1 2]\n [3 4]]"), "one row of sizes"),
        (_gym("Dict", spaces="{}"), "has no members"),
        (_gym("Dict", spaces="{'a': Sequence(Box(3,))}"), "cannot read the space"),
        (_gym("Dict", spaces="{__import__('os'): Discrete(2)}"), "cannot read"),
        (_gym("Dict", spaces="<dict>"), "cannot read the members"),
    ],
)
def test_what_cannot_be_read_is_refused(data: Any, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        spaces.parse(data, "observation_space")
