"""Which ways of building an agent take part: one flat list, each with the reason why it may win."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import NamedTuple, cast

import torch

from grandopt.compiler.program import Program, Refusal
from grandopt.config.engine import PRECISIONS, Precision
from grandopt.config.engines import ENGINE_CLASSES, EngineName, EngineOptions
from grandopt.config.schema import Limits
from grandopt.reason import Reason, ReasonCode

PLAIN = ("fold_batchnorm", "remove_identity")
"""Passes of every candidate. Folding comes first: afterwards there are fewer layers to remove and convert."""

CONVERTED: dict[tuple[Precision, bool], str] = {
    ("int8_dynamic", False): "quantize_dynamic",
    ("int8_dynamic", True): "quantize_dynamic_inside",
    ("bfloat16", False): "bfloat16",
    ("bfloat16", True): "bfloat16_inside",
}
"""Passes that reduce the precision, for engines that have no means of their own; with True, but for the
layers that read raw observations."""


@dataclass(frozen=True)
class Candidate:
    """One way to build an agent: an engine with its options, at a precision."""

    precision: Precision
    options: EngineOptions

    @property
    def engine(self) -> EngineName:
        """The engine's name."""
        return self.options.engine

    @property
    def label(self) -> str:
        """Engine, precision, and what departs from the engine's defaults: "torchscript/float32/no-ofi"."""
        inside = ("inputs-float32",) if self.inputs_float32 else ()
        return "/".join((self.engine, self.precision, *self.options.departures, *inside))

    @property
    def calibrated(self) -> bool:
        """Whether building it takes recorded samples."""
        return self.options.calibrated

    @property
    def inputs_float32(self) -> bool:
        """Whether the layers that read raw observations stay in float32, whatever the precision."""
        return self.options.inputs_float32

    @property
    def scaled(self) -> bool:
        """Whether recorded samples, where there are some, give its layers that read raw observations a scale
        and an offset per feature. Unlike one that is `calibrated` it can be built without."""
        return self.options.scaled

    @property
    def weighs(self) -> bool:
        """Whether its layers' precisions follow from what verification asks about."""
        return self.options.weighs

    @property
    def passes(self) -> tuple[str, ...]:
        """The passes that the program goes through before the engine gets it."""
        converted = CONVERTED.get((self.precision, self.inputs_float32))
        return PLAIN if self.options.reduced_by or converted is None else (*PLAIN, converted)

    def with_inputs_float32(self) -> Candidate:
        """The same but for the layers that read raw observations, which stay in float32."""
        return replace(self, options=self.options.model_copy(update={"inputs_float32": True}))

    def within(self, limits: Limits) -> Candidate:
        """The same for these limits, where its layers' precisions follow from them."""
        return replace(self, options=self.options.within(limits.relative_l2, limits.agreement))

    def for_realtime(self) -> Candidate | None:
        """The same under the real-time contract, None where its engine cannot keep it."""
        options = self.options.for_realtime()
        return None if options is None else replace(self, options=options)

    def at_levels(self, levels: tuple[str, ...]) -> Candidate:
        """The same for these CPU feature levels, where its engine builds for levels of its choice."""
        return replace(self, options=self.options.at_levels(levels))


class Listed(NamedTuple):
    """A candidate, why it is worth its building time, and whether that is so only now and then."""

    candidate: Candidate
    reason: str
    rarely: bool = False


def _listed() -> tuple[Listed, ...]:
    variants = [variant for engine in ENGINE_CLASSES.values() for variant in engine.variants()]
    variants.sort(key=lambda variant: (PRECISIONS.index(variant.precision), variant.turn))
    return tuple(
        Listed(Candidate(item.precision, cast("EngineOptions", item.options)), item.reason, item.rarely)
        for item in variants
    )


LIST = _listed()
"""The variants of all engines, from full to reduced precision."""

SAMPLES = "--samples FILE.npz"
UNCALIBRATED = Reason(
    ReasonCode.NEEDS_SAMPLES,
    "calibration needs recorded observations: --samples FILE.npz, or 'samples' of the agent",
    SAMPLES,
)
"""Why candidates that take recorded samples are left out without any, as the report says it."""


NO_EVIDENCE = Reason(
    ReasonCode.NEEDS_EVIDENCE,
    "OpenVINO chooses itself which layers compute in bfloat16; those that read raw observations must stay in "
    "float32 as long as nothing is known of these: --samples FILE.npz, or 'low' and 'high' of the inputs",
    SAMPLES,
)
"""Why a candidate is left out that cannot keep the first layers in float32, as the report says it."""

NOT_REALTIME = Reason(
    ReasonCode.UNSUPPORTED,
    "the real-time contract was asked for: this engine's own code allocates, locks and branches on numbers",
)
"""Why an engine's candidates are left out under the real-time contract, as the report says it."""


def candidates(
    program: Program,
    engines: Collection[EngineName],
    precisions: Collection[Precision],
    *,
    every: bool = False,
    samples: bool = True,
    evidence: bool = True,
    levels: tuple[str, ...] = (),
    limits: Limits | None = None,
    realtime: bool = False,
) -> tuple[Candidate, ...]:
    """The candidates of a program among the admitted engines and precisions, in the order of LIST.

    `every` adds those that win rarely, `samples` those that are calibrated on recorded ones. Without
    `evidence` about what the inputs are like, all of reduced precision are with `inputs_float32`, or left out
    where their engine cannot do that. Left out is what cannot come to be for this program: TorchScript
    archives hold no layers of which a pass could make another precision. Whether the others can be built,
    `build` finds out. With `levels`, what is generated for CPU feature levels is for these. Without
    `limits` for reduced precision nothing is there that depends on them. With `realtime`, all are under the
    real-time contract, and the engines left out that cannot keep it.
    """
    archive = isinstance(program.module, torch.jit.ScriptModule)
    found = tuple(
        candidate if evidence or candidate.precision == "float32" else candidate.with_inputs_float32()
        for candidate, _, rarely in LIST
        if candidate.engine in engines
        and candidate.precision in precisions
        and (every or not rarely)
        and (samples or not candidate.calibrated)
        and (evidence or not candidate.options.mixes)
        and (limits is not None or not candidate.weighs)
        and not (archive and candidate.passes != PLAIN)
    )
    if realtime:
        found = tuple(kept for candidate in found if (kept := candidate.for_realtime()) is not None)
    if limits is not None:
        found = tuple(candidate.within(limits) for candidate in found)
    return tuple(candidate.at_levels(levels) for candidate in found) if levels else found


def left_out(
    program: Program,
    engines: Collection[EngineName],
    precisions: Collection[Precision],
    *,
    samples: bool = False,
    evidence: bool = True,
    realtime: bool = False,
) -> tuple[Refusal, ...]:
    """What `candidates` leaves out for want of recorded samples or of evidence, one refusal for each
    precision and reason; with `realtime` also the engines that cannot keep that contract."""
    asked = candidates(program, engines, precisions, every=True)
    missed = [
        *((item.precision, UNCALIBRATED) for item in asked if item.calibrated and not samples),
        *((item.precision, NO_EVIDENCE) for item in asked if item.options.mixes and not evidence),
    ]
    unable = dict.fromkeys(item.engine for item in asked if item.for_realtime() is None) if realtime else ()
    return (
        *(Refusal(*item) for item in dict.fromkeys(missed)),
        *(Refusal(engine, NOT_REALTIME) for engine in unable),
    )
