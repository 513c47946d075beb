"""What is tried on a real cluster of several nodes: a program in Ray's environment, run by `test_cluster`.

`python on_cluster.py FOLDER`, which holds artifacts, writes what it found to `FOLDER/found.json`, by name.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import traceback
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import ray
from ray import serve
from ray.cluster_utils import Cluster

from grandopt.distributed.ray import client, deploy
from grandopt.distributed.ray.agent import RayAgent
from grandopt.distributed.ray.applications import application
from grandopt.distributed.ray.cluster import replicas_of
from grandopt.distributed.ray.failures import translated
from grandopt.distributed.ray.scaling import autoscaling
from grandopt.distributed.ray.versions import versions
from grandopt.errors import GrandoptError, SignatureError, WorkerLost

PORT = 18_431
CALLERS = 32
BACK_S = 30.0
Found = dict[str, Any]


class Load:
    """Callers that ask for as long as it lasts; what they were told, and when the last answer came."""

    def __init__(self, agent: RayAgent, factors: tuple[float, ...]) -> None:
        self.answers: Counter[float] = Counter()
        self.errors: Counter[str] = Counter()
        self.wrong = 0
        self.last = self.silent = 0.0
        self._agent, self._factors, self._over = agent, factors, False

    async def caller(self, number: int) -> None:
        rng = np.random.default_rng(number)
        while not self._over:
            rows = rng.uniform(1.0, 2.0, (16, 4) if number % 8 == 0 else 4).astype(np.float32)
            try:
                answer = await self._agent.infer(rows)
            except GrandoptError as error:
                self.errors[type(error).__name__] += 1
                await asyncio.sleep(0.05)
                continue
            now = time.monotonic()
            self.silent, self.last = max(self.silent, now - (self.last or now)), now
            factor = [one for one in self._factors if np.array_equal(answer, rows * np.float32(one))]
            self.wrong += not factor
            self.answers.update(factor)

    async def during(self, work: Callable[[], Awaitable[None]], callers: int = CALLERS) -> None:
        asking = [asyncio.ensure_future(self.caller(number)) for number in range(callers)]
        try:
            await asyncio.sleep(0.5)
            await work()
            await asyncio.sleep(0.5)
        finally:
            self._over = True
            await asyncio.gather(*asking)

    def found(self) -> Found:
        return {
            "answers": {str(factor): count for factor, count in self.answers.items()},
            "errors": dict(self.errors),
            "wrong": self.wrong,
        }


class Trials:
    """In their order: each finds the cluster as the one before left it."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self.cluster, self.folder = cluster, folder
        self.double, self.triple = folder / "double", folder / "triple"

    def deployed(self, path: Path, **options: Any) -> Any:
        return deploy([path], name="agents", replicas=2, http_port=PORT, **options)

    async def deploys(self) -> Found:
        made = await asyncio.to_thread(self.deployed, self.double)
        states = await self.states()
        return {
            "replicas": made.replicas,
            "nodes": made.nodes,
            "builds": made.builds,
            "torch": [state["torch"] for state in states],
        }

    async def states(self) -> list[dict[str, Any]]:
        """Of all replicas, which are asked at random."""
        handle, found = serve.get_app_handle("agents"), {}
        for _ in range(200):
            state = await handle.state.remote()
            found[state["process"]] = state
            if len(found) == 2:
                break
        return list(found.values())

    async def answers(self) -> Found:
        rows = np.arange(4000, dtype=np.float32).reshape(-1, 4)
        async with client("agents") as agent:
            alone = await asyncio.gather(*(agent.infer(row) for row in rows))
            whole = await agent.infer(rows)
            many = await agent.infer_many([list(map(float, row)) for row in rows[:3]])
            refused = []
            for wrong, options in ((rows[0, :3], {}), (rows[0], {"deadline_s": 1e-9})):
                try:
                    await agent.infer(wrong, **options)
                except GrandoptError as error:
                    refused.append(type(error).__name__)
            calls = agent.stats().batches
        return {
            "alone": bool(np.array_equal(alone, rows * 2)),
            "whole": bool(np.array_equal(whole, rows * 2)),
            "many": np.asarray(many).tolist(),
            "refused": refused,
            "calls": calls,
        }

    async def handles(self) -> Found:
        """Without our client."""
        handle = serve.get_app_handle("agents")
        answer = await handle.infer.remote("scaled", np.ones(4, np.float32))
        try:
            await handle.infer.remote("scaled", np.ones(3, np.float32))
            error = ""
        except SignatureError as refused:  # Ray raises one that is its own error, too
            error = str(getattr(refused, "cause", ""))
        return {"answer": answer.tolist(), "error": error}

    async def speaks_http(self) -> Found:
        def asked(path: str, body: Any = None) -> tuple[int, Any]:
            data = None if body is None else json.dumps(body).encode()
            request = urllib.request.Request(f"http://127.0.0.1:{PORT}{path}", data)
            try:
                with urllib.request.urlopen(request, timeout=20) as response:
                    return response.status, json.load(response)
            except urllib.error.HTTPError as error:
                return error.code, json.load(error)

        tensor = {"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}
        paths = {
            "live": ("/v2/health/live", None),
            "model": ("/v2/models/scaled", None),
            "infer": ("/v2/models/scaled/infer", {"inputs": [tensor], "id": "7"}),
            "unknown": ("/v2/models/none/infer", {"inputs": [tensor]}),
            "wrong": ("/v2/models/scaled/infer", {"inputs": [{**tensor, "shape": [1, 3]}]}),
            "changes": ("/v2/logging", {"log_verbose_level": 1}),
        }
        return {name: await asyncio.to_thread(asked, *given) for name, given in paths.items()}

    async def replaces(self) -> Found:
        async with client("agents") as agent:
            load = Load(agent, (2.0, 3.0))

            async def work() -> None:
                await asyncio.to_thread(self.deployed, self.triple)
                await self.until(lambda: serve.status().applications["agents"].status == "RUNNING")

            await load.during(work)
            after = (await agent.infer(np.ones(4, np.float32))).tolist()
            return {**load.found(), "after": after, "builds": len(agent.builds)}

    async def loses_its_replicas(self) -> Found:
        """All at once: whatever is under way is at one of them."""
        processes = [state["process"] for state in await self.states()]
        return await self.lost(lambda: [os.kill(process, signal.SIGKILL) for process in processes])

    async def loses_a_node(self) -> Found:
        """One that a replica is on, and not the head."""
        used = {state["node"] for state in await self.states()}
        node = next(node for node in self.cluster.worker_nodes if node.node_id in used)
        return await self.lost(lambda: self.cluster.remove_node(node, allow_graceful=False))

    async def lost(self, kill: Callable[[], object]) -> Found:
        async with client("agents") as agent:
            load = Load(agent, (2.0, 3.0))
            began = 0.0

            async def work() -> None:
                nonlocal began
                began = time.monotonic()
                await asyncio.to_thread(kill)
                await self.until(lambda: replicas_of("agents") < 2, 20.0)
                await self.until(lambda: replicas_of("agents") == 2)
                whole.append(time.monotonic() - began)

            whole: list[float] = []
            await load.during(work)
            return {**load.found(), "silent_s": load.silent, "whole_s": whole[0]}

    async def until(self, true: Callable[[], bool], seconds: float = BACK_S) -> None:
        end = time.monotonic() + seconds
        while not await asyncio.to_thread(true) and time.monotonic() < end:
            await asyncio.sleep(0.1)

    async def keeps_what_was(self) -> Found:
        """A deployment that cannot be, over one that runs, and under a name of its own."""
        said = []
        for name, options in (
            ("agents", {"cpus": 64.0, "limit_s": 5.0}),
            ("other", {"cpus": 64.0, "limit_s": 3.0}),
        ):
            try:
                await asyncio.to_thread(
                    deploy, [self.double], name=name, http_port=PORT, route=f"/{name}", **options
                )
            except GrandoptError as error:
                said.append(str(error))
        async with client("agents") as agent:
            answer = (await agent.infer(np.ones(4, np.float32))).tolist()
        return {"said": said, "answer": answer, "applications": sorted(serve.status().applications)}

    async def refuses(self) -> Found:
        """Other versions, and an artifact that was changed, are told before anything is deployed."""
        said = []
        other = versions()._replace(grandopt="9.9")
        with patch("grandopt.distributed.ray.preflight.versions", lambda: other):
            try:
                await asyncio.to_thread(deploy, [self.double], name="versions", http_port=None)
            except GrandoptError as error:
                said.append(str(error))
        try:
            await asyncio.to_thread(
                deploy, [self.folder / "altered"], name="altered", http_port=None, by_path=True
            )
        except GrandoptError as error:
            said.append(str(error))
        return {"said": said, "applications": sorted(serve.status().applications)}

    async def composes(self) -> Found:
        await asyncio.to_thread(serve.delete, "agents")
        graph = {
            "left": {"agent": "left", "inputs": "request.x"},
            "right": {"agent": "right", "inputs": "request.x"},
            "both": {"agent": "both", "inputs": ["left.output_0", "right.output_0"]},
        }
        made = application(self.folder / "parts", pipeline=graph, cpus=0.5)
        handle = await asyncio.to_thread(serve.run, made, name="pipeline", route_prefix=None)
        one = await handle.infer.remote(np.ones(4, np.float32))
        many = await handle.infer_many.remote([np.full(4, number, np.float32) for number in range(50)])
        await asyncio.to_thread(serve.delete, "pipeline")
        return {
            "one": {name: value.tolist() for name, value in one.items()},
            "many": [next(iter(answer.values())).tolist()[0] for answer in many],
        }

    async def grows(self) -> Found:
        """Under more calls than one replica should have; and back, under one call at a time."""
        soon = autoscaling(2, queue=2.0) | {"downscale_delay_s": 2.0}
        with patch("grandopt.distributed.ray.applications.autoscaling", lambda *_, **__: soon):
            made = application(self.double, replicas="auto", most_replicas=2, queue=2.0)
        handle = await asyncio.to_thread(serve.run, made, name="agents", route_prefix=None)
        before, over = await asyncio.to_thread(replicas_of, "agents"), False

        async def caller() -> None:
            while not over:
                await handle.infer.remote("scaled", np.ones(4, np.float32))

        callers = [asyncio.ensure_future(caller()) for _ in range(16)]
        await self.until(lambda: replicas_of("agents") == 2)
        after, over = await asyncio.to_thread(replicas_of, "agents"), True
        await asyncio.gather(*callers)
        async with client("agents") as agent:
            load = Load(agent, (2.0,))
            await load.during(lambda: self.until(lambda: replicas_of("agents") == 1), callers=1)
        again = await asyncio.to_thread(replicas_of, "agents")
        return {"before": before, "after": after, "again": again, **load.found()}

    async def translates(self) -> Found:
        """What Ray raises where an actor ends within a call, and where the actor itself says WorkerLost."""

        class Actor:
            def process(self) -> int:
                return os.getpid()

            def sleep(self) -> None:
                time.sleep(60)

            def lose(self) -> None:
                raise WorkerLost("gate: the worker ended")

        actor = ray.remote(num_cpus=0)(Actor).remote()
        said = []
        process = await actor.process.remote()
        for call in (actor.lose.remote, actor.sleep.remote):
            asked = call()
            if said:  # the second call is under way
                os.kill(process, signal.SIGKILL)
            try:
                await asked
            except Exception as error:  # noqa: BLE001 - Ray's, whatever they are
                told = translated(error, "gate")
                said.append([type(told).__name__, str(told)])
        return {"said": said}

    async def stops(self) -> Found:
        """`grandopt deploy ray`, interrupted while it waits: over what runs, and under a name of its own."""
        found: Found = {"codes": [], "said": []}
        for name in ("agents", "other"):
            words = [str(self.triple), "--name", name, "--cpus", "64", "--no-http"]
            code, said = await asyncio.to_thread(self.interrupted, words)
            found["codes"].append(code)
            found["said"].append(said)
        await self.until(lambda: "other" not in serve.status().applications)
        async with client("agents") as agent:
            found["answer"] = (await agent.infer(np.ones(4, np.float32))).tolist()
        return {**found, "applications": sorted(serve.status().applications)}

    def interrupted(self, words: list[str]) -> tuple[int, str]:
        """Exit code and stderr of a deployment that gets Ctrl-C when it starts its replicas."""
        command = [sys.executable, "-P", "-W", "ignore", "-m", "grandopt", "deploy", "ray", *words]
        process = subprocess.Popen(
            [*command, "--address", self.cluster.address], stderr=subprocess.PIPE, text=True
        )
        assert process.stderr is not None
        said = []
        for line in process.stderr:
            said.append(line)
            if "starting its replicas" in line:
                time.sleep(1.0)  # until the cluster has begun with it
                process.send_signal(signal.SIGINT)
        return process.wait(BACK_S), "".join(said)


TRIALS = (
    "deploys", "answers", "handles", "speaks_http", "replaces", "keeps_what_was", "refuses",
    "stops", "loses_its_replicas", "loses_a_node", "composes", "grows", "translates",
)  # fmt: skip


async def tried(trials: Trials, names: tuple[str, ...]) -> Found:
    """What each found, or the traceback of what it raised."""
    found: Found = {}
    for name in names:
        began = time.monotonic()
        try:
            found[name] = await getattr(trials, name)()
        except Exception:  # noqa: BLE001 - the test that it is of tells it
            found[name] = {"raised": traceback.format_exc()}
        found[name]["seconds"] = time.monotonic() - began
        print(name, found[name], flush=True)
    return found


def main() -> None:
    folder = Path(sys.argv[1])
    os.environ.update({"RAY_USAGE_STATS_ENABLED": "0", "RAY_SERVE_LOG_TO_STDERR": "0"})
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    for _ in range(2):
        cluster.add_node(num_cpus=1)
    ray.init(cluster.address, log_to_driver=False, logging_level="error")
    try:
        found = asyncio.run(tried(Trials(cluster, folder), tuple(sys.argv[2:]) or TRIALS))
        (folder / "found.json").write_text(json.dumps(found))
    finally:
        serve.shutdown()
        ray.shutdown()
        cluster.shutdown()


if __name__ == "__main__":
    main()
