"""A cache in front of an artifact."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from grandopt.artifacts.artifact import read
from grandopt.artifacts.signing.keys import TrustedKeys
from grandopt.artifacts.signing.requirement import Requirement, required
from grandopt.config.cache import CacheConfig
from grandopt.config.load import load_file
from grandopt.config.names import DEFAULT_PROFILE, ProfileName
from grandopt.config.profiles import PROFILES
from grandopt.config.schema import Limits
from grandopt.errors import ConfigError
from grandopt.runtime.cache.approximate import ApproximateKeys
from grandopt.runtime.cache.cached import CachedPolicy
from grandopt.runtime.cache.construct import construct
from grandopt.runtime.cache.hierarchy import Hierarchy
from grandopt.runtime.cache.keys import InputKeys
from grandopt.runtime.executors.base import Executor
from grandopt.runtime.loader import load
from grandopt.signature import Array
from grandopt.verification.agreement import of_actions
from grandopt.verification.known import is_decision
from grandopt.verification.samples import load_samples
from grandopt.verification.tolerance import spread

FEWEST = 64
"""Samples below which an action error says nothing."""


@dataclass(frozen=True)
class RoundingError:
    """What rounding the inputs does to one output, over the samples.

    The relative L2 error (None for decisions, which have no size), and the part of the samples whose action
    stays the same (None for an output that is no action).
    """

    output: str
    relative_l2: float | None
    agreement: float | None


def cached(
    path: Path | str,
    settings: CacheConfig | None = None,
    *,
    cache: Hierarchy | None = None,
    samples: Path | str | None = None,
    profile: ProfileName = DEFAULT_PROFILE,
    trust: bool = False,
    threads: int | None = None,
    require_signature: Requirement = None,
) -> CachedPolicy:
    """Load the artifact at `path` (see `load`) with a cache in front of it.

    The cache is made from `settings`, and closed by the policy's `close`; with `cache`, which several agents
    may share and its owner closes, `settings` says only what concerns the agent: `ttl_s`, `must_pay` and
    `steps`. With steps, inputs that are close are answered alike; the error that this causes is measured on
    `samples`, recorded observations in an .npz file, and bounded by the limits of `profile`.

    Raises what `load` does, CacheError and ConfigError for a cache that cannot be made, SignatureError for an
    agent that keeps a state, SamplesError for bad samples, and ConfigError for steps that fit no input, come
    without samples, or cause too large an error.
    """
    settings = settings or CacheConfig()
    policy, keys, name = _opened(
        Path(path), settings, samples, profile, trust, threads, required(require_signature)
    )
    made = construct(settings) if cache is None else None
    return CachedPolicy(
        policy,
        keys,
        made or cache,  # type: ignore[arg-type]  # one of them is there
        name=name,
        ttl=settings.ttl_s,
        must_pay=settings.must_pay,
        owned=(policy,) if made is None else (made, policy),
    )


def deploy(
    served: CachedPolicy,
    path: Path | str,
    settings: CacheConfig | None = None,
    *,
    samples: Path | str | None = None,
    profile: ProfileName = DEFAULT_PROFILE,
    trust: bool = False,
    threads: int | None = None,
    require_signature: Requirement = None,
) -> int:
    """Let `served` answer with the artifact at `path` from now on; returns how many old entries are removed.

    Of `settings` only `steps` counts. Raises what `cached` does, before anything has changed, and what
    `CachedPolicy.deploy` does.
    """
    policy, keys, _ = _opened(
        Path(path), settings or CacheConfig(), samples, profile, trust, threads, required(require_signature)
    )
    return served.deploy(policy, keys)


def settings_of(path: Path | str) -> CacheConfig:
    """The section `cache` of a `grandopt.yaml`; raises ConfigError as reading any of the file does."""
    return load_file(Path(path)).cache


def rounding_errors(
    policy: Executor, keys: InputKeys, samples: Sequence[Array], limits: Limits
) -> list[RoundingError]:
    """How the agent's answers to `samples` (one array [N, *shape] per input) differ from those that stand
    for them. A continuous action is the same within `limits.relative_l2` of its range."""
    exact = policy.run(samples)
    rounded = policy.run([np.ascontiguousarray(array) for array in keys.representative(samples)])
    found = []
    for spec, values, truth in zip(policy.signature.outputs, rounded, exact, strict=True):
        action = spec.role == "action"
        if truth.dtype.kind != "f" or (action and is_decision(policy.contract)):
            same = (values == truth).reshape(len(truth), -1).all(axis=1)
            found.append(RoundingError(spec.name, None, float(same.mean())))
            continue
        agreement = None
        if spec.role == "scores":
            agreement = float((values.argmax(axis=-1) == truth.argmax(axis=-1)).mean())
        elif action:
            agreement = of_actions(spec, policy.contract, values, truth, limits.relative_l2).rate
        found.append(RoundingError(spec.name, spread(values, truth).relative_l2, agreement))
    return found


def _opened(
    path: Path,
    settings: CacheConfig,
    samples: Path | str | None,
    profile: ProfileName,
    trust: bool,
    threads: int | None,
    signers: TrustedKeys | None,
) -> tuple[Executor, InputKeys, str]:
    while True:
        manifest = read(path, signers).manifest
        policy = load(path, trust=trust, threads=threads, require_signature=signers)
        if read(path, signers).manifest.digest == manifest.digest:
            break
        policy.close()  # replaced by a newer build while it was loaded
    if not settings.steps:
        return policy, InputKeys(manifest.digest), manifest.name
    keys = ApproximateKeys(manifest.digest, policy.signature, settings.steps)
    if samples is None:
        raise ConfigError("steps need samples to measure their error on: give recorded observations (.npz)")
    recorded = load_samples(Path(samples), policy.signature)
    if len(recorded[0]) < FEWEST:
        raise ConfigError(f"{samples}: {len(recorded[0])} samples are too few to judge steps by; {FEWEST} do")
    limits = PROFILES[profile].limits
    for error in rounding_errors(policy, keys, recorded, limits):
        refusal = _refusal(error, limits)
        if refusal:
            raise ConfigError(
                f"the steps are too coarse for profile {profile!r}: {refusal}; make them smaller"
            )
    return policy, keys, manifest.name


def _refusal(error: RoundingError, limits: Limits) -> str | None:
    if error.relative_l2 is not None and not error.relative_l2 <= limits.relative_l2:
        return (
            f"output {error.output!r} is off by {error.relative_l2:.3g} (relative L2 error), "
            f"{limits.relative_l2:g} is allowed"
        )
    if error.agreement is not None and error.agreement < limits.agreement:
        return (
            f"output {error.output!r} gives the same action on {100 * error.agreement:.2f} % of the samples, "
            f"{100 * limits.agreement:g} % are required"
        )
    return None
