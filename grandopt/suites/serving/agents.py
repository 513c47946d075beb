"""The agents that the serving suite serves: reference agents, as files that every way of serving can read."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from grandopt.artifacts.artifact import Artifact, is_artifact, read
from grandopt.compiler.networks import reference
from grandopt.config.schema import Job
from grandopt.errors import GrandoptError
from grandopt.measurement.wire.arrays import save_inputs, save_outputs
from grandopt.runtime.loader import load
from grandopt.suites.serving.wire import ServedAgent
from grandopt.verification.inputs import ring
from grandopt.workflows.events import Listener, silent
from grandopt.workflows.optimize import ARTIFACTS, optimize_job

GATE, TACTICAL = "decision_gate", "tactical_embedder"
EXACT = 1e-4
"""The relative L2 error of one float32 answer that another batch size may cause."""


def shipped(job: Job, names: Sequence[str], folder: Path, listener: Listener = silent) -> dict[str, Artifact]:
    """The artifacts of reference agents: those below the job's output, and the others optimized into `folder`
    with the job's profile.

    Raises GrandoptError for an agent that cannot be optimized, and ArtifactError for an artifact that does
    not fit this machine.
    """
    found = {name: job.output / ARTIFACTS / name for name in names}
    missing = [name for name, path in found.items() if not is_artifact(path)]
    if missing:
        agents = {name: job.agents[name] for name in missing}
        report = optimize_job(
            job.model_copy(update={"agents": agents, "output": folder}),
            command=("grandopt", "benchmark", "--suite", "serving"),
            listener=listener,
        )
        for agent in report.agents:
            if agent.shipped is None or agent.shipped.artifact is None:
                raise GrandoptError(f"{agent.name}: {agent.reason}", remedy=agent.remedy)
            found[agent.name] = folder / agent.shipped.artifact
    for path in found.values():
        load(path, trust=True).close()  # what does not fit this machine is said before anything is measured
    return {name: read(path) for name, path in found.items()}


def written(artifact: Artifact, limit: float, folder: Path, seed: int = 0) -> ServedAgent:
    """The original of a reference agent's artifact, its observations and its answers, as files in `folder`.

    `limit` is the relative L2 error that the artifact may have.
    """
    name = artifact.manifest.name
    folder /= name
    folder.mkdir()
    network = reference.build(name)
    (observations,) = ring(artifact.manifest.parsed_signature(), seed=seed)
    tensor = torch.from_numpy(np.ascontiguousarray(observations))
    with torch.inference_mode():
        # One by one: that is the call whose answer every other way of serving has to give.
        rows = [_tuple(network(one[None])) for one in tensor]
    answers = [torch.cat(column).numpy() for column in zip(*rows, strict=True)]
    weights, script = folder / "weights.pt", folder / "script.pt"
    torch.save(network.state_dict(), weights)
    with torch.no_grad(), warnings.catch_warnings():
        # What a trace takes for constant is checked: every answer is compared, of other batch sizes, too.
        warnings.simplefilter("ignore")
        torch.jit.freeze(torch.jit.trace(network, tensor[:2])).save(str(script))
    kind = type(network)
    return ServedAgent(
        name=name,
        network=f"{kind.__module__}:{kind.__qualname__}",
        weights=weights.absolute(),
        script=script.absolute(),
        artifact=artifact.path.absolute(),
        observations=save_inputs([observations], folder)[0].absolute(),
        answers=tuple(path.absolute() for path in save_outputs(answers, folder, "answer")),
        exact=EXACT,
        limit=limit,
    )


def _tuple(given: torch.Tensor | tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    return given if isinstance(given, tuple) else (given,)
