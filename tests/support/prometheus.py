"""A real Prometheus server for tests: configured with promtool's consent, started on loopback, asked over its HTTP API.

Absent, it is a reason to skip; in CI to fail. `make system-packages` installs it.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.ports import free_port

SCRAPE_EVERY_S = 1
START_WITHIN_S = 90


def require_prometheus() -> None:
    """Skip the test where Prometheus is not installed; in CI fail it."""
    missing = [tool for tool in ("prometheus", "promtool") if shutil.which(tool) is None]
    if missing:
        reason = f"not installed: {', '.join(missing)} (`make system-packages` as root installs them)"
        if os.environ.get("CI", "").lower() in ("1", "true"):
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)


def configuration(targets: Mapping[str, str]) -> str:
    """A prometheus.yml with one job per service: name to "host:port". JSON, which is YAML too."""
    jobs = [{"job_name": name, "static_configs": [{"targets": [target]}]} for name, target in targets.items()]
    timing = {"scrape_interval": f"{SCRAPE_EVERY_S}s", "scrape_timeout": f"{SCRAPE_EVERY_S}s"}
    return json.dumps({"global": timing, "scrape_configs": jobs}, indent=2)


def promtool(*arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
    """Runs promtool and gives what it said."""
    return subprocess.run(
        ["promtool", *arguments], input=given, capture_output=True, text=True, check=False, timeout=60
    )


class Prometheus:
    """A running server."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def get(self, path: str, **query: str | list[str]) -> Any:
        """What the HTTP API answers to /api/v1/PATH. Fails where it refuses the question."""
        answer = await self._client.get(f"/api/v1/{path}", params=query)
        body = answer.json()
        assert body["status"] == "success", f"{path} {query}: {body.get('error')}"
        return body["data"]

    async def targets(self) -> dict[str, str]:
        """Every target by its job: "up", or what its scrape ended in."""
        active = (await self.get("targets", state="active"))["activeTargets"]
        return {
            target["labels"]["job"]: "up" if target["health"] == "up" else f"{target['health']}: {target['lastError']}"
            for target in active
        }

    async def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """An instant vector: labels and value of each sample."""
        data = await self.get("query", query=expression)
        assert data["resultType"] == "vector", f"{expression} gives a {data['resultType']}"
        return [(sample["metric"], float(sample["value"][1])) for sample in data["result"]]

    async def by_job(self, expression: str) -> dict[str, float]:
        """An instant vector with one sample per job."""
        samples = await self.query(expression)
        found = {labels["job"]: value for labels, value in samples}
        assert len(found) == len(samples), f"{expression} gives several samples for one job"
        return found

    async def ready(self) -> bool:
        """Whether it answers yet."""
        try:
            return (await self._client.get("/-/ready")).status_code == 200
        except httpx.TransportError:
            return False


@asynccontextmanager
async def running_prometheus(folder: Path, targets: Mapping[str, str]) -> AsyncIterator[Prometheus]:
    """A server that scrapes the targets every second, its storage in `folder`."""
    file = folder / "prometheus.yml"
    file.write_text(configuration(targets), encoding="utf-8")
    judged = promtool("check", "config", str(file))
    assert judged.returncode == 0, judged.stdout + judged.stderr
    port = free_port()
    arguments = [f"--config.file={file}", f"--storage.tsdb.path={folder / 'storage'}"]
    arguments += [f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"]
    with (folder / "prometheus.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec("prometheus", *arguments, cwd=folder, stdout=log, stderr=log)
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=10) as client:
            server = Prometheus(client)

            async with asyncio.timeout(START_WITHIN_S):
                while not await server.ready():
                    assert process.returncode is None, (folder / "prometheus.log").read_text(errors="replace")
                    await asyncio.sleep(0.1)
            yield server
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
