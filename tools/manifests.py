"""Renders the Kubernetes manifests and checks them: schemas first, then what schemas do not see.

    python tools/manifests.py [FOLDER ...]

The schemas are those of the package kubernetes-validate, strict. They let pass what a cluster or its operator would
not: selectors that select nothing, references to nothing, quantities like "256Mib", containers that run as root or
are never probed. Those are checked here; each problem is one line that names the resource.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import yaml

ROOT = Path(__file__).resolve().parent.parent
KUBERNETES_VERSION = "1.36"
QUANTITY = re.compile(r"\d+(\.\d+)?(m|k|Ki|Mi|Gi|Ti|M|G|T)?")
# Secrets come from the operator, not from the repository; these names are the ones deploy/README.md asks for.
SECRET = re.compile(r"lichtbuch-[a-z]+(-tls)?")
# A probe whose failure restarts the pod asks only whether the process lives: one that waits for its database must stay,
# and lighting goes on lighting meanwhile.
PROBED = {"startupProbe": "live", "readinessProbe": "ready", "livenessProbe": "live"}

Resource = dict[str, Any]


def render(folder: Path) -> list[Resource]:
    """All resources of a kustomization, rendered by kubectl."""
    done = subprocess.run(["kubectl", "kustomize", str(folder)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{folder}: {done.stderr.strip()}")
    return [resource for resource in yaml.safe_load_all(done.stdout) if resource]


def label(resource: Resource) -> str:
    """Kind and name, as kubectl would say it."""
    return f"{resource['kind']}/{resource['metadata']['name']}"


def schema_problems(resource: Resource) -> Iterator[str]:
    """What the schema of its kind says against a resource; an unknown kind is a problem too."""
    try:
        kubernetes_validate.validate(resource, KUBERNETES_VERSION, strict=True)
    except kubernetes_validate.ValidationError as error:
        yield f"{label(resource)}: {'.'.join(str(part) for part in error.path)}: {error.message}"
    except kubernetes_validate.SchemaNotFoundError:
        yield f"{label(resource)}: no such kind in Kubernetes {KUBERNETES_VERSION}: {resource.get('apiVersion')}"


def pod_problems(resource: Resource, config_maps: set[str]) -> Iterator[str]:
    """What is wrong with the pods of a workload."""
    spec = resource["spec"]
    template = spec["template"]
    wanted = spec["selector"]["matchLabels"].items()
    if not wanted <= template["metadata"]["labels"].items():
        yield "its selector does not match its pods' labels"
    pod = template["spec"]
    security = pod.get("securityContext", {})
    if not security.get("runAsNonRoot") or not isinstance(security.get("runAsUser"), int) or security["runAsUser"] == 0:
        yield "runs as root: runAsNonRoot and a numeric runAsUser are asked for"
    volumes = {volume["name"] for volume in pod.get("volumes", [])}
    volumes |= {claim["metadata"]["name"] for claim in spec.get("volumeClaimTemplates", [])}
    for volume in pod.get("volumes", []):
        secret = volume.get("secret", {}).get("secretName")
        if secret and not SECRET.fullmatch(secret):
            yield f"volume {volume['name']}: secret {secret} is not one that the operator is told to make"
    for container in pod["containers"]:
        yield from container_problems(container, volumes, config_maps)


def container_problems(container: Resource, volumes: set[str], config_maps: set[str]) -> Iterator[str]:
    """What is wrong with a container."""
    ports = {port["name"]: port["containerPort"] for port in container.get("ports", [])}
    for probe in PROBED:
        check = container.get(probe)
        if not check:
            yield f"container {container['name']}: no {probe}"
        elif "grpc" in check and check["grpc"]["port"] not in ports.values():
            yield f"container {container['name']}: {probe} asks port {check['grpc']['port']}, which is not open"
        elif "grpc" in check and check["grpc"].get("service") != PROBED[probe]:
            yield f"container {container['name']}: {probe} has to ask for {PROBED[probe]!r}"
        elif "httpGet" in check and check["httpGet"]["port"] not in ports:
            yield f"container {container['name']}: {probe} asks port {check['httpGet']['port']}, which is not open"
    for mount in container.get("volumeMounts", []):
        if mount["name"] not in volumes:
            yield f"container {container['name']}: mounts {mount['name']}, which is no volume"
    for source in container.get("envFrom", []):
        if source.get("configMapRef", {}).get("name") not in config_maps:
            yield f"container {container['name']}: envFrom names a config map that is not there"
    for variable in container.get("env", []):
        reference = variable.get("valueFrom", {}).get("secretKeyRef", {}).get("name")
        if reference and not SECRET.fullmatch(reference):
            yield f"container {container['name']}: {variable['name']}: unknown secret {reference}"
    resources = container.get("resources", {})
    for kind in ("requests", "limits"):
        for name, quantity in resources.get(kind, {}).items():
            if not QUANTITY.fullmatch(str(quantity)):
                yield f"container {container['name']}: {kind}.{name} is no quantity: {quantity}"
    if "memory" not in resources.get("limits", {}):
        yield f"container {container['name']}: no memory limit"
    security = container.get("securityContext", {})
    if security.get("allowPrivilegeEscalation") is not False or not security.get("readOnlyRootFilesystem"):
        yield f"container {container['name']}: may escalate privileges or write to its root"


def problems(resources: list[Resource]) -> list[str]:
    """Everything that is wrong with a set of rendered resources, a line each."""
    found = [problem for resource in resources for problem in schema_problems(resource)]
    config_maps = {resource["metadata"]["name"] for resource in resources if resource["kind"] == "ConfigMap"}
    pods = [resource for resource in resources if resource["kind"] in ("Deployment", "StatefulSet", "Job")]
    for resource in pods:
        found += [f"{label(resource)}: {problem}" for problem in pod_problems(resource, config_maps)]
    for resource in resources:
        if resource["kind"] != "Service":
            continue
        chosen = [
            pod
            for pod in pods
            if resource["spec"]["selector"].items() <= pod["spec"]["template"]["metadata"]["labels"].items()
        ]
        if len(chosen) != 1:
            found.append(f"{label(resource)}: selects {len(chosen)} workloads")
            continue
        containers = chosen[0]["spec"]["template"]["spec"]["containers"]
        open_ports = {port["name"] for container in containers for port in container.get("ports", [])}
        for port in resource["spec"]["ports"]:
            if port["targetPort"] not in open_ports:
                found.append(f"{label(resource)}: port {port['name']} goes to {port['targetPort']}, which is not open")
    return found


def main() -> None:
    """Check every kustomization named on the command line, or all below deploy/k8s."""
    folders = [Path(name) for name in sys.argv[1:]] or [
        path.parent for path in sorted((ROOT / "deploy" / "k8s").rglob("kustomization.yaml"))
    ]
    failed = False
    for folder in folders:
        resources = render(folder)
        found = problems(resources)
        failed = failed or bool(found)
        for problem in found:
            print(f"{folder.relative_to(ROOT) if folder.is_relative_to(ROOT) else folder}: {problem}", file=sys.stderr)
        if not found:
            print(f"{folder.relative_to(ROOT) if folder.is_relative_to(ROOT) else folder}: {len(resources)} resources")
    if failed:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
