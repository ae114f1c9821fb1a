"""A real Prometheus scrapes every service of a running town, and what it finds can be worked with.

Names follow Prometheus' conventions as promtool knows them, and no series is labelled by what has no bound.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import pytest_asyncio

from cli.demo.layout import SERVICES
from tests.support.prometheus import Prometheus, promtool, require_prometheus, running_prometheus
from tests.support.town import Town

ALL = (*SERVICES, "admin")
# Of these a town has as many as it likes: one series for each would be the end of any Prometheus.
UNBOUNDED = ("luminaire", "lamp", "meter", "cabinet", "gateway", "feeder", "group", "municipality", "device", "subject")

pytestmark = [
    pytest.mark.prometheus,
    pytest.mark.e2e,
    pytest.mark.timeout(300),
    pytest.mark.asyncio(loop_scope="module"),
]


@dataclass
class Watched:
    """A town, and the Prometheus that watches it."""

    town: Town
    prometheus: Prometheus
    targets: dict[str, str]

    async def exposition(self, service: str) -> str:
        """What a service says at /metrics to whoever asks for plain text."""
        async with httpx.AsyncClient(timeout=60) as client:
            answer = await client.get(f"http://{self.targets[service]}/metrics")
        assert answer.status_code == 200
        return answer.text

    async def until(self, what: str, expression: str, jobs: set[str]) -> dict[str, float]:
        """The samples of an expression, by job, once there is one for each of these jobs."""
        found: dict[str, float] = {}

        async def all_there() -> bool:
            found.clear()
            found.update(await self.prometheus.by_job(expression))
            return jobs <= set(found)

        await self.town.eventually(what, all_there)
        return found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def watched(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Watched]:
    """A small town with all its services, and a Prometheus that has scraped each of them."""
    require_prometheus()
    folder = tmp_path_factory.mktemp("prometheus")
    town = Town.make(folder / "town", speed=1, luminaires=40, cabinets=4, monitored=2, buildings=1)
    async with town:
        await town.start_everything()
        town.start("admin")
        ports = town.layout.ports
        targets = {service: f"127.0.0.1:{ports[f'{service}-metrics']}" for service in SERVICES}
        targets["admin"] = f"127.0.0.1:{ports['admin']}"
        async with running_prometheus(folder, targets) as prometheus:

            async def all_up() -> bool:
                return await prometheus.targets() == dict.fromkeys(targets, "up")

            await town.eventually(f"every target up, which are {sorted(targets)}", all_up)
            yield Watched(town, prometheus, targets)


async def test_every_service_is_up_and_tells_when_its_process_began(watched: Watched) -> None:
    up = await watched.until("up", "up", set(ALL))
    assert up == dict.fromkeys(ALL, 1.0)
    # Seconds since the begin of the process, by Prometheus' own clock: a restart is seen.
    age = await watched.until("ages", "time() - process_start_time_seconds", set(ALL))
    assert all(0 < seconds < 600 for seconds in age.values()), age


async def test_calls_are_counted_by_service_method_and_code(watched: Watched) -> None:
    calls = await watched.until("calls", "sum by (job) (lichtbuch_grpc_requests_total)", set(SERVICES))
    assert all(count > 0 for count in calls.values()), calls
    # The town was set up by calls; what the registry counted under OK it had answered.
    made = 'sum by (job) (lichtbuch_grpc_requests_total{method="CreateMunicipality",code="OK"})'
    assert await watched.until("what was made", made, {"registry"}) == {"registry": 1.0}
    slow = "histogram_quantile(0.99, sum by (job, le) (lichtbuch_grpc_request_duration_seconds_bucket))"
    quantiles = await watched.until("quantiles", slow, set(SERVICES))
    assert all(0 < quantiles[service] <= 30 for service in SERVICES), quantiles
    assert await watched.prometheus.query("rate(lichtbuch_grpc_requests_total[1m]) < 0") == []


async def test_health_and_loops_are_told_as_the_services_tell_them(watched: Watched) -> None:
    checks = await watched.until("checks", "min by (job) (lichtbuch_health_check_up)", set(SERVICES))
    assert set(checks) >= set(SERVICES)

    async def all_well() -> bool:
        return await watched.prometheus.query("lichtbuch_health_check_up == 0 or lichtbuch_loop_up == 0") == []

    await watched.town.eventually("every check of every service passes", all_well)
    speeds = await watched.until("speeds", "lichtbuch_clock_speed", set(SERVICES))
    assert {speeds[service] for service in SERVICES} == {1.0}


async def test_a_service_that_ends_is_seen_to_be_down_and_its_next_life_to_be_another(watched: Watched) -> None:
    started = 'process_start_time_seconds{job="scheduler"}'
    before = await watched.until("its life", started, {"scheduler"})
    watched.town.kill("scheduler")

    async def is_down() -> bool:
        return await watched.prometheus.by_job('up{job="scheduler"}') == {"scheduler": 0.0}

    await watched.town.eventually("Prometheus sees that the scheduler is gone", is_down)
    watched.town.start("scheduler")
    again = await watched.until("its next life", started, {"scheduler"})
    assert again["scheduler"] > before["scheduler"]


@pytest.mark.parametrize("service", ALL)
async def test_names_follow_the_conventions(watched: Watched, service: str) -> None:
    judged = await asyncio.to_thread(promtool, "check", "metrics", given=await watched.exposition(service))
    assert (judged.returncode, judged.stdout + judged.stderr) == (0, "")


async def test_no_series_is_labelled_by_what_has_no_bound(watched: Watched) -> None:
    assert set(await watched.prometheus.get("labels")).isdisjoint(UNBOUNDED)
    series: list[dict[str, str]] = await watched.prometheus.get("series", **{"match[]": '{job!=""}'})
    assert {one["job"] for one in series} == set(ALL)
    inventory: dict[str, Any] = watched.town.inventory
    ids = {str(thing["id"]) for kind in ("luminaires", "meters", "cabinets") for thing in inventory[kind]}
    assert not [one for one in series if ids & set(one.values())]
    # Today's whole town is a few hundred series for each service; a series per lamp would multiply that.
    per_job = await watched.prometheus.by_job('count by (job) ({job!=""})')
    assert max(per_job.values()) < 2_000, per_job
    assert not any(math.isnan(count) for count in per_job.values())
