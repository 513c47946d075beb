"""The stages of a pipeline, as users write them and as they are once all names are known."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from grandopt.errors import ConfigError
from grandopt.runtime.scheduling.call import Infer
from grandopt.signature import Signature, TensorSpec

REQUEST = "request"
"""The name of the pipeline's own inputs where a source is meant."""

Values = Mapping[str, Any]
Function = Callable[[Values], Values | Awaitable[Values]]
"""Takes a mapping by name and gives one, plain or async."""
Source = str | Sequence[str]
"""`"request.market"`, an input of the pipeline; `"structure.mu"`, an output of a stage; or several of them,
which are joined along the last axis."""


@dataclass(frozen=True)
class Stage:
    """One step of a pipeline: the name of a served agent, or a function.

    `inputs` says where each input comes from, by its name. A source alone will do for an agent of one input;
    without any, each input is the pipeline's input of the same name, or in a chain an output of the stage
    before. A function takes a mapping of its inputs and gives one of its outputs, whose names are `outputs`.

    Around an agent, `pre` makes the agent's inputs of the stage's, and `post` the stage's outputs of the
    agent's; both take and give a mapping, and `outputs` names what `post` gives, where that is not the
    agent's outputs. Functions are plain or async; plain ones that take long or block need `in_thread`.
    """

    name: str
    agent: str | Function
    inputs: Mapping[str, Source] | Source | None = None
    pre: Function | None = None
    post: Function | None = None
    outputs: Sequence[str] = ()
    in_thread: bool = False


@dataclass(frozen=True)
class Served:
    """An agent as a pipeline calls it; `submit` is `infer` for calls beside others, and gives a future."""

    infer: Infer
    signature: Signature
    submit: Infer | None = None


Agents = Callable[[str], Served]
"""The agent of a name; raises UnknownAgentError."""


class Reference(NamedTuple):
    """One output of a stage, or one input of the pipeline, whose `stage` is REQUEST."""

    stage: str
    output: str

    def __str__(self) -> str:
        return f"{self.stage}.{self.output}"

    @classmethod
    def parse(cls, text: object, where: str) -> Reference:
        """The reference that `"stage.output"` is; raises ConfigError for anything else."""
        stage, dot, output = text.partition(".") if isinstance(text, str) else ("", "", "")
        if not (stage and dot and output):
            raise ConfigError(
                f'{where}: {text!r} is no source; write "stage.output", or "request.name" for an input of '
                f"the pipeline"
            )
        return cls(stage, output)


@dataclass(frozen=True)
class Node:
    """A stage whose names are known: its agent or function, and the sources of each input.

    `outputs` are its outputs in order, each with what is known of it beforehand.
    """

    stage: Stage
    served: Served | None
    inputs: Mapping[str, tuple[Reference, ...]]
    outputs: Mapping[str, TensorSpec | None] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.stage.name

    @property
    def needs(self) -> list[str]:
        """The stages that must have ended before, each once."""
        sources = (part.stage for parts in self.inputs.values() for part in parts)
        return list(dict.fromkeys(name for name in sources if name != REQUEST))
