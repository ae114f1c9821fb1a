"""One municipality as one person sees it, live: over real gRPC, with services that change, go and come back."""

from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from domain.errors import InvalidInput, NotPermitted
from lichtbuch.lighting.v1 import inventory_pb2
from lichtbuch.type.v1 import types_pb2
from servicekit.clock import SystemClock
from servicekit.tokens import StaticToken
from services.admin import town as town_module
from services.admin.clients import Clients
from services.admin.feed import Problem
from services.admin.lamps import Look
from services.admin.settings import AdminSettings
from services.admin.town import Town
from tests.services.admin import town_services
from tests.services.admin.town_services import PARENT, SERVICES, TownServices, name
from tests.support.waiting import eventually


async def token_of(issuer_url: str, username: str) -> str:
    form = {
        "grant_type": "password",
        "client_id": "lichtbuch-cli",
        "username": username,
        "password": f"demo-{username}",
    }
    async with httpx.AsyncClient(timeout=60) as http:
        answer = await http.post(f"{issuer_url}/token", data=form)
    token: str = answer.json()["access_token"]
    return token


class People:
    """Towns as this or that person sees them."""

    def __init__(self, services: TownServices, issuer_url: str) -> None:
        addresses = {f"{service}_address": services.address(service) for service in SERVICES}
        self._settings = AdminSettings(oidc_issuer=issuer_url, **addresses)  # type: ignore[arg-type]
        self._issuer_url = issuer_url
        self._open: list[tuple[Clients, Town]] = []

    async def town(self, username: str, municipality: str = PARENT) -> Town:
        """The town of a demonstration user, being looked at."""
        clients = Clients(self._settings, StaticToken(await token_of(self._issuer_url, username)))
        town = Town(municipality, clients, SystemClock())
        self._open.append((clients, town))
        town.enter()
        return town

    async def close(self) -> None:
        for clients, town in self._open:
            town.stop()
            await clients.close()


@pytest.fixture
async def people(services: TownServices, issuer_url: str) -> AsyncIterator[People]:
    people = People(services, issuer_url)
    yield people
    await people.close()


async def test_the_first_picture_is_complete(people: People) -> None:
    town = await people.town("viewer")
    await eventually(lambda: town.live.value is not None)
    assert town.table.counts().lit == 6
    assert [group.display_name for group in town.inventory.value.groups] == ["Wohngebiete"]  # type: ignore[union-attr]
    await eventually(lambda: all(feed.value is not None for feed in town.feeds))
    assert town.away == ()


async def test_changes_come_by_the_stream_and_only_they_count_as_changed(
    people: People, services: TownServices
) -> None:
    town = await people.town("viewer")
    await eventually(lambda: town.live.value is not None)
    seen = town.table.revision
    for level in (900, 700, 500):
        await services.town.show(["L-0002", "L-0005"], actual=level)
    await eventually(lambda: town.table.counts().dimmed == 2 and town.table.state(1).actual_permille == 500)
    assert town.table.since(seen).tolist() == [1, 4]
    assert services.town.watches == 1


async def test_a_service_that_goes_away_and_comes_back_is_followed_again(
    people: People, services: TownServices
) -> None:
    town = await people.town("viewer")
    await eventually(lambda: town.live.value is not None and town.overrides.value is not None)
    await services.stop("lighting")
    await eventually(lambda: town.live.problem is Problem.AWAY)
    assert town.away == ("lighting",)
    assert town.table.counts().lit == 6
    services.town.states["L-0003"].update(actual=0, due=0)
    await services.start("lighting")
    await eventually(lambda: town.table.counts().off == 1)
    assert town.live.problem is None


async def test_a_lamp_that_was_not_there_before_comes_with_a_new_inventory(
    people: People, services: TownServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(town_module, "RELOAD_AFTER_S", 0.0)
    town = await people.town("viewer")
    await eventually(lambda: town.live.value is not None)
    before = town.table
    services.town.luminaires.append(
        inventory_pb2.Luminaire(
            name=name("luminaires", "L-0007"), position=types_pb2.Position(latitude_deg=50.9, longitude_deg=9.7)
        )
    )
    await services.town.show(["L-0007"], actual=400)
    await eventually(lambda: town.table is not before and town.table.counts().dimmed == 1)
    assert town.table.state(6).look is Look.DIMMED
    assert town.table.counts().lit == 6


async def test_who_may_not_see_the_lamps_sees_none_and_is_told_so(people: People) -> None:
    town = await people.town("contractor")
    await eventually(lambda: town.inventory.problem is Problem.DENIED and town.live.problem is Problem.DENIED)
    assert len(town.table.lamps) == 0
    await eventually(lambda: town.facts.value is not None)


async def test_another_towns_person_gets_nothing(people: People) -> None:
    town = await people.town("operator", "municipalities/schwalmstadt")
    await eventually(lambda: all(feed.problem is Problem.DENIED for feed in town.feeds))


@pytest.mark.parametrize(("username", "may"), [("operator", True), ("viewer", False), ("auditor", False)])
async def test_the_page_finds_out_who_may_override(people: People, username: str, may: bool) -> None:
    town = await people.town(username)
    await eventually(lambda: town.may_override.value is not None)
    assert town.may_override.value is may


async def test_finding_out_changes_nothing(people: People, services: TownServices) -> None:
    town = await people.town("operator")
    await eventually(lambda: town.may_override.value is True)
    assert services.town.calls == []


async def test_an_override_runs_on_the_persons_own_token(people: People, services: TownServices) -> None:
    town = await people.town("operator")
    ends = datetime.now(UTC) + timedelta(hours=1)
    made = await town.set_level([name("groups", "residential")], 300, ends, "market", "request-1")
    assert made.author == town_services.OPERATOR
    assert services.town.calls == [f"CreateOverride {town_services.OPERATOR}"]
    assert [item.reason for item in town.overrides.value or ()] == ["market"]
    await eventually(lambda: town.table.counts().dimmed == 6)
    await town.release(made.name, "")
    assert town.overrides.value == ()


async def test_the_server_decides_whatever_the_page_shows(people: People) -> None:
    town = await people.town("viewer")
    ends = datetime.now(UTC) + timedelta(hours=1)
    with pytest.raises(NotPermitted):
        await town.set_level([PARENT], 300, ends, "market", "request-1")
    operator = await people.town("operator")
    with pytest.raises(InvalidInput) as refused:
        await operator.set_level([PARENT], 300, ends + timedelta(days=40), "market", "request-2")
    assert [violation.field for violation in refused.value.violations] == ["override.expire_time"]


async def test_meters_come_with_coverage_and_consumption_of_their_day(people: People, services: TownServices) -> None:
    services.town.gaps["M-002"] = 8
    town = await people.town("viewer")
    await eventually(lambda: town.meters.value is not None)
    first, second = town.meters.value or ()
    assert (first.place, first.latest_value, first.day_amount, first.coverage) == ("C-001", 1_234_500, 12_300, 1000)
    assert (second.place, second.coverage) == ("Rathaus", 916)


async def test_the_overview_asks_for_figures_once_a_quarter_hour_and_never_for_readings(
    people: People, services: TownServices
) -> None:
    town = await people.town("viewer")
    await eventually(lambda: town.meters.value is not None)
    before = Counter(services.town.asked)
    await town.meters.refresh_anew()
    after = Counter(services.town.asked)
    assert after["ListMeters"] > before["ListMeters"]
    assert after["QueryConsumption"] == before["QueryConsumption"] == 1
    assert after["ListReadings"] == 0


async def test_nobody_watches_when_nobody_looks(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(town_module, "LINGER_S", 0.01)
    town = await people.town("viewer")
    town.enter()
    town.leave()
    await eventually(lambda: town.live.value is not None)
    tasks = list(town._tasks)
    assert tasks
    town.leave()
    await eventually(lambda: not town._tasks and all(task.done() for task in tasks))
