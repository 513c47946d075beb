"""All candidates, in the order in which they are listed and in which they are built."""

from __future__ import annotations

import pytest

from grandopt.compiler.candidates import LIST, NOT_REALTIME, candidates, left_out
from grandopt.config.profiles import PROFILES
from grandopt.workflows.memo.build_history import LARGE_FLOP
from grandopt.workflows.selection.priority import in_order
from tests.small_agents import Policy, program

LISTED = """
eager/float32
torchscript/float32/no-ofi
torchscript/float32
native/float32
native/float32/256-bit
inductor/float32
inductor/float32/library
onnxruntime/float32
openvino/float32
openvino/float32/no-snippets
inductor/float32/autotune rarely
inductor/float32/library/single rarely
onnxruntime/float32/spinning rarely
openvino/float32/any-batch rarely
native/bfloat16
eager/bfloat16
torchscript/bfloat16/no-ofi
torchscript/bfloat16
inductor/bfloat16
inductor/bfloat16/library rarely
openvino/bfloat16
openvino/bfloat16/no-snippets rarely
native/int8_dynamic
torchscript/int8_dynamic/no-ofi
torchscript/int8_dynamic
onnxruntime/int8_dynamic
onnxruntime/int8_static
openvino/int8_static
native/mixed
native/mixed/careful
"""

BUILT = {
    ("basic", LARGE_FLOP): """
        native/float32 native/float32/256-bit torchscript/float32/no-ofi torchscript/float32 eager/float32
    """,
    ("aggressive", LARGE_FLOP): """
        native/float32 native/bfloat16 native/int8_dynamic
        inductor/float32 inductor/bfloat16 inductor/float32/library
        native/float32/256-bit torchscript/float32/no-ofi onnxruntime/float32 openvino/float32
        torchscript/bfloat16/no-ofi torchscript/int8_dynamic/no-ofi onnxruntime/int8_dynamic
        openvino/bfloat16 torchscript/float32 openvino/float32/no-snippets torchscript/bfloat16
        torchscript/int8_dynamic onnxruntime/int8_static openvino/int8_static eager/float32 eager/bfloat16
    """,
    ("aggressive", LARGE_FLOP + 1): """
        native/bfloat16 native/int8_dynamic native/float32
        inductor/bfloat16 inductor/float32 inductor/float32/library
        openvino/bfloat16 native/float32/256-bit onnxruntime/int8_dynamic torchscript/bfloat16/no-ofi
        openvino/float32 torchscript/int8_dynamic/no-ofi openvino/int8_static onnxruntime/float32
        torchscript/float32/no-ofi onnxruntime/int8_static torchscript/bfloat16 openvino/float32/no-snippets
        torchscript/int8_dynamic torchscript/float32 eager/bfloat16 eager/float32
    """,
}
"""As long as a machine has seen no builds. Native comes first at every precision, because it wins most often
and time ran out before its int8; what takes long is next in line for the one process that it may hold (see
`Turns`); then what gains most for a second of building."""


def test_the_order_of_the_list() -> None:
    found = [item.candidate.label + " rarely" * item.rarely for item in LIST]
    assert found == LISTED.strip().splitlines()


@pytest.mark.parametrize(("profile", "flop"), BUILT)
def test_the_order_of_building(profile: str, flop: int) -> None:
    (chosen,) = (item for item in PROFILES.values() if item.name == profile)
    found = in_order(candidates(program(Policy), chosen.engines, chosen.precisions), flop)
    assert [item.candidate.label for item in found] == BUILT[profile, flop].split()


def test_under_the_real_time_contract_only_native_builds_take_part() -> None:
    profile = PROFILES["maximum"]
    wanted = profile.engines, profile.precisions
    found = candidates(program(Policy), *wanted, every=True, limits=profile.limits, realtime=True)
    assert {candidate.engine for candidate in found} == {"native"}
    assert all(candidate.options.model_dump()["realtime"] for candidate in found)
    assert [candidate.label for candidate in found][:2] == [
        "native/float32/realtime", "native/float32/256-bit/realtime",
    ]  # fmt: skip
    others = [
        item.stage
        for item in left_out(program(Policy), *wanted, realtime=True)
        if item.reason is NOT_REALTIME
    ]
    assert sorted(others) == sorted({*profile.engines} - {"native"})
