"""Ray Serve: artifacts as its deployments, each replica with an engine of ours.

from ray import serve
from grandopt.distributed.ray import application, client

serve.run(application("artifacts/", replicas=2), name="agents")
async with client("agents", "gate") as gate:
    action = await gate.infer(observation)
"""

from __future__ import annotations

from grandopt.distributed.ray.agent import RayAgent, client
from grandopt.distributed.ray.applications import application
from grandopt.distributed.ray.deploying import Deployed, deploy

__all__ = ["Deployed", "RayAgent", "application", "client", "deploy"]
