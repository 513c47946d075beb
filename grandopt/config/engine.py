"""What there is to say of an engine: the options of a build, and what holds for all its builds."""

from __future__ import annotations

from typing import ClassVar, Literal, NamedTuple, Self, get_args

from pydantic import BaseModel, ConfigDict

Precision = Literal["float32", "bfloat16", "int8_dynamic", "int8_static", "mixed"]

PRECISIONS: tuple[Precision, ...] = get_args(Precision)


class EngineVariant(NamedTuple):
    """One way to build with an engine: at a precision, with options, and the reason why it may win.

    `rarely` marks what is worth its building time only now and then. Candidates of one precision are listed
    turn by turn, and within a turn in the order of ENGINES.
    """

    precision: Precision
    options: Engine
    reason: str
    rarely: bool = False
    turn: int = 1


class BuildPrior(NamedTuple):
    """What is expected of an engine's builds where a machine has not seen any, each for small and for large
    agents: the `chance` that one of them is the fastest candidate of its agent, and the `seconds` that
    building and verifying one takes.

    Set by hand, roughly as in runs on x86-64 machines with AVX2 to AMX: they decide what is built first, and
    what a machine sees takes their place. The candidates of an engine that is `always` built come before all
    others, one at each precision, and the first of them is finished whatever the time budget.
    """

    chance: tuple[float, float]
    seconds: tuple[float, float]
    always: bool = False


class Engine(BaseModel):
    """What an engine is: the fields are the options of a build, the class variables hold for all its builds.

    With `inputs_float32`, a candidate of reduced precision keeps the layers that read raw observations in
    float32: those which an input reaches without passing another product.

    `made_of` is what the backend gets: the "program" in whatever form it has, a "trace" of it, or its
    "export", without which nothing is built. An engine with options in `reduced_by` takes float32 programs
    and reduces the precision itself, as these say; their defaults do not. `threads` are set "at load" or "at
    build", or there are none but the "caller".

    `libraries` are those that figures depend on, beside torch; builds go through the `builders`, too, and
    through the `compiler` of this language. `quick` engines need neither libraries nor a time budget: the
    basic profile admits these. `ours` marks code that grandopt generates: it is verified in a process that
    nothing else depends on, and benchmarks state its lead. `holds_c` says that artifacts hold C to be
    exported.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    inputs_float32: bool = False

    made_of: ClassVar[Literal["program", "trace", "export"]] = "export"
    reduced_by: ClassVar[tuple[str, ...]] = ()
    threads: ClassVar[Literal["at load", "at build", "caller"]] = "at load"
    libraries: ClassVar[tuple[str, ...]] = ()
    builders: ClassVar[tuple[str, ...]] = ()
    compiler: ClassVar[Literal["c", "c++"] | None] = None
    quick: ClassVar[bool] = False
    ours: ClassVar[bool] = False
    holds_c: ClassVar[bool] = False
    prior: ClassVar[BuildPrior]

    @classmethod
    def variants(cls) -> tuple[EngineVariant, ...]:
        """The ways to build that take part."""
        raise NotImplementedError

    @property
    def departures(self) -> tuple[str, ...]:
        """What departs from the engine's defaults, as labels say it."""
        return ()

    @property
    def calibrated(self) -> bool:
        """Whether a build takes recorded samples."""
        return False

    @property
    def scaled(self) -> bool:
        """Whether recorded samples, where there are some, give its layers that read raw observations a scale
        and an offset per feature. Unlike one that is `calibrated` it can be built without."""
        return False

    @property
    def weighs(self) -> bool:
        """Whether a build looks at the observations that verification asks about, to see what each layer
        may lose."""
        return False

    @property
    def mixes(self) -> bool:
        """Whether the engine alone decides which layers are of the reduced precision."""
        return False

    def at_levels(self, levels: tuple[str, ...]) -> Self:
        """The same options for these CPU feature levels, where an engine builds for levels of its choice."""
        return self

    def for_realtime(self) -> Self | None:
        """The same options under the real-time contract, None where an engine cannot keep it."""
        return None

    def within(self, error: float, agreement: float) -> Self:
        """The same options for these limits of the relative L2 error and of the rate at which actions stay
        the same, where a build depends on them."""
        return self

    def in_float32(self) -> Self:
        """The same options without what an engine itself does to the precision."""
        fields = type(self).model_fields
        return self.model_copy(
            update={name: fields[name].default for name in ("inputs_float32", *self.reduced_by)}
        )
