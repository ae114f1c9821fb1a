"""The manifests give each service settings that it knows and accepts: a misspelt one would be ignored in silence."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from servicekit.settings import ServiceSettings, load_settings, split_address, variable_of
from tests.support.certificates import Authority
from tools import manifests
from tools.settings_table import SERVICES, settings_class

ROOT = Path(__file__).resolve().parents[2]
SECRETS = {"database-url": "postgresql://user:word@postgres/lichtbuch", "client-secret": "s" * 32}


@pytest.fixture(scope="module")
def rendered() -> list[dict[str, Any]]:
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return manifests.render(ROOT / "deploy" / "k8s" / "base")


def container(rendered: list[dict[str, Any]], service: str) -> dict[str, Any]:
    workload = next(
        item for item in rendered if item["metadata"]["name"] == service and "template" in item.get("spec", {})
    )
    found: dict[str, Any] = workload["spec"]["template"]["spec"]["containers"][0]
    return found


def own_variables(rendered: list[dict[str, Any]], service: str) -> dict[str, str]:
    """What the container of a service is given beside what all are; secrets are made up."""
    variables = {}
    for variable in container(rendered, service).get("env", []):
        secret = variable.get("valueFrom", {}).get("secretKeyRef", {}).get("key")
        variables[variable["name"]] = SECRETS.get(secret, "s" * 64) if secret else variable["value"]
    return variables


def shared_variables(rendered: list[dict[str, Any]]) -> dict[str, str]:
    found: dict[str, str] = next(item["data"] for item in rendered if item["kind"] == "ConfigMap")
    return found


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_knows_and_takes_the_settings_of_its_manifest(
    rendered: list[dict[str, Any]], service: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = settings_class(service)
    known = {variable_of(field, model) for field in model.model_fields}
    own, shared = own_variables(rendered, service), shared_variables(rendered)
    assert set(own) <= known
    assert set(shared) <= {variable_of(field) for field in ServiceSettings.model_fields}

    authority = Authority(tmp_path)
    pair = authority.issue(service)
    mounted = {"tls.crt": pair.certificate, "tls.key": pair.key, "ca.crt": authority.file}
    for name in [name for name in os.environ if name.startswith("LICHTBUCH_")]:
        monkeypatch.delenv(name)
    for name, value in (shared | own).items():
        folder, _, file = value.rpartition("/")
        monkeypatch.setenv(name, str(mounted[file]) if folder == "/etc/lichtbuch/tls" else value)
    settings = load_settings(model)

    ports = {port["name"]: port["containerPort"] for port in container(rendered, service)["ports"]}
    if service != "admin":
        listening = {"grpc": settings.listen, "health": settings.health_listen, "metrics": settings.metrics_listen}
        assert {name: split_address(address, lowest_port=1)[1] for name, address in listening.items()} == ports
