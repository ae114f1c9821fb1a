"""The images are built and run for real: as nobody in particular, on a root that cannot be written, without privileges.

Each service starts, tells its health where probes ask, writes to its data folder only, and drains on SIGTERM.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import httpx
import pytest

from cli.demo.seed import healthy, until_answering
from tests.support.containers import NOBODY, Container, Podman, build_images, require_containers
from tests.support.town import free_ports
from tools.locks import GROUPS

SERVICES: Final = ("registry", "lighting", "scheduler", "metering", "ledger")
MAX_MEGABYTES: Final = 450

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def podman(tmp_path_factory: pytest.TempPathFactory) -> Podman:
    """podman, with the images of all groups built from the work tree."""
    require_containers()
    build_images(GROUPS)
    return Podman(tmp_path_factory.mktemp("podman"))


async def answering(what: str, container: Container, ask: Callable[[], Awaitable[bool]]) -> None:
    """Waits until the container answers; fails with its last words if it ends before."""

    async def still_there() -> bool:
        assert await asyncio.to_thread(container.is_running), container.logs()
        return await ask()

    await until_answering(what, still_there, 90)


@pytest.mark.parametrize("group", GROUPS)
def test_an_image_is_for_nobody_in_particular_and_holds_no_tools(podman: Podman, group: str) -> None:
    image = podman.image(group)
    assert image["Config"]["User"] == f"{NOBODY}:{NOBODY}"
    assert image["Labels"]["org.opencontainers.image.title"] == f"lichtbuch-{group}"
    assert image["Size"] / 1e6 < MAX_MEGABYTES
    looked = podman(
        "run", "--rm", "--network=none", "--entrypoint=/bin/sh", f"localhost/lichtbuch-{group}",
        "-c", "command -v pip perl gcc make git; find / -xdev -perm -4000 -user 10001; find /opt -writable",
    )  # fmt: skip
    assert looked.stdout == ""


@pytest.mark.parametrize("service", SERVICES)
async def test_a_service_runs_without_privileges_and_writes_to_its_data_only(
    podman: Podman, service: str, tmp_path: Path
) -> None:
    ports = free_ports()
    grpc, health, metrics = (f"127.0.0.1:{ports[name]}" for name in ("registry", "lighting", "registry-metrics"))
    given = {"LISTEN": grpc, "HEALTH_LISTEN": health, "METRICS_LISTEN": metrics}
    with podman.running(service, tmp_path / "data", {f"LICHTBUCH_{k}": v for k, v in given.items()}) as container:
        await answering(f"{service} lives", container, lambda: healthy(health, "live"))
        await answering(f"{service} is ready", container, lambda: healthy(health, "ready"))
        status = dict(
            line.split(":\t", 1) for line in container.shell("cat /proc/1/status").splitlines() if ":\t" in line
        )
        assert status["Uid"].split() == [str(NOBODY)] * 4
        assert (int(status["CapEff"], 16), status["NoNewPrivs"]) == (0, "1")
        assert container.shell("tr '\\0' ' ' < /proc/1/cmdline") == f"python -m services.{service} "
        refusal = container.shell("for place in / /tmp /etc /opt/lichtbuch; do touch $place/x; done")
        assert refusal.count("Read-only file system") == 4, refusal
        assert container.stop() == 0, container.logs()
        assert container.changed_files() == []
    written = [path for path in (tmp_path / "data").rglob("*") if path.is_file()]
    assert any(path.name == f"{service}.db" for path in written)
    assert {os.stat(path).st_uid for path in written} == {NOBODY}


async def test_migrations_run_as_a_job_of_the_same_image(podman: Podman, tmp_path: Path) -> None:
    job = {"LICHTBUCH_MODULE": "servicekit.migrate"}
    with podman.running("registry", tmp_path / "data", job, "registry") as container:
        podman("wait", container.id)
        assert container.logs() == "registry: the schema is up to date\n"
        assert container.stop() == 0


async def test_the_web_page_answers_its_probe(podman: Podman, tmp_path: Path) -> None:
    address = f"127.0.0.1:{free_ports()['admin']}"
    with podman.running("admin", tmp_path / "data", {"LICHTBUCH_ADMIN_LISTEN": address}) as container:
        async with httpx.AsyncClient() as client:

            async def up() -> bool:
                return (await client.get(f"http://{address}/healthz")).status_code in (200, 503)

            await answering("the web UI", container, up)
        assert container.stop() == 0, container.logs()
        assert container.changed_files() == []


async def test_the_simulator_runs_a_town(podman: Podman, tmp_path: Path) -> None:
    port = str(free_ports()["simulator"])
    sizes = ("--luminaires", "20", "--cabinets", "2", "--monitored", "1", "--buildings", "1")
    ports = ("--port", port, "--modbus-port", "0", "--opcua-port", "0")
    with podman.running("simulator", tmp_path / "data", {}, *sizes, *ports) as container:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:

            async def up() -> bool:
                return (await client.get("/healthz")).status_code == 200

            await answering("the simulator", container, up)
            town = (await client.get("/town")).json()
        assert len(town["luminaires"]) == 20
        assert container.stop() == 0, container.logs()
        assert container.changed_files() == []


def test_the_command_says_what_it_can_do(podman: Podman) -> None:
    done = podman("run", "--rm", "--read-only", "--network=none", "localhost/lichtbuch-cli", "--help")
    assert "ledger" in done.stdout
