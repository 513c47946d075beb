"""A built-in reference agent as a checkpoint: no file, seeded weights, and the source says so."""

from __future__ import annotations

from grandopt.artifacts.manifest import Source
from grandopt.compiler.checkpoints.base import Checkpoint
from grandopt.compiler.networks import reference as networks


def load(name: str, reference: str, seed: int) -> Checkpoint:
    """The reference agent `reference`, to be known as `name`; raises ConfigError for an unknown reference."""
    agent = networks.find(reference)
    return Checkpoint(
        name=name,
        module=networks.build(reference, seed),
        inputs=agent.inputs,
        source=Source(format="reference", weights="seeded", details={"reference": reference, "seed": seed}),
        output_names=agent.output_names,
        output_roles=agent.output_roles,
    )
