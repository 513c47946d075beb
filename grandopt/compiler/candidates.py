"""Which ways of building an agent take part: one flat list, each with the reason why it may win."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import NamedTuple

import torch

from grandopt.compiler.program import Program, Refusal
from grandopt.config.schema import (
    EagerOptions,
    EngineName,
    EngineOptions,
    InductorOptions,
    NativeOptions,
    OnnxRuntimeOptions,
    OpenVinoOptions,
    Precision,
    TorchScriptOptions,
)

PLAIN = ("fold_batchnorm", "remove_identity")
"""Passes of every candidate. Folding comes first: afterwards there are fewer layers to remove and convert."""

CONVERTED: dict[Precision, tuple[str, ...]] = {
    "int8_dynamic": ("quantize_dynamic",),
    "bfloat16": ("bfloat16",),
}
"""Passes that reduce the precision, for engines that have no means of their own."""

OWN_PRECISION: frozenset[EngineName] = frozenset({"native", "onnxruntime", "openvino"})
"""Engines that take float32 programs and reduce the precision themselves."""

THREADS_BUILT_IN: frozenset[EngineName] = frozenset({"inductor"})
"""Engines whose code is generated for a number of threads."""

ON_THE_CALLERS_THREAD: frozenset[EngineName] = frozenset({"native"})
"""Engines that have no threads of their own: more than one changes nothing."""


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
        return "/".join((self.engine, self.precision, *_variant(self.options)))

    @property
    def calibrated(self) -> bool:
        """Whether building it takes recorded samples."""
        match self.options:
            case OnnxRuntimeOptions(quantization="static") | OpenVinoOptions(quantization="static"):
                return True
            case _:
                return False

    @property
    def passes(self) -> tuple[str, ...]:
        """The passes that the program goes through before the engine gets it."""
        own = self.engine in OWN_PRECISION
        return PLAIN if own else (*PLAIN, *CONVERTED.get(self.precision, ()))


class Listed(NamedTuple):
    """A candidate, why it is worth its building time, and whether that is so only now and then."""

    candidate: Candidate
    reason: str
    rarely: bool = False


_NO_OFI = TorchScriptOptions(optimize_for_inference=False)
_LIBRARY = InductorOptions(gemm="library")

LIST: tuple[Listed, ...] = (
    Listed(Candidate("float32", EagerOptions()), "the network without the code that defined it"),
    Listed(Candidate("float32", _NO_OFI), "one interpreter in C++ instead of Python"),
    Listed(Candidate("float32", TorchScriptOptions()), "weights packed for oneDNN"),
    Listed(Candidate("float32", NativeOptions()), "the agent alone in C, with no engine around it"),
    Listed(Candidate("float32", InductorOptions()), "small products compiled for their shapes, and fused"),
    Listed(Candidate("float32", _LIBRARY), "fused, with large products left to the tuned library"),
    Listed(Candidate("float32", OnnxRuntimeOptions()), "few and lean kernels, cheap to call"),
    Listed(Candidate("float32", OpenVinoOptions()), "kernels generated for this processor when loaded"),
    Listed(
        Candidate("float32", OpenVinoOptions(snippets=False)),
        "its generated chains are sometimes slower, and in OpenVINO 2026.4 sometimes wrong",
    ),
    Listed(Candidate("float32", InductorOptions(gemm="autotune")), "each product by the faster of two", True),
    Listed(Candidate("float32", InductorOptions(gemm="library", single=True)), "products as loops", True),
    Listed(Candidate("float32", OnnxRuntimeOptions(spinning=True)), "threads that are awake already", True),
    Listed(Candidate("float32", OpenVinoOptions(single=False)), "one graph for all batches", True),
    Listed(Candidate("bfloat16", NativeOptions(weights="bfloat16")), "half the bytes of weights to read"),
    Listed(Candidate("bfloat16", EagerOptions()), "half the bytes, and AMX or AVX-512 arithmetic"),
    Listed(Candidate("bfloat16", _NO_OFI), "the same in C++"),
    Listed(Candidate("bfloat16", TorchScriptOptions()), "the same, packed"),
    Listed(Candidate("bfloat16", InductorOptions()), "the same, compiled"),
    Listed(Candidate("bfloat16", _LIBRARY), "the same, with oneDNN's products", True),
    Listed(Candidate("bfloat16", OpenVinoOptions(inference_precision="bf16")), "the same in OpenVINO"),
    Listed(
        Candidate("bfloat16", OpenVinoOptions(inference_precision="bf16", snippets=False)),
        "where its generated chains are not to be trusted",
        True,
    ),
    Listed(
        Candidate("int8_dynamic", NativeOptions(weights="int8")),
        "a quarter of the bytes of weights to read, and the processor's dot products of bytes",
    ),
    Listed(Candidate("int8_dynamic", _NO_OFI), "a quarter of the bytes"),
    Listed(Candidate("int8_dynamic", TorchScriptOptions()), "the same, packed"),
    Listed(
        Candidate("int8_dynamic", OnnxRuntimeOptions(quantization="dynamic")),
        "a quarter of the bytes, also of recurrent layers",
    ),
    Listed(
        Candidate("int8_static", OnnxRuntimeOptions(quantization="static")),
        "activations need not be measured at each call",
    ),
    Listed(
        Candidate("int8_static", OpenVinoOptions(quantization="static")),
        "the same in OpenVINO: the fastest for convolutions, such as the Nature CNN",
    ),
)

UNCALIBRATED = "calibration needs recorded observations: --samples FILE.npz, or 'samples' of the agent"
"""Why candidates that take recorded samples are left out without any, as the report says it."""


def candidates(
    program: Program,
    engines: Collection[EngineName],
    precisions: Collection[Precision],
    *,
    every: bool = False,
    samples: bool = True,
) -> tuple[Candidate, ...]:
    """The candidates of a program among the admitted engines and precisions, in the order of LIST.

    `every` adds those that win rarely, `samples` those that are calibrated on recorded ones. Left out is what
    cannot come to be for this program: TorchScript archives hold no layers of which a pass could make another
    precision. Whether the others can be built, `build` finds out.
    """
    archive = isinstance(program.module, torch.jit.ScriptModule)
    return tuple(
        candidate
        for candidate, _, rarely in LIST
        if candidate.engine in engines
        and candidate.precision in precisions
        and (every or not rarely)
        and (samples or not candidate.calibrated)
        and not (archive and candidate.passes != PLAIN)
    )


def left_out(
    program: Program, engines: Collection[EngineName], precisions: Collection[Precision]
) -> tuple[Refusal, ...]:
    """What takes recorded samples among the candidates of a program that has none: one refusal for each
    precision."""
    asked = candidates(program, engines, precisions, every=True)
    missed = dict.fromkeys(candidate.precision for candidate in asked if candidate.calibrated)
    return tuple(Refusal(precision, UNCALIBRATED) for precision in missed)


def _variant(options: EngineOptions) -> tuple[str, ...]:
    match options:
        case EagerOptions(form="module"):
            return ("module",)
        case TorchScriptOptions(form="archive"):
            return ("archive",)
        case TorchScriptOptions():
            unfrozen = () if options.freeze else ("unfrozen",)
            return (*unfrozen, *(() if options.optimize_for_inference else ("no-ofi",)))
        case NativeOptions():
            tile = () if options.tile == 8 else (f"tile{options.tile}",)
            return (*tile, *options.levels)
        case InductorOptions():
            gemm = () if options.gemm == "templates" else (options.gemm,)
            return (*gemm, *(("single",) if options.single else ()))
        case OnnxRuntimeOptions(spinning=True):
            return ("spinning",)
        case OpenVinoOptions():
            return (
                *(() if options.single else ("any-batch",)),
                *(() if options.snippets else ("no-snippets",)),
            )
        case _:
            return ()
