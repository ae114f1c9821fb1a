"""The Kubernetes manifests are right, and the checker finds what schemas let pass."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tools import manifests

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def rendered() -> list[dict[str, Any]]:
    import os

    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return manifests.render(ROOT / "deploy" / "k8s" / "base")


def test_every_service_is_deployed_and_nothing_is_wrong(rendered: list[dict[str, Any]]) -> None:
    assert manifests.problems(rendered) == []
    workloads = {item["metadata"]["name"]: item["kind"] for item in rendered if "template" in item.get("spec", {})}
    services = {path.parent.name for path in (ROOT / "services").glob("*/__main__.py")}
    assert services <= set(workloads)
    # What must survive the loss of a pod is kept on a volume.
    assert {workloads[name] for name in ("lighting", "metering", "ledger")} == {"StatefulSet"}


def pod(resources: list[dict[str, Any]], name: str) -> dict[str, Any]:
    found = next(item for item in resources if item["metadata"]["name"] == name and "template" in item.get("spec", {}))
    return found["spec"]["template"]  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (lambda pod: pod["metadata"]["labels"].update({"app.kubernetes.io/name": "other"}), "does not match"),
        (lambda pod: pod["spec"]["securityContext"].pop("runAsUser"), "runs as root"),
        (lambda pod: pod["spec"]["containers"][0].pop("readinessProbe"), "no readinessProbe"),
        (lambda pod: pod["spec"]["containers"][0]["livenessProbe"]["grpc"].update(port=1), "which is not open"),
        (lambda pod: pod["spec"]["containers"][0]["startupProbe"]["grpc"].update(service="ready"), "ask for 'live'"),
        (lambda pod: pod["spec"]["containers"][0]["resources"]["limits"].update(memory="256Mib"), "no quantity"),
        (lambda pod: pod["spec"]["containers"][0]["envFrom"][0]["configMapRef"].update(name="gone"), "not there"),
        (lambda pod: pod["spec"]["containers"][0].update(imagePolicy="Always"), "imagePolicy"),
    ],
)
def test_a_spoiled_manifest_is_found(
    rendered: list[dict[str, Any]], spoil: Callable[[dict[str, Any]], object], problem: str
) -> None:
    spoiled = copy.deepcopy(rendered)
    spoil(pod(spoiled, "registry"))
    assert any(problem in line for line in manifests.problems(spoiled))
