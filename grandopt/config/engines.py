"""The engines: what each of them is stands in its class here. No engine and no torch is imported.

One more engine is one more class in this file, named in `EngineName` and `EngineOptions`; one file that
builds with it and one that calls it, each with its branch of the `match` in `compiler/build` and
`runtime/loader`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self, get_args

from pydantic import Field

from grandopt.config.engine import BuildPrior, Engine, EngineVariant

EngineName = Literal["eager", "torchscript", "native", "inductor", "onnxruntime", "openvino"]
ENGINES: tuple[EngineName, ...] = get_args(EngineName)

ALIKE = 16
"""Of the observations by which a build weighs its layers, so many in a row are of one kind."""

ORIGINAL_ENGINE: EngineName = "eager"
"""The engine that an agent is taken to have come in."""


class EagerOptions(Engine):
    """The eager engine: the exported program run operator by operator. It is never the fastest."""

    engine: Literal["eager"] = "eager"
    form: Literal["module", "exported"] = "exported"

    made_of = "program"
    quick = True
    prior = BuildPrior(chance=(0.001, 0.001), seconds=(0.5, 1.0))

    @classmethod
    def variants(cls) -> tuple[EngineVariant, ...]:
        """The exported program."""
        return (
            EngineVariant("float32", EagerOptions(), "the network without the code that defined it"),
            EngineVariant("bfloat16", EagerOptions(), "half the bytes, and AMX or AVX-512 arithmetic"),
        )

    @property
    def departures(self) -> tuple[str, ...]:
        """The form, where it is the module as it came."""
        return ("module",) if self.form == "module" else ()


class TorchScriptOptions(Engine):
    """The TorchScript engine."""

    engine: Literal["torchscript"] = "torchscript"
    form: Literal["traced", "archive"] = "traced"
    freeze: bool = True
    optimize_for_inference: bool = True

    made_of = "trace"
    quick = True
    prior = BuildPrior(chance=(0.02, 0.05), seconds=(1.0, 2.0))

    @classmethod
    def variants(cls) -> tuple[EngineVariant, ...]:
        """With torch's own optimization for inference and without."""
        plain, packed = TorchScriptOptions(optimize_for_inference=False), TorchScriptOptions()
        return (
            EngineVariant("float32", plain, "one interpreter in C++ instead of Python"),
            EngineVariant("float32", packed, "weights packed for oneDNN"),
            EngineVariant("bfloat16", plain, "the same in C++"),
            EngineVariant("bfloat16", packed, "the same, packed"),
            EngineVariant("int8_dynamic", plain, "a quarter of the bytes"),
            EngineVariant("int8_dynamic", packed, "the same, packed"),
        )

    @property
    def departures(self) -> tuple[str, ...]:
        """An archive is what it is; else which of torch's optimizations are left out."""
        if self.form == "archive":
            return ("archive",)
        unfrozen = () if self.freeze else ("unfrozen",)
        return (*unfrozen, *(() if self.optimize_for_inference else ("no-ofi",)))


class NativeOptions(Engine):
    """The native engine: samples computed together in a batch, how the weights are stored, and CPU
    feature levels to build for (empty: those whose code is another for weights so stored, see
    `backends/native/levels`; a loader takes the most demanding one that the CPU has). `vector_bits` leaves
    out the levels whose vectors are longer, as these waste lanes on layers of a few units.

    Products are added up in float32, those of int8 weights in integers: these give the same bits at every
    level. With weights in bfloat16, a level that multiplies bfloat16 numbers (AVX512-BF16, AMX, Arm's BF16)
    also rounds the inputs of large products to bfloat16. Int8 weights are those of large products, whose
    inputs every level quantizes row by row. All else is float32.

    Mixed weights are each layer's own: what a layer of fewer bits costs is measured on the observations that
    verification asks about, and spent where it saves most time, until a share of the limits is used up: a
    smaller one where the choice is `careful`. `error` is the limit of the relative L2 error, `agreement` the
    rate at which the largest of scores must stay the largest.

    With `realtime`, no branch depends on numbers, so that every call of a batch is the same instructions.
    """

    engine: Literal["native"] = "native"
    tile: Literal[1, 4, 6, 8, 16] = 8
    weights: Literal["float32", "bfloat16", "int8", "mixed"] = "float32"
    levels: tuple[str, ...] = ()
    vector_bits: Literal[256] | None = None
    error: float | None = None
    agreement: float | None = None
    careful: bool = False
    realtime: bool = False

    reduced_by = ("weights", "error", "agreement", "careful")
    threads = "caller"
    compiler = "c"
    quick = True
    ours = True
    holds_c = True
    prior = BuildPrior(chance=(0.85, 0.6), seconds=(2.0, 5.0), always=True)

    @classmethod
    def variants(cls) -> tuple[EngineVariant, ...]:
        """All lengths of vectors and short ones alone; at reduced precisions listed before other engines."""
        bfloat16, int8 = NativeOptions(weights="bfloat16"), NativeOptions(weights="int8")
        bytewise = "a quarter of the bytes of weights to read, and the processor's dot products of bytes"
        short = "shorter vectors waste less on layers of a few units"
        mixed = NativeOptions(weights="mixed")
        careful = NativeOptions(weights="mixed", careful=True)
        sensitive = "int8 for the layers that bear it, where not all do"
        return (
            EngineVariant("float32", NativeOptions(), "the agent alone in C, with no engine around it"),
            EngineVariant("float32", NativeOptions(vector_bits=256), short),
            EngineVariant("bfloat16", bfloat16, "half the bytes of weights to read", turn=0),
            EngineVariant("int8_dynamic", int8, bytewise, turn=0),
            EngineVariant("mixed", mixed, sensitive, turn=0),
            EngineVariant("mixed", careful, "the same with more to spare, where that was refused", turn=0),
        )

    @property
    def departures(self) -> tuple[str, ...]:
        """Another tile, shorter vectors, the real-time contract, and the levels where they are chosen."""
        tile = () if self.tile == 8 else (f"tile{self.tile}",)
        shorter = () if self.vector_bits is None else (f"{self.vector_bits}-bit",)
        careful = ("careful",) if self.careful else ()
        realtime = ("realtime",) if self.realtime else ()
        return (*tile, *shorter, *careful, *realtime, *self.levels)

    def at_levels(self, levels: tuple[str, ...]) -> Self:
        """The same options for these levels."""
        return self.model_copy(update={"levels": levels})

    def for_realtime(self) -> Self:
        """Without a branch that depends on numbers."""
        return self.model_copy(update={"realtime": True})

    def within(self, error: float, agreement: float) -> Self:
        """With these limits, where the layers' precisions depend on them."""
        limits = {"error": error, "agreement": agreement}
        return self.model_copy(update=limits) if self.weights == "mixed" else self

    @property
    def share(self) -> float:
        """The share of the limits that may be used up on the observations that layers are weighed by, as
        verification asks about more of them."""
        return 0.2 if self.careful else 0.6

    @property
    def scaled(self) -> bool:
        """Where the layers that read raw observations may be of int8 weights."""
        return self.weights in ("int8", "mixed") and not self.inputs_float32

    @property
    def weighs(self) -> bool:
        """With mixed weights."""
        return self.weights == "mixed"


class InductorOptions(Engine):
    """AOTInductor: the exported program compiled to a shared library. For a large network it takes half a
    minute where others are ready in five seconds.

    `gemm` says who multiplies matrices: "library" (the one torch links, such as MKL), "templates" (Inductor's
    C++ templates, compiled for the shapes of the agent), or "autotune" (per product the faster of templates
    and oneDNN, tried out at build time, which takes seconds for each). The last two freeze the weights:
    they are packed and folded at build time. `single` adds a second library for batches of 1 alone.
    """

    engine: Literal["inductor"] = "inductor"
    gemm: Literal["library", "templates", "autotune"] = "templates"
    single: bool = False

    threads = "at build"
    compiler = "c++"
    prior = BuildPrior(chance=(0.05, 0.03), seconds=(12.0, 30.0))

    @classmethod
    def variants(cls) -> tuple[EngineVariant, ...]:
        """Templates and the library; now and then what is tuned, or compiled for a batch of 1."""
        library, single = InductorOptions(gemm="library"), InductorOptions(gemm="library", single=True)
        tuned = InductorOptions(gemm="autotune")
        return (
            EngineVariant(
                "float32", InductorOptions(), "small products compiled for their shapes, and fused"
            ),
            EngineVariant("float32", library, "fused, with large products left to the tuned library"),
            EngineVariant("float32", tuned, "each product by the faster of two", rarely=True, turn=2),
            EngineVariant("float32", single, "products as loops", rarely=True, turn=2),
            EngineVariant("bfloat16", InductorOptions(), "the same, compiled"),
            EngineVariant("bfloat16", library, "the same, with oneDNN's products", rarely=True),
        )

    @property
    def departures(self) -> tuple[str, ...]:
        """Who multiplies matrices, and whether a batch of 1 has its own library."""
        gemm = () if self.gemm == "templates" else (self.gemm,)
        return (*gemm, *(("single",) if self.single else ()))


class OnnxRuntimeOptions(Engine):
    """The ONNX Runtime engine.

    `quantization` is ONNX Runtime's own: "dynamic" measures the activations at each call, "static" has
    measured them on samples at build time. `spinning` lets its threads wait for work with their eyes open.
    """

    engine: Literal["onnxruntime"] = "onnxruntime"
    quantization: Literal["none", "dynamic", "static"] = "none"
    spinning: bool = False

    reduced_by = ("quantization",)
    libraries = ("onnxruntime", "onnx")
    builders = ("onnxscript",)
    prior = BuildPrior(chance=(0.04, 0.12), seconds=(2.0, 4.0))

    @classmethod
    def variants(cls) -> tuple[EngineVariant, ...]:
        """With each of its quantizations, and now and then with threads that spin."""
        dynamic = OnnxRuntimeOptions(quantization="dynamic")
        static = OnnxRuntimeOptions(quantization="static")
        spinning = OnnxRuntimeOptions(spinning=True)
        return (
            EngineVariant("float32", OnnxRuntimeOptions(), "few and lean kernels, cheap to call"),
            EngineVariant("float32", spinning, "threads that are awake already", rarely=True, turn=2),
            EngineVariant("int8_dynamic", dynamic, "a quarter of the bytes, also of recurrent layers"),
            EngineVariant("int8_static", static, "activations need not be measured at each call"),
        )

    @property
    def departures(self) -> tuple[str, ...]:
        """Threads that spin; the precision tells the quantization."""
        return ("spinning",) if self.spinning else ()

    @property
    def calibrated(self) -> bool:
        """Where it has measured the activations at build time."""
        return self.quantization == "static"


class OpenVinoOptions(Engine):
    """The OpenVINO engine.

    `inference_precision` is the type its kernels may compute in. `single` compiles the graph for batches of
    1 when the artifact is loaded, and for other batches at the first of them. `snippets` lets OpenVINO
    generate kernels for chains of operators. `quantization` "static" has measured the activations on samples
    at build time.
    """

    engine: Literal["openvino"] = "openvino"
    inference_precision: Literal["f32", "bf16"] = "f32"
    single: bool = True
    snippets: bool = True
    quantization: Literal["none", "static"] = "none"

    reduced_by = ("inference_precision", "quantization")
    libraries = ("openvino",)
    builders = ("onnxruntime", "onnx", "onnxscript")
    prior = BuildPrior(chance=(0.03, 0.2), seconds=(2.0, 5.0))

    @classmethod
    def variants(cls) -> tuple[EngineVariant, ...]:
        """With its generated kernels and without, and with each of its precisions."""
        wrong = "its generated chains are sometimes slower, and in OpenVINO 2026.4 sometimes wrong"
        bfloat16 = OpenVinoOptions(inference_precision="bf16")
        plain = OpenVinoOptions(inference_precision="bf16", snippets=False)
        static = "the same in OpenVINO: the fastest for convolutions, such as the Nature CNN"
        anyone = OpenVinoOptions(single=False)
        return (
            EngineVariant("float32", OpenVinoOptions(), "kernels generated for this processor when loaded"),
            EngineVariant("float32", OpenVinoOptions(snippets=False), wrong),
            EngineVariant("float32", anyone, "one graph for all batches", rarely=True, turn=2),
            EngineVariant("bfloat16", bfloat16, "the same in OpenVINO"),
            EngineVariant("bfloat16", plain, "where its generated chains are not to be trusted", rarely=True),
            EngineVariant("int8_static", OpenVinoOptions(quantization="static"), static),
        )

    @property
    def departures(self) -> tuple[str, ...]:
        """One graph for all batches, and kernels of its own alone."""
        return (
            *(() if self.single else ("any-batch",)),
            *(() if self.snippets else ("no-snippets",)),
        )

    @property
    def calibrated(self) -> bool:
        """Where it has measured the activations at build time."""
        return self.quantization == "static"

    @property
    def mixes(self) -> bool:
        """In bfloat16."""
        return self.inference_precision == "bf16"


EngineOptions = Annotated[
    EagerOptions
    | TorchScriptOptions
    | NativeOptions
    | InductorOptions
    | OnnxRuntimeOptions
    | OpenVinoOptions,
    Field(discriminator="engine"),
]

ENGINE_CLASSES: Mapping[str, type[Engine]] = {
    kind.model_fields["engine"].default: kind for kind in get_args(get_args(EngineOptions)[0])
}
"""The class of every engine by its name, in the order of ENGINES. What an artifact or a report names may be
missing: an engine that is only measured, or that of another grandopt."""
