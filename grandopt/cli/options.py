"""The options that several commands share, each written down once; `option_values` reads their values."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

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
Storage = Annotated[
    str | None,
    typer.Option(
        "--storage",
        metavar="URL",
        help="Where trials are kept: postgresql://USER@HOST/DATABASE for many machines, or sqlite:///FILE. "
        "[default: a file in the output folder]",
    ),
]

FleetStore = Annotated[
    str | None,
    typer.Option(
        "--store",
        metavar="FOLDER|s3://…",
        help="A store that machines share: builds for this kind of CPU are taken from it, new ones put in.",
    ),
]
StoreKeys = Annotated[
    Path | None,
    typer.Option("--store-keys", metavar="KEYS", help="Take only builds signed by one of these public keys."),
]
StoreSigningKey = Annotated[
    Path | None,
    typer.Option("--store-signing-key", metavar="FILE", help="Sign builds that are put there with this key."),
]


def _require(context: typer.Context, keys: Path | None) -> Path | None:
    """Ask for signatures as long as the command runs, of itself and of all processes that it starts."""
    if keys is not None:
        from grandopt.artifacts.signing.requirement import signatures_required

        context.with_resource(signatures_required(keys))
    return keys


RequireSignature = Annotated[
    Path | None,
    typer.Option(
        "--require-signature",
        metavar="KEYS",
        callback=_require,
        help="Open only artifacts signed by a key of this file, or folder of *.pub files (`grandopt sign`).",
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

# Requests of `benchmark --load`.
Load = Annotated[
    bool,
    typer.Option(
        "--load", help="Serve artifacts under load: latency over rates, up to and beyond saturation."
    ),
]
Rates = Annotated[
    list[float] | None,
    typer.Option(
        "--rate",
        metavar="N",
        help="With --load: this many requests a second instead of fractions of saturation. May be repeated.",
    ),
]
Arrivals = Annotated[
    str,
    typer.Option(
        "--arrivals",
        metavar="poisson|constant|FILE",
        help="With --load: when requests come, or a file (.npy, or text with one time in seconds a line).",
    ),
]
Callers = Annotated[
    list[int] | None,
    typer.Option(
        "--callers",
        metavar="N",
        help="With --load: N callers that ask again once they have their answer. May be repeated.",
    ),
]
DeadlineMs = Annotated[
    float | None,
    typer.Option(
        "--deadline-ms", metavar="MS", help="With --load: an answer counts only when it comes within this."
    ),
]
Seconds = Annotated[
    float | None,
    typer.Option("--seconds", metavar="S", help="With --load: the length of each run.  [default: 1]"),
]
