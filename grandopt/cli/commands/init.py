"""`grandopt init`: a commented `grandopt.yaml` to start from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from grandopt.cli import checkpoint_paths
from grandopt.cli.console import Terminal, complain
from grandopt.cli.options import Json, Quiet
from grandopt.config.agents import REFERENCE_AGENTS
from grandopt.errors import CheckpointError, ConfigError

JOB_FILES = (".yaml", ".yml")

HEAD = """\
# The job of `grandopt optimize` in this folder. Relative paths start from this file's folder.

profile: aggressive      # basic, standard, aggressive or maximum
# engines: [torchscript] # only these; default: the profile's
# precisions: [float32]  # only these; default: the profile's
# levels: [x86-64-v3]    # CPU feature levels of native code; default: those that matter
# threads: 1             # of one call, or auto
# budget_s: 60           # seconds for each agent
# trials: 40             # of the search, for each agent
# seed: 0                # of every random choice
# output: .              # where artifacts/ and reports/ go
# strict: false          # true: exit with 1 when a target is missed
# compare:               # how much worse `grandopt compare` lets an agent become
#   max_regression: 5%   # of the median latency
#   limits: {p99: 20%, memory: 10%, size: 5%, accuracy: 2%, cold_start: 20%, instructions: 1%}
#   agents: {decision_gate: {p50: 3%}}
# cache: {folder: kept}  # of served answers (grandopt.cached); configs/cache.yaml shows all of it

agents:
"""

REFERENCES = """\
  # The built-in reference agents, with seeded weights. Replace them by your own.
"""

OWN_AGENTS = """\

  # Saved by Stable-Baselines3 or sb3-contrib: the network and its inputs are in the file.
  # lander: {checkpoint: ppo-LunarLander-v2.zip}
  # walker:
  #   checkpoint: ppo-BipedalWalker-v3.zip
  #   vecnormalize: ppo-BipedalWalker-v3.vecnormalize.pkl  # auto (default), none, or a file

  # A state dict (.pt, .pth or .safetensors) needs its network, and what one observation looks like.
  # fvg:
  #   checkpoint: models/tactical_mappo.pth
  #   key: actors.0                        # where the state dict sits inside the file
  #   network: my_agents:Actor             # any "module:callable", or mlp:relu,tanh for a plain stack
  #   network_args: {}                     # its keyword arguments
  #   inputs: [{name: state, shape: [7]}]  # without the batch dimension; dtype float32
  #   samples: samples/fvg.npz             # recorded observations, used to verify and to measure
  #   target_latency_ms: 1.0               # the median of one call
  #   target_throughput: 1000              # calls per second

  # A network with recurrent state: which output is the next call's input. `stepwise: true` turns one that
  # reads whole windows [T, ...] into one that takes a step at a time.
  # trader:
  #   checkpoint: models/trader.pth
  #   network: my_agents:Trader
  #   inputs: [{name: obs, shape: [7]}, {name: h, shape: [64]}]
  #   outputs: [action, h_next]
  #   state: {h: h_next}                   # {h: {output: h_next, initial: 0.0, batch_axis: 1}} says more

  # A TorchScript archive holds its network, but not its inputs; low and high bound what they may be.
  # strategic:
  #   checkpoint: models/strategic_jit.pt
  #   inputs:
  #     - {name: matrix, shape: [48, 8]}
  #     - {name: regime, shape: [3], low: 0, high: 1}
  #   fix: {deterministic: true}           # arguments of its forward that are no tensors

  # A torch.export program (.pt2) holds everything.
  # exported: {checkpoint: models/agent.pt2}

  # A whole pickled module runs code when it is read: only for files that you made yourself.
  # legacy:
  #   checkpoint: models/whole_module.pt
  #   trust: true
  #   inputs: [{name: state, shape: [7]}]
"""


def init(
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[CHECKPOINT…] [FILE.yaml]",
            help="Agents to begin with, and what to write.",
            show_default=False,
        ),
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write a commented grandopt.yaml to start from.

    With checkpoints, or folders of them, it has an entry for each: what is in the file is filled in, what is
    not stands in capitals. Without any it lists the reference agents and shows how to name your own. An
    existing file is never overwritten.

    \b
    Example:
      grandopt init
      grandopt init actor.pth models/
      grandopt optimize
    """
    from grandopt.cli.job_file import entries, write_new
    from grandopt.config.load import DEFAULT_FILE

    targets = [file for file in files or [] if file.suffix in JOB_FILES]
    if len(targets) > 1:
        raise ConfigError(
            f"one file is written, but {len(targets)} are named: {', '.join(map(str, targets))}"
        )
    target = targets[0] if targets else DEFAULT_FILE
    named = [file for file in files or [] if file not in targets]
    described = _described(checkpoint_paths.found(named))
    write_new(target, HEAD + entries(described, target) if named else template())
    terminal = Terminal(as_json=json, quiet=quiet)
    terminal.document({"written": str(target)})
    terminal.note(f"wrote {target}; edit it, then run `grandopt optimize`")


def _described(paths: list[Path]) -> dict[str, tuple[Path, Mapping[str, Any]]]:
    """What is in each file, by the name of its agent; of several, those that cannot be read are named.

    Raises CheckpointError where there is none that can.
    """
    from grandopt.config.load import agent_names

    described: dict[str, tuple[Path, Mapping[str, Any]]] = {}
    failed: CheckpointError | None = None
    for name, path in agent_names(paths).items():
        from grandopt.compiler.checkpoints.detect import describe

        try:
            described[name] = (path, describe(path))
        except CheckpointError as error:
            if len(paths) > 1:
                complain(f"left out: {error}")
            failed = failed or error
    if failed is not None and not described:
        raise failed
    return described


def template() -> str:
    """The text of the file: valid as it stands, with one commented example per way of giving an agent."""
    references = "".join(
        f"  {name}: {{reference: {name}, target_latency_ms: {targets.latency_ms:g}, "
        f"target_throughput: {targets.throughput:g}}}\n"
        for name, targets in REFERENCE_AGENTS.items()
    )
    return HEAD + REFERENCES + references + OWN_AGENTS
