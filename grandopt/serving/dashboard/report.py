"""The report of an agent that is served: what its artifact says of how it was made and proved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from grandopt.artifacts.artifact import read
from grandopt.artifacts.manifest import Manifest
from grandopt.errors import ArtifactError
from grandopt.runtime.engine.version import Origin
from grandopt.serving.dashboard.agent_state import Json

FIGURES = ("p50_us", "p99_us", "p999_us", "qps", "samples", "load_ms", "first_call_ms", "artifact_bytes")
VERIFIED = (
    "passed",
    "precision",
    "reference_precision",
    "agreement",
    "agreement_samples",
    "cases",
    "worst_case",
)
OUTPUT = ("name", "norm", "error", "limit", "case")


def artifact_report(origin: Origin) -> Json:
    """The report of what answers for an agent; under "missing" why there is none.

    Only what the manifest holds is in it: an artifact that was built without being measured has no figures.
    """
    if origin.path is None:
        return {"missing": "the agent was given in memory, without an artifact"}
    try:
        manifest = read(origin.path, origin.keys).manifest
    except ArtifactError as error:
        return {"missing": f"the artifact cannot be read any more: {error}"}
    if manifest.digest != origin.digest:
        return {"missing": "a newer build lies in the folder; what answers was loaded before it"}
    return manifest_report(manifest)


def manifest_report(manifest: Manifest) -> Json:
    """What a manifest says, for people: the agent, its inputs and outputs, and the evidence that it has."""
    evidence = manifest.evidence
    verification = _table(evidence.get("verification"))
    return {
        "name": manifest.name,
        "digest": manifest.digest,
        "engine": manifest.engine,
        "precision": manifest.precision,
        "threads": manifest.threads,
        "weights": manifest.source.weights,
        "source": manifest.source.format,
        "built_by": manifest.built_by,
        "cpu_features": list(manifest.cpu_features),
        "known_defect": manifest.known_defect,
        "inputs": [_tensor(one) for one in manifest.signature.get("inputs", ())],
        "outputs": [_tensor(one) for one in manifest.signature.get("outputs", ())],
        "figures": _chosen(evidence.get("figures"), FIGURES),
        "speedup": _chosen(evidence.get("speedup"), ("value", "low", "high", "confidence", "pairs")),
        "verification": _chosen(verification, VERIFIED),
        "verified_outputs": [_chosen(one, OUTPUT) for one in verification.get("outputs") or ()],
        "machine": _machine(evidence),
    }


def _machine(evidence: Mapping[str, Any]) -> Json:
    """The machine that it was measured on; its identity, a digest, is of no use to people."""
    recipe = _table(evidence.get("recipe"))
    machine = _table(recipe.get("machine"))
    return _chosen(machine, ("cpu_model", "architecture", "os", "kernel", "python"))


def _tensor(spec: Mapping[str, Any]) -> Json:
    return _chosen(spec, ("name", "dtype", "shape", "role"))


def _chosen(table: object, names: tuple[str, ...]) -> Json:
    """The members of a table that are there; evidence is free-form, and another version may have less."""
    known = _table(table)
    return {name: known[name] for name in names if known.get(name) is not None}


def _table(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
