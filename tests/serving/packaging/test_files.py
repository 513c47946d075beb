"""Files for Docker, compose, KServe, Prometheus and systemd: by schema where their programs are not here."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from typer.main import get_command

from grandopt.cli.app import command_line
from tests.serving.packaging.queries import CONFIGS, RULES

ROOT = CONFIGS.parent
DOCKERFILE = (ROOT / "Dockerfile").read_text()
REQUIREMENTS = CONFIGS / "docker" / "requirements.txt"


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions and what follows each."""
    joined = re.sub(r"\\\n\s*", " ", DOCKERFILE)
    lines = [line for line in joined.splitlines() if line and not line.startswith("#")]
    return [(line.split(" ", 1)[0], line.split(" ", 1)[1]) for line in lines]


def pins(file: Path) -> dict[str, str]:
    """Versions by name."""
    rows = [line for line in file.read_text().splitlines() if line and not line.startswith("#")]
    return dict(row.split("==", 1) for row in rows)


def test_the_image_is_small_and_has_no_rights() -> None:
    told = instructions()
    kinds = [kind for kind, _ in told]
    known = "FROM WORKDIR COPY RUN ENV USER EXPOSE STOPSIGNAL HEALTHCHECK ENTRYPOINT CMD"
    assert set(kinds) <= set(known.split())
    assert kinds.count("FROM") == 2
    for base in [rest.split(" ")[0] for kind, rest in told if kind == "FROM"]:
        assert re.fullmatch(r"python:3\.\d+-slim-\w+", base), (
            "a version that is named, from no named registry"
        )
    final = told[len(kinds) - 1 - kinds[::-1].index("FROM") :]
    user = dict(final)["USER"]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user), "a number, so that Kubernetes sees that it is not root"
    assert [kind for kind, _ in final].index("USER") > [kind for kind, _ in final].index("RUN")
    assert "torch" not in DOCKERFILE.replace("no torch", "")
    assert all("--no-cache-dir --no-deps" in rest for kind, rest in told if "pip install" in rest)
    for kind in ("ENTRYPOINT", "CMD"):
        assert isinstance(json.loads(dict(final)[kind]), list), "without a shell, so that SIGTERM arrives"
    health = json.loads(dict(final)["HEALTHCHECK"].split("CMD ", 1)[1])
    assert health[:2] == ["python", "-c"]
    compile(health[2], "HEALTHCHECK", "exec")
    assert "/v2/health/ready" in health[2]


def test_what_is_copied_is_not_kept_out() -> None:
    ignored = (ROOT / ".dockerignore").read_text().split()
    assert ignored[0] == "*"
    for kind, rest in instructions():
        if kind == "COPY" and not rest.startswith("--from"):
            assert all(f"!{source}" in ignored for source in rest.split(" ")[:-1])


def test_the_image_has_what_is_tested_here() -> None:
    tested, listed = pins(ROOT / "constraints.txt"), pins(REQUIREMENTS)
    assert {name: tested.get(name) for name in listed} == listed
    assert not {"torch", "optuna", "matplotlib", "onnxruntime", "openvino"} & set(listed)


POSITIVE = {"type": "integer", "minimum": 1}
CONTAINER = {
    "type": "object",
    "required": ["name", "image", "args", "ports", "readinessProbe", "resources", "securityContext"],
    "additionalProperties": False,
    "properties": {
        "name": {"const": "kserve-container"},
        "image": {"type": "string", "pattern": r"^[\w./-]+:[\w.-]+$"},
        "args": {"type": "array", "items": {"type": "string"}, "minItems": 1},
        "ports": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["name", "containerPort", "protocol"],
                "properties": {"containerPort": POSITIVE, "protocol": {"enum": ["TCP"]}},
            },
        },
        "readinessProbe": {"$ref": "#/$defs/probe"},
        "livenessProbe": {"$ref": "#/$defs/probe"},
        "resources": {"type": "object", "required": ["requests", "limits"]},
        "securityContext": {
            "type": "object",
            "properties": {
                "runAsNonRoot": {"const": True},
                "runAsUser": POSITIVE,
                "allowPrivilegeEscalation": {"const": False},
                "readOnlyRootFilesystem": {"const": True},
                "capabilities": {"const": {"drop": ["ALL"]}},
                "seccompProfile": {"const": {"type": "RuntimeDefault"}},
            },
            "additionalProperties": False,
        },
    },
}
PROBE = {
    "type": "object",
    "required": ["httpGet", "periodSeconds"],
    "properties": {
        "httpGet": {"properties": {"path": {"pattern": "^/v2/health/(live|ready)$"}, "port": POSITIVE}},
        "periodSeconds": POSITIVE,
    },
    "additionalProperties": False,
}
FORMAT = {"type": "object", "required": ["name"], "properties": {"version": {"type": "string"}}}


def _resource(version: str, kind: str, spec: dict[str, Any]) -> dict[str, Any]:
    """The schema of a resource of Kubernetes."""
    return {
        "$defs": {"probe": PROBE},
        "type": "object",
        "required": ["apiVersion", "kind", "metadata", "spec"],
        "additionalProperties": False,
        "properties": {
            "apiVersion": {"const": version},
            "kind": {"const": kind},
            "metadata": {
                "type": "object",
                "required": ["name"],
                "properties": {
                    "name": {"pattern": "^[a-z0-9-]{1,63}$"},
                    "annotations": {"type": "object", "additionalProperties": {"type": "string"}},
                },
            },
            "spec": spec,
        },
    }


RUNTIME = _resource(
    "serving.kserve.io/v1alpha1",
    "ServingRuntime",
    {
        "type": "object",
        "required": ["supportedModelFormats", "containers", "protocolVersions"],
        "additionalProperties": False,
        "properties": {
            "supportedModelFormats": {"type": "array", "items": FORMAT, "minItems": 1},
            "protocolVersions": {"items": {"enum": ["v1", "v2", "grpc-v1", "grpc-v2"]}},
            "multiModel": {"type": "boolean"},
            "containers": {"type": "array", "items": CONTAINER, "minItems": 1},
        },
    },
)
SERVICE = _resource(
    "serving.kserve.io/v1beta1",
    "InferenceService",
    {
        "type": "object",
        "required": ["predictor"],
        "additionalProperties": False,
        "properties": {
            "predictor": {
                "type": "object",
                "required": ["model"],
                "properties": {
                    "minReplicas": {"type": "integer", "minimum": 0},
                    "maxReplicas": POSITIVE,
                    "scaleMetric": {"enum": ["cpu", "memory", "concurrency", "rps"]},
                    "scaleTarget": POSITIVE,
                    "model": {
                        "type": "object",
                        "required": ["modelFormat", "storageUri"],
                        "properties": {
                            "modelFormat": FORMAT,
                            "runtime": {"type": "string"},
                            "protocolVersion": {"const": "v2"},
                            "storageUri": {"pattern": r"^(pvc|s3|gs|https?)://"},
                        },
                        "additionalProperties": False,
                    },
                },
                "additionalProperties": False,
            }
        },
    },
)


def test_kserve() -> None:
    runtime = yaml.safe_load((CONFIGS / "kserve" / "serving_runtime.yaml").read_text())
    service = yaml.safe_load((CONFIGS / "kserve" / "inference_service.yaml").read_text())
    jsonschema.validate(runtime, RUNTIME)
    jsonschema.validate(service, SERVICE)
    model = service["spec"]["predictor"]["model"]
    assert model["runtime"] == runtime["metadata"]["name"]
    known = [(one["name"], one["version"]) for one in runtime["spec"]["supportedModelFormats"]]
    assert (model["modelFormat"]["name"], model["modelFormat"]["version"]) in known
    (container,) = runtime["spec"]["containers"]
    (port,) = [one["containerPort"] for one in container["ports"]]
    assert f"--http-port={port}" in container["args"]
    assert {container[probe]["httpGet"]["port"] for probe in ("readinessProbe", "livenessProbe")} == {port}
    assert str(container["securityContext"]["runAsUser"]) == dict(instructions())["USER"].split(":")[0]


COMPOSE = {
    "type": "object",
    "required": ["name", "services"],
    "additionalProperties": False,
    "properties": {
        "services": {
            "additionalProperties": {
                "type": "object",
                "required": ["image", "restart"],
                "properties": {
                    "ports": {"items": {"pattern": r"^127\.0\.0\.1:\d+:\d+$"}},
                    "volumes": {"items": {"pattern": r"^\.\./[\w./-]+:/[\w./-]+:ro$"}},
                    "environment": {"additionalProperties": {"type": "string"}},
                    "restart": {"enum": ["unless-stopped", "on-failure"]},
                },
            }
        },
        "name": {"type": "string"},
    },
}


def test_compose_brings_only_what_is_there() -> None:
    folder = CONFIGS / "docker"
    told = yaml.safe_load((folder / "compose.yaml").read_text())
    jsonschema.validate(told, COMPOSE)
    services = told["services"]
    assert (folder / services["grandopt"]["build"]["context"] / "Dockerfile").is_file()
    for service in services.values():
        assert set(service.get("depends_on", ())) <= set(services)
        for volume in service.get("volumes", ()):
            assert (folder / volume.split(":")[0]).exists(), volume
    scraped = yaml.safe_load((CONFIGS / "prometheus" / "prometheus.yaml").read_text())
    for job in scraped["scrape_configs"]:
        for targets in job["static_configs"]:
            assert {target.split(":")[0] for target in targets["targets"]} <= set(services)
    source = yaml.safe_load(
        (CONFIGS / "grafana" / "provisioning" / "datasources" / "prometheus.yaml").read_text()
    )
    assert source["datasources"][0]["url"] == "http://prometheus:9090"


def test_rules_are_named_once_and_say_what_is_wrong() -> None:
    rules = [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
    names = [rule["alert"] for rule in rules]
    assert len(set(names)) == len(names) >= 8
    for rule in rules:
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
        assert rule["labels"]["severity"] in ("info", "warning", "critical")
        assert re.fullmatch(r"\d+[smh]", rule.get("for", "0s"))
        for label in re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]):
            assert "by (" not in rule["expr"] or re.search(rf"by \([^)]*\b{label}\b", rule["expr"])


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("skipped: systemd-analyze is not installed")
    unit = (CONFIGS / "systemd" / "grandopt.service").read_text()
    assert "/opt/grandopt/bin/grandopt" in unit
    file = tmp_path / "grandopt.service"
    file.write_text(unit.replace("/opt/grandopt/bin/grandopt", sys.executable))
    found = subprocess.run([program, "verify", file], capture_output=True, text=True, timeout=60)
    ours = [line for line in (found.stdout + found.stderr).splitlines() if "grandopt" in line]
    assert ours == []
    assert found.returncode == 0
    settings = dict(line.split("=", 1) for line in unit.splitlines() if re.match(r"\w+=", line))
    assert shlex.split(settings["ExecStart"])[1] == "serve"
    assert settings["NoNewPrivileges"] == "yes"
    assert settings["ProtectSystem"] == "strict"


def test_every_command_has_options_that_there_are() -> None:
    (serve,) = [one for one in get_command(command_line()).commands.values() if one.name == "serve"]  # type: ignore[attr-defined]
    known = {option for parameter in serve.params for option in parameter.opts}
    runtime = yaml.safe_load((CONFIGS / "kserve" / "serving_runtime.yaml").read_text())
    unit = (CONFIGS / "systemd" / "grandopt.service").read_text()
    commands = [
        runtime["spec"]["containers"][0]["args"],
        json.loads(dict(instructions())["CMD"]),
        next(line for line in unit.splitlines() if line.startswith("ExecStart=")).split(" ")[2:],
    ]
    for command in commands:
        options = {word.split("=")[0] for word in command if word.startswith("--")}
        assert options
        assert options <= known
