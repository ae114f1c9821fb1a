"""Every alert says how bad it is, what it means and where help stands; and Prometheus' own tool has tested it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.prometheus import promtool, require_prometheus

ROOT = Path(__file__).resolve().parents[2]
RULES = sorted((ROOT / "deploy" / "monitoring").glob("*.rules.yml"))
ALERTS = [
    pytest.param(file, rule, id=rule["alert"])
    for file in RULES
    for group in yaml.safe_load(file.read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]
]


def headings(document: Path) -> set[str]:
    """The anchors of a document's headings."""
    lines = document.read_text(encoding="utf-8").splitlines()
    found = (line.lstrip("# ").lower() for line in lines if line.startswith("#"))
    return {re.sub(r"[^a-z0-9 -]", "", heading).replace(" ", "-") for heading in found}


@pytest.mark.parametrize(("file", "rule"), ALERTS)
def test_an_alert_tells_whoever_is_woken_by_it_what_to_do(file: Path, rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("critical", "warning", "info")
    assert rule["annotations"].keys() == {"summary", "description", "runbook"}
    document, _, anchor = rule["annotations"]["runbook"].partition("#")
    assert anchor in headings(ROOT / document)
    tests = file.with_name(file.name.replace(".rules.", ".test.")).read_text(encoding="utf-8")
    assert f"alertname: {rule['alert']}" in tests


@pytest.mark.prometheus
@pytest.mark.parametrize("file", RULES, ids=lambda file: file.name)
def test_prometheus_takes_the_rules_and_they_fire_as_they_should(file: Path) -> None:
    require_prometheus()
    checked = promtool("check", "rules", str(file))
    assert checked.returncode == 0, checked.stdout + checked.stderr
    tested = promtool("test", "rules", str(file.with_name(file.name.replace(".rules.", ".test."))))
    assert tested.returncode == 0, tested.stdout + tested.stderr
