"""The options that several commands share, each written down once, and the reading of their values."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, get_args

import typer

from grandopt.errors import ConfigError

if TYPE_CHECKING:
    from grandopt.config.schema import BoundsConfig, Distribution, InputConfig, StateConfig

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout, and nothing else.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, only the result and errors.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Say more; show the traceback of a bug.")]

Config = Annotated[
    Path | None,
    typer.Option(
        "--config", "-c", metavar="FILE", help="The job's file.  [default: ./grandopt.yaml if it is there]"
    ),
]
Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="DIR", help="Where artifacts/ and reports/ go.  [default: here]"),
]
Profile = Annotated[
    str | None,
    typer.Option(
        "--profile",
        "-p",
        metavar="NAME",
        help="basic, standard, aggressive or maximum.  [default: aggressive]",
    ),
]
Agents = Annotated[
    list[str] | None,
    typer.Option("--agent", metavar="NAME", help="Only this agent of the job. May be repeated."),
]
Engines = Annotated[
    list[str] | None,
    typer.Option("--engine", metavar="NAME", help="Only this engine. May be repeated."),
]
Precisions = Annotated[
    list[str] | None,
    typer.Option("--precision", metavar="NAME", help="Only this precision. May be repeated."),
]
Levels = Annotated[
    str | None,
    typer.Option(
        "--levels",
        metavar="NAME,…",
        help="CPU feature levels that native code is built for.  [default: those that matter]",
    ),
]
Threads = Annotated[
    str | None,
    typer.Option("--threads", metavar="N|auto", help="Threads of one call.  [default: 1]"),
]
Budget = Annotated[
    float | None,
    typer.Option("--budget", metavar="SECONDS", help="Time for each agent.  [default: the profile's]"),
]
Samples = Annotated[
    Path | None,
    typer.Option(
        "--samples",
        metavar="FILE.npz",
        help="Recorded observations, one array per input; used to verify and to measure.",
    ),
]
Seed = Annotated[
    int | None, typer.Option("--seed", metavar="N", help="Seed of every random choice.  [default: 0]")
]
Strict = Annotated[
    bool | None, typer.Option("--strict/--no-strict", help="Exit with 1 when a target is missed.")
]
Realtime = Annotated[
    bool,
    typer.Option(
        "--realtime",
        help="Only builds under the real-time contract (README): every call is the same instructions.",
    ),
]
Resume = Annotated[
    bool,
    typer.Option(
        "--resume/--no-resume", help="Go on where an earlier run stopped, and use what it found out."
    ),
]

# How to read a checkpoint that is named on the command line.
Trust = Annotated[
    bool,
    typer.Option("--trust", help="Unpickle the file, which may run code in it. Only for your own files."),
]
Key = Annotated[
    str | None,
    typer.Option("--key", metavar="PATH", help="Where the state dict sits inside the file, e.g. actors.0"),
]
Network = Annotated[
    str | None,
    typer.Option(
        "--network",
        metavar="MODULE:CALLABLE|mlp:ACT[,OUT]",
        help="What builds the network of a state dict; mlp:relu,tanh is a plain stack of its linear layers "
        "with relu between them and tanh at the end, gru:, lstm: and cnn: one with such layers before it.",
    ),
]
Fix = Annotated[
    list[str] | None,
    typer.Option(
        "--fix",
        metavar="NAME=VALUE",
        help="The value of an argument of a TorchScript archive that is no tensor, such as "
        "deterministic=true, or what a training checkpoint lacks, such as max_action=1. May be repeated.",
    ),
]
Method = Annotated[
    str | None,
    typer.Option(
        "--method",
        metavar="NAME",
        help="The method of a TorchScript archive that is called, if not forward; inspect lists them.",
    ),
]
Inputs = Annotated[
    list[str] | None,
    typer.Option(
        "--input",
        metavar="NAME=SHAPE[:DTYPE]",
        help="One input without its batch dimension: state=7, window=60x7 or price=4:float64 (else the dtype "
        "follows from the weights). Repeated in calling order.",
    ),
]
Outputs = Annotated[
    str | None,
    typer.Option(
        "--outputs",
        metavar="NAME,…",
        help="The outputs that are kept, by name (output_0 for the first without one), or new names for all.",
    ),
]
States = Annotated[
    list[str] | None,
    typer.Option(
        "--state",
        metavar="INPUT=OUTPUT",
        help="A recurrent state: the input that takes it, and the output with its next value. Repeated.",
    ),
]
VecNormalize = Annotated[
    str,
    typer.Option(
        "--vecnormalize",
        metavar="FILE|auto|none",
        help="Observation statistics to fold in; auto takes the file lying beside the zip.",
    ),
]
Framework = Annotated[
    str | None,
    typer.Option(
        "--framework",
        metavar="NAME|none",
        help="What wrote a training checkpoint, where several fit; none reads it as a plain state dict.",
    ),
]
Activation = Annotated[
    str | None,
    typer.Option(
        "--activation",
        metavar="NAME",
        help="What stands between the layers of a training checkpoint's network, such as elu.",
    ),
]
Statistics = Annotated[
    Path | None,
    typer.Option(
        "--statistics",
        metavar="FILE.npz|none",
        help="mean and var of the observations, where a training checkpoint lacks them; none: go without.",
    ),
]
ActionBounds = Annotated[
    str | None,
    typer.Option(
        "--action-bounds",
        metavar="LOW,HIGH|none",
        help="Between which values a training checkpoint's environment takes actions; none: not clipped.",
    ),
]
DistributionOption = Annotated[
    str | None,
    typer.Option(
        "--distribution",
        metavar="NAME",
        help="What a training checkpoint's last layer gives the parameters of: gaussian, beta, categorical "
        "or none.",
    ),
]


def parse_threads(text: str | None) -> int | Literal["auto"] | None:
    """The value of `--threads`; raises ConfigError unless it is "auto" or a whole number above 0."""
    if text is None:
        return None
    if text == "auto":
        return "auto"
    if not text.isdecimal() or int(text) < 1:
        raise ConfigError(f"--threads must be a whole number of at least 1, or 'auto', got {text!r}")
    return int(text)


def parse_levels(text: str | None) -> tuple[str, ...] | None:
    """The names of `--levels`, each once; raises ConfigError where one is missing."""
    if text is None:
        return None
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise ConfigError(f"--levels must read NAME,NAME, such as x86-64-v4,x86-64-v3, got {text!r}")
    return tuple(dict.fromkeys(names))


def parse_names(text: str | None) -> tuple[str, ...]:
    """The names of `--outputs`; raises ConfigError for an empty one."""
    names = () if text is None else tuple(name.strip() for name in text.split(","))
    if not all(names):
        raise ConfigError(f"--outputs must read NAME,NAME,…, got {text!r}")
    return names


def parse_states(texts: Sequence[str] | None) -> dict[str, StateConfig]:
    """The values of `--state` by input; raises ConfigError for one that is not INPUT=OUTPUT."""
    from grandopt.config.schema import StateConfig

    found: dict[str, StateConfig] = {}
    for text in texts or ():
        name, _, output = text.partition("=")
        if not name or not output:
            raise ConfigError(f"--state must read INPUT=OUTPUT, such as h_in=h_out, got {text!r}")
        if name in found:
            raise ConfigError(f"--state {name!r} is given twice")
        found[name] = StateConfig(output=output)
    return found


def parse_inputs(texts: Sequence[str] | None) -> tuple[InputConfig, ...]:
    """The values of `--input`, in order; raises ConfigError for one that is not NAME=SHAPE."""
    from grandopt.config.schema import InputConfig

    inputs: list[InputConfig] = []
    for text in texts or ():
        name, _, rest = text.partition("=")
        shape, _, dtype = rest.partition(":")
        sizes = shape.split("x")
        if not name or not all(size.isdecimal() and int(size) > 0 for size in sizes):
            raise ConfigError(f"--input must read NAME=SHAPE, such as state=7 or window=60x7, got {text!r}")
        if any(name == known.name for known in inputs):
            raise ConfigError(f"--input {name!r} is given twice")
        inputs.append(InputConfig(name=name, shape=tuple(int(size) for size in sizes), dtype=dtype or None))
    return tuple(inputs)


def parse_fix(texts: Sequence[str] | None) -> dict[str, bool | int | float | str]:
    """The values of `--fix`, by name; raises ConfigError for one that is not NAME=VALUE."""
    fixed: dict[str, bool | int | float | str] = {}
    for text in texts or ():
        name, sign, value = text.partition("=")
        if not name or not sign:
            raise ConfigError(f"--fix must read NAME=VALUE, such as deterministic=true, got {text!r}")
        if name in fixed:
            raise ConfigError(f"--fix {name!r} is given twice")
        fixed[name] = _plain_value(value)
    return fixed


def _plain_value(text: str) -> bool | int | float | str:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def parse_statistics(path: Path | None) -> Path | Literal["none"] | None:
    """The value of `--statistics`: the word, or a file."""
    return "none" if path == Path("none") else path


def parse_bounds(text: str | None) -> BoundsConfig | Literal["none"] | None:
    """The value of `--action-bounds`; raises ConfigError unless it is "none" or two numbers in order."""
    from pydantic import ValidationError

    from grandopt.config.schema import BoundsConfig

    if text is None:
        return None
    if text == "none":
        return "none"
    try:
        low, high = map(float, text.split(","))
        return BoundsConfig(low=low, high=high)
    except (ValueError, ValidationError) as error:
        raise ConfigError(
            f"--action-bounds must read LOW,HIGH, such as -1,1, or 'none', got {text!r}"
        ) from error


def parse_distribution(text: str | None) -> Distribution | None:
    """The value of `--distribution`; raises ConfigError for another than those of the configuration."""
    from grandopt.config.schema import Distribution

    for known in get_args(Distribution):
        if text == known:
            return known  # type: ignore[no-any-return]
    if text is not None:
        raise ConfigError(f"--distribution must be one of {', '.join(get_args(Distribution))}, got {text!r}")
    return None


def parse_vecnormalize(text: str) -> Path | Literal["auto", "none"]:
    """The value of `--vecnormalize`: one of the two words, or a file."""
    match text:
        case "auto":
            return "auto"
        case "none":
            return "none"
        case _:
            return Path(text)
