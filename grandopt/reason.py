"""Why something was refused, skipped, pruned or given up: a code to decide by, beside the words to read.

What reads a reason looks at its code. The text is for people, the remedy is what can be typed against it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from grandopt.errors import (
    ArtifactError,
    BuildError,
    CaptureError,
    CrashError,
    EngineError,
    EngineUnavailableError,
    GrandoptError,
    InputError,
    MeasurementError,
    PassError,
    SignatureError,
    UnsupportedError,
    VerificationError,
)


class ReasonCode(StrEnum):
    """The kinds of reasons. A word stays what it is once it was in a report."""

    # An agent's network
    DATA_DEPENDENT = "data_dependent"  # its control flow depends on the data
    FIXED_BATCH = "fixed_batch"  # its code or its control flow depends on the batch size
    GRAPH_DIFFERS = "graph_differs"  # what was captured computes something else
    NOT_EXPORTED = "not_exported"
    NOT_TRACED = "not_traced"
    NOT_CAPTURED = "not_captured"
    PASS_NOT_APPLIED = "pass_not_applied"

    # Building a candidate
    NEEDS_SAMPLES = "needs_samples"
    NEEDS_EVIDENCE = "needs_evidence"  # nothing is known of the inputs
    ENGINE_MISSING = "engine_missing"
    UNSUPPORTED = "unsupported"
    BUILD_FAILED = "build_failed"
    PASS_FAILED = "pass_failed"
    ENGINE_FAILED = "engine_failed"
    ARTIFACT_UNUSABLE = "artifact_unusable"
    ARTIFACT_LOST = "artifact_lost"
    CRASHED = "crashed"
    OUT_OF_MEMORY = "out_of_memory"
    NOT_BUILT_IN_TIME = "not_built_in_time"
    OUTPACED = "outpaced"  # not built: the least that it can take is more than the fastest candidate takes

    NEEDLESS = "needless"  # not built: what it would be is there already, or cannot be

    # Verifying it
    NOT_EXERCISED = "not_exercised"  # the inputs exercised too little of the network to show anything
    CALL_FAILED = "call_failed"  # it raised, wrote to its inputs, or was not deterministic
    OTHER_OUTPUTS = "other_outputs"  # of another shape or dtype, or not finite where the original's are
    ERROR_TOO_LARGE = "error_too_large"
    ACTS_DIFFERENTLY = "acts_differently"
    TOO_FEW_SAMPLES = "too_few_samples"
    NOT_VERIFIED = "not_verified"  # it could not be compared at all

    # Measuring it
    MEASUREMENT_FAILED = "measurement_failed"
    NOT_MEASURED_IN_TIME = "not_measured_in_time"
    TRIALS_USED_UP = "trials_used_up"
    CLEARLY_BEHIND = "clearly_behind"
    SLOWER = "slower"
    MEASURED_ELSEWHERE = "measured_elsewhere"  # on another machine of the kind, where it was clearly slower

    # What became of an agent
    NOTHING_FASTER = "nothing_faster"
    NOTHING_BUILT = "nothing_built"
    NONE_USABLE = "none_usable"
    STOPPED = "stopped"
    BAD_INPUT = "bad_input"
    FAILED = "failed"

    # A comparison, or building an artifact again
    UNDECIDED = "undecided"  # the interval spans the limit
    UNSTEADY_MACHINE = "unsteady_machine"
    NOT_MEASURED = "not_measured"
    NOT_COUNTED = "not_counted"
    NEEDS_ARTIFACTS = "needs_artifacts"
    TRAINED_ANEW = "trained_anew"
    OTHER_WEIGHTS = "other_weights"
    OTHER_INTERFACE = "other_interface"
    OTHER_ARTIFACT = "other_artifact"
    NOT_RECORDED = "not_recorded"

    # Choosing who computes a served agent
    SET_BY_HAND = "set_by_hand"
    SHORTER_THAN_HOP = "shorter_than_hop"  # a call takes less than handing it to another thread
    ONE_CORE = "one_core"
    CALLS_OVERLAP = "calls_overlap"
    ONE_CALL_AT_A_TIME = "one_call_at_a_time"  # threads wait for each other

    UNKNOWN = "unknown"  # in a record of an earlier version, which had words alone


@dataclass(frozen=True)
class Reason:
    """Why something did not come to be: the code for programs, one line for people.

    `remedy` is what to type against it (a shell line, or an option of grandopt), None where there is no such
    thing. `str()` is the text.
    """

    code: ReasonCode
    text: str
    remedy: str | None = None

    def __str__(self) -> str:
        return self.text

    @classmethod
    def of(cls, error: GrandoptError) -> Reason:
        """The reason that an error is: its words, its remedy, and the code of its class."""
        code = next(CODES[kind] for kind in type(error).__mro__ if kind in CODES)
        return cls(code, str(error), error.remedy)


CODES: Mapping[type, ReasonCode] = {
    EngineUnavailableError: ReasonCode.ENGINE_MISSING,
    UnsupportedError: ReasonCode.UNSUPPORTED,
    BuildError: ReasonCode.BUILD_FAILED,
    CrashError: ReasonCode.CRASHED,
    EngineError: ReasonCode.ENGINE_FAILED,
    CaptureError: ReasonCode.NOT_CAPTURED,
    PassError: ReasonCode.PASS_FAILED,
    ArtifactError: ReasonCode.ARTIFACT_UNUSABLE,
    SignatureError: ReasonCode.OTHER_INTERFACE,
    VerificationError: ReasonCode.NOT_VERIFIED,
    MeasurementError: ReasonCode.MEASUREMENT_FAILED,
    InputError: ReasonCode.BAD_INPUT,
    GrandoptError: ReasonCode.FAILED,
}
"""The code of each class of errors; of the others the nearest base's."""


IN_TIME = frozenset({ReasonCode.NOT_BUILT_IN_TIME, ReasonCode.NOT_MEASURED_IN_TIME})
"""What more time would have done."""


def reason_fields(reason: Reason | None) -> dict[str, Any]:
    """A reason as the three fields that it has in every record: plain data, all None where there is none."""
    if reason is None:
        return {"reason": None, "reason_code": None, "remedy": None}
    return {"reason": reason.text, "reason_code": reason.code.value, "remedy": reason.remedy}


def reason_of(data: Mapping[str, Any]) -> Reason | None:
    """The inverse of `reason_fields`; words without a code that is known here have the code "unknown"."""
    text = data.get("reason")
    if text is None:
        return None
    code = next((item for item in ReasonCode if item.value == data.get("reason_code")), ReasonCode.UNKNOWN)
    return Reason(code, str(text), data.get("remedy"))


LONGEST_TOLD = 1000
"""Characters of a reason that another machine wrote, at most."""


def told_reason_of(data: Mapping[str, Any]) -> Reason | None:
    """Like `reason_of`, of what another machine wrote: shortened, and without its remedy, since nobody is to
    type what a stranger may have written."""
    words = data.get("reason")
    return reason_of({**data, "reason": None if words is None else str(words)[:LONGEST_TOLD], "remedy": None})
