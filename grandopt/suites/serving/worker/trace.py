"""A trace of requests through the engine with a cache in front of the agent."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np

from grandopt.config.cache import CacheConfig
from grandopt.errors import MeasurementError
from grandopt.measurement.wire.arrays import load_inputs
from grandopt.runtime.engine.engine import Engine
from grandopt.runtime.loader import load
from grandopt.signature import Array
from grandopt.suites.serving.wire import HitRate, ReplayTrace
from grandopt.suites.serving.worker.engine import PROFILE

CHECKED_EVERY = 97


def replay_trace(request: ReplayTrace) -> HitRate:
    """Ask for one observation after the other; some answers are compared with the agent's own."""
    return asyncio.run(_replayed(request))


async def _replayed(request: ReplayTrace) -> HitRate:
    numbers, ring = load_inputs([request.trace, request.agent.observations])
    policy = load(request.agent.artifact, trust=True)
    engine = Engine()
    await engine.initialize(PROFILE)
    async with engine:
        name = engine.load(request.agent.artifact, trust=True, cache=CacheConfig(entries=request.entries))
        wrong = 0
        for place, number in enumerate(numbers.tolist()):
            observation = observation_of(number, ring)
            answer = await engine.infer(name, observation)
            if place % CHECKED_EVERY == 0:
                wrong += not _agree(answer, policy(observation))
        cache = engine.stats().agents[name].cache
    policy.close()
    if cache is None:
        raise MeasurementError("the engine served the agent without the cache that was asked for")
    hits = sum(level.counts.hits for level in cache.levels)
    return HitRate(len(numbers), hits, len(np.unique(numbers)), wrong)


def _agree(given: Any, own: Any) -> bool:
    """Whether two answers are the same but for what another batch size does to float32."""
    pairs = zip(_outputs(given), _outputs(own), strict=True)
    return all(np.allclose(one, other, rtol=1e-3, atol=1e-5) for one, other in pairs)


def _outputs(answer: Any) -> tuple[Array, ...]:
    return answer if isinstance(answer, tuple) else (answer,)


def observation_of(number: int, ring: Array) -> Array:
    """The observation that a number of a trace stands for: like those of the ring, and like no other."""
    return np.random.default_rng(number).permuted(ring[number % len(ring)], axis=-1)
