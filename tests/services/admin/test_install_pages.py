"""Installations entered and put right on the page of a meter, as simulated people see it, over real gRPC."""

from datetime import UTC, datetime, timedelta
from typing import Any

from nicegui import ElementFilter
from nicegui.testing import User

from lichtbuch.metering.v1 import metering_pb2
from servicekit.convert import timestamp_to_proto
from tests.services.admin.application import Application
from tests.services.admin.meter_pages import DE, EN, METERS, eventually, newest, sees, tells
from tests.services.admin.test_planning_pages import visible
from tests.services.admin.town_book import BERLIN
from tests.services.admin.town_buildings import metered, name
from tests.services.admin.town_services import ADMIN, OPERATOR, Town, TownServices


def stored(town: Town, identity: str) -> metering_pb2.Meter:
    return next(each for each in town.meters if each.name == name(identity))


async def opened(user: User) -> None:
    """Opens the dialog, once it is offered."""
    await eventually(lambda: visible(user, "install"))
    user.find(marker="install").click()
    await eventually(lambda: visible(user, "install-now"))


def field(user: User, marker: str) -> Any:
    """A field of the dialog that was opened last."""
    return newest(user, marker).elements.copy().pop()


def save(user: User) -> None:
    newest(user, "install-now").click()


async def blamed(user: User, marker: str, *parts: str) -> None:
    """Waits for what is said at a field."""
    for part in parts:
        await eventually(lambda part=part: part in str(field(user, marker).error))  # type: ignore[misc]


async def test_who_works_with_meters_says_when_one_was_hung_up_and_what_it_showed(
    application: Application, town: Town
) -> None:
    metered(town)
    meter = stored(town, "W-1")
    meter.lives.add(uid="7", unit=metering_pb2.UNIT_L, serial_number="8SEN0023", transformer_ratio=1)
    user = await application.open("operator", f"{METERS}/W-1")
    await opened(user)
    save(user)
    await blamed(user, "install-at", DE["error_required"])
    await blamed(user, "install-first", DE["install_first_required"])
    field(user, "install-at").value = "2015-06-01T12:00"
    field(user, "install-first").value = "zwölf"
    save(user)
    await blamed(user, "install-first", DE["error_counter"].format(digits=3))
    field(user, "install-first").value = "12,5"
    field(user, "install-reason").value = "Montagebericht"
    save(user)
    await sees(user, DE["saved_done"])
    await tells(user, "meter-lives", "Mo 1.6.2015", "Anfang 12,5 m³")
    assert meter.installed_at.ToDatetime(tzinfo=UTC) == datetime(2015, 6, 1, 10, 0, tzinfo=UTC)
    assert (meter.first_reading, town.calls) == (12_500, [f"InstallMeter {OPERATOR}"])
    assert [each.reason for each in town.book.requests.values()] == ["Montagebericht"]


async def test_what_the_service_refuses_is_said_at_the_field_in_numbers_of_the_meter(
    application: Application, town: Town
) -> None:
    last = metered(town)
    user = await application.open("operator", f"{METERS}/W-1")
    await opened(user)
    field(user, "install-at").value = "2015-06-01T12:00"
    field(user, "install-first").value = "2.000"
    save(user)
    await blamed(user, "install-first", "2.000,000 m³ ist mehr als 900,000 m³, abgelesen ")
    later = (last - timedelta(days=1)).astimezone(BERLIN)
    field(user, "install-at").value = later.strftime("%Y-%m-%dT%H:%M")
    save(user)
    await blamed(user, "install-at", "da hing er schon")
    assert not field(user, "install-first").error
    field(user, "install-at").value = "2099-01-01T00:00"
    save(user)
    await blamed(user, "install-at", DE["error_future"])
    assert town.calls == []


async def test_a_housing_is_put_right_with_its_registers_in_numbers_of_its_first_meter(
    application: Application, town: Town
) -> None:
    last = metered(town)
    meter, register = stored(town, "R-1"), stored(town, "R-1-EIN")
    hung = last - timedelta(days=900, seconds=-7)
    meter.installed_at.CopyFrom(timestamp_to_proto(hung))
    user = await application.open("admin", f"{METERS}/R-1", "de")
    await sees(user, DE["install_again"])
    await opened(user)
    await tells(user, "install-which", "1EMH0001")
    assert field(user, "install-first").value == "0,000"
    assert field(user, "install-at").value == hung.astimezone(BERLIN).strftime("%Y-%m-%dT%H:%M")
    await tells(user, "install-register-whose", "R-1-EIN Einspeisung")
    assert "R-1-EIN Einspeisung" in str(field(user, "install-register").props["aria-label"])
    field(user, "install-first").value = "1,5"
    save(user)
    await blamed(user, "install-register", DE["install_first_required"])
    field(user, "install-register").value = "9.000"
    save(user)
    await blamed(user, "install-register", "9.000,000 kWh ist mehr als 760,000 kWh, abgelesen ")
    assert not field(user, "install-first").error
    field(user, "install-register-unit").value = 1
    field(user, "install-register").value = "0,002"
    save(user)
    await eventually(lambda: town.calls == [f"InstallMeter {ADMIN}"])
    # Seconds of an instant that nobody touched stay, and the first transformer counted twenty times.
    assert meter.installed_at.ToDatetime(tzinfo=UTC) == hung
    assert (meter.first_reading, register.first_reading) == (30_000, 2_000)
    await tells(user, "meter-lives", "am Zähler 1,5")
    await opened(user)
    assert (field(user, "install-first").value, field(user, "install-register").value) == ("1,500", "2,000")
    save(user)
    await eventually(lambda: len(town.calls) == 2)
    assert (meter.first_reading, register.first_reading) == (30_000, 2_000)


async def test_a_sensor_has_a_date_alone(application: Application, town: Town) -> None:
    metered(town)
    user = await application.open("admin", "/en/bad-hersfeld/meters/T-1", "en")
    await sees(user, EN["install"])
    await opened(user)
    assert not visible(user, "install-first")
    field(user, "install-at").value = "2024-01-01T08:15"
    save(user)
    await sees(user, EN["install_again"])
    meter = stored(town, "T-1")
    assert meter.installed_at.ToDatetime(tzinfo=UTC) == datetime(2024, 1, 1, 7, 15, tzinfo=UTC)
    assert not meter.HasField("first_reading")


async def test_an_installation_that_nobody_answered_is_sent_again_and_recorded_once(
    application: Application, town: Town, services: TownServices
) -> None:
    metered(town)
    user = await application.open("operator", f"{METERS}/W-1")
    await opened(user)
    field(user, "install-at").value = "2015-06-01T12:00"
    field(user, "install-first").value = "0"
    await services.stop("metering")
    save(user)
    await sees(user, DE["error_away"].format(service=DE["metering"]))
    await services.start("metering")

    def is_recorded() -> bool:
        if town.calls == [f"InstallMeter {OPERATOR}"]:
            return True
        if field(user, "install-now").enabled:
            save(user)
        return False

    await eventually(is_recorded)
    await sees(user, DE["install_again"])
    assert town.calls == [f"InstallMeter {OPERATOR}"]


async def test_it_is_offered_to_whom_the_service_lets_for_what_hangs_by_itself(
    application: Application, town: Town
) -> None:
    metered(town)
    for who, identity, shown in (
        ("viewer", "W-1", False), ("operator", "R-1-EIN", False), ("operator", "V-1", False), ("operator", "O-1", True),
    ):  # fmt: skip
        user = await application.open(who, f"{METERS}/{identity}")
        await tells(user, "meter-title", stored(town, identity).display_name)
        await eventually(lambda user=user, shown=shown: visible(user, "install") is shown)  # type: ignore[misc]
        with user:
            assert bool(list(ElementFilter(marker="install"))) is True
