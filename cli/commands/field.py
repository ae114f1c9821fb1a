"""lichtbuch field scan|read|write|watch|identify: a fitter's laptop against a device. Offline of all services.

Nothing here asks a running installation: what is written bypasses owner, floor and audit. So every write asks first.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar
from urllib.parse import parse_qsl, urlencode

import typer

from cli import parsing
from cli.errors import PARTIAL, REFUSED, UNREACHABLE
from cli.options import Json
from cli.output import console, enum_word, note, print_json, print_json_line, print_rows
from domain.errors import InvalidInput, LichtbuchError, RetryableError
from fieldbus.device import Device
from fieldbus.profile import Profile
from fieldbus.profile_loader import load_profile, load_profile_file, profile_names
from fieldbus.values import PointAddress, Quality, ValueBatch, WriteOutcome, WriteResult
from fieldbus.vocabulary import PointType, Scope

if TYPE_CHECKING:
    from fieldbus.client import Fieldbus

app = typer.Typer(help="Talk to a field device directly.", no_args_is_help=True)

T = TypeVar("T")
ProfileOption = Annotated[
    str, typer.Option("--profile", "-P", help="Device profile: a shipped name (`field profiles`) or a TOML file.")
]
Url = Annotated[str, typer.Argument(metavar="URL", help="modbus+tcp://host:port?unit=1, opc.tcp://host:port/path")]
Unit = Annotated[int | None, typer.Option("--unit", min=0, max=255, help="Modbus unit; overrides the one in the URL.")]
Index = Annotated[
    str,
    typer.Option("--index", help="Gear, channel or group numbers: 0, 0-7, 1,4,9. Default: all that the profile has."),
]
WARNING = "This writes to the device itself: it bypasses the owner, the floors and the audit of a running installation."


def now() -> datetime:
    """Real time: a device on a bench knows no other."""
    return datetime.now(UTC)


def profile_of(given: str) -> Profile:
    """A shipped profile by name, or one from a file."""
    return load_profile_file(Path(given)) if given.endswith(".toml") else load_profile(given)


def with_unit(url: str, unit: int | None) -> str:
    """The URL with another unit."""
    if unit is None:
        return url
    base, _, query = url.partition("?")
    parameters = dict(parse_qsl(query)) | {"unit": str(unit)}
    return f"{base}?{urlencode(parameters)}"


def indexes(text: str, field: str = "index") -> list[int] | None:
    """Numbers and ranges as people write them; None for an empty text. Raises InvalidInput."""
    if not text:
        return None
    found: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        try:
            low, high = int(first), int(last) if dash else int(first)
        except ValueError:
            raise InvalidInput.of(field, f"{part.strip()!r} is no number or range") from None
        if not 0 <= low <= high <= 4095:
            raise InvalidInput.of(field, f"{part.strip()!r} is no range within 0 to 4095")
        found += range(low, high + 1)
    return sorted(set(found))


def open_fieldbus() -> Fieldbus:
    """Devices on this laptop's lines. The drivers are loaded here: other commands start without them."""
    from fieldbus.client import Fieldbus

    return Fieldbus(now=now)


def on_device(url: str, profile: Profile, work: Callable[[Device], Awaitable[T]]) -> T:
    """Run `work` with a device and close it."""

    async def run() -> T:
        fieldbus = open_fieldbus()
        try:
            return await work(fieldbus.open(url, profile))
        finally:
            await fieldbus.close()

    return asyncio.run(run())


def readable_points(profile: Profile, chosen: list[int] | None) -> list[PointAddress]:
    """Every point that the profile can read, indexed ones for the chosen numbers or all of their range."""
    found: list[PointAddress] = []
    for name, binding in profile.points.items():
        if not profile.readable(name):
            continue
        if binding.scope is Scope.DEVICE or binding.index_range is None:
            found.append(PointAddress(name))
            continue
        if chosen is not None and binding.scope in (Scope.LINE, Scope.GROUP):
            continue  # the numbers mean gear and channels
        low, high = binding.index_range
        numbers = range(low, high + 1) if chosen is None else [number for number in chosen if low <= number <= high]
        found += [PointAddress(name, number) for number in numbers]
    return found


def value_rows(profile: Profile, batch: ValueBatch) -> list[dict[str, Any]]:
    """A batch as rows: point, value, unit, quality, time and whose time it is."""
    rows = []
    for row, address in enumerate(batch.points):
        point = profile.points[address.point].point
        value: float | int | bool | str | None = float(batch.values[row])
        if isinstance(value, float) and math.isnan(value):
            value = None
        elif point.type is PointType.BOOLEAN:
            value = bool(value)
        elif isinstance(value, float) and value.is_integer():
            value = int(value)
        rows.append(
            {
                "point": address.point,
                "index": address.index,
                "value": value,
                "unit": point.unit,
                "quality": Quality(int(batch.quality[row])).name.lower(),
                "observed_at": datetime.fromtimestamp(int(batch.observed_at[row]) / 1000, UTC).isoformat(),
                "time_of": "device" if int(batch.time_source[row]) == 1 else "ours",
            }
        )
    return rows


def exit_for(batch: ValueBatch) -> int:
    """0 when everything was read, 3 for a part, 4 for nothing."""
    if batch.complete:
        return 0
    return PARTIAL if bool(batch.good.any()) else UNREACHABLE


@app.command("profiles")
def list_profiles(as_json: Json = False) -> None:
    """List the device profiles that come with Lichtbuch."""
    rows = []
    for name in profile_names():
        profile = load_profile(name)
        rows.append(
            {
                "profile": name,
                "kind": profile.kind,
                "product": f"{profile.vendor} {profile.product}".strip(),
                "protocol": profile.protocol.value,
                "points": len(profile.points),
            }
        )
    print_rows(rows, as_json)


@app.command("scan")
def scan(
    url: Url,
    units: Annotated[str, typer.Option(help="Modbus units to ask, e.g. 1-10.")] = "1-4",
    as_json: Json = False,
) -> None:
    """Ask what answers at an address: identity by Modbus function 0x2B, or the OPC UA server's build information."""
    opcua = url.startswith("opc.tcp:")
    profile = load_profile("opcua-lamp" if opcua else "eastron-sdm630")

    async def ask() -> list[dict[str, Any]]:
        fieldbus, rows = open_fieldbus(), []
        try:
            for unit in [None] if opcua else indexes(units, "units") or [1]:
                row: dict[str, Any] = {
                    "unit": unit,
                    "answers": True,
                    "vendor": "",
                    "product": "",
                    "revision": "",
                    "note": "",
                }
                try:
                    identity = await fieldbus.open(with_unit(url, unit), profile).identify()
                    row |= {"vendor": identity.vendor, "product": identity.product, "revision": identity.revision}
                except RetryableError as error:
                    row |= {"answers": False, "note": str(error)}
                except LichtbuchError as error:
                    row |= {"note": str(error)}
                rows.append(row)
        finally:
            await fieldbus.close()
        return rows

    rows = asyncio.run(ask())
    print_rows(rows, as_json)
    if not any(row["answers"] for row in rows):
        note(f"nothing answers at {url}: check address, port, cable and whether another master holds the connection")
        raise typer.Exit(UNREACHABLE)


@app.command("read")
def read(
    url: Url,
    profile_name: ProfileOption,
    unit: Unit = None,
    index: Index = "",
    point: Annotated[list[str] | None, typer.Option("--point", help="Only this point; repeat it.")] = None,
    as_json: Json = False,
) -> None:
    """Read all points of a device. Exit code 0: all read, 3: a part, 4: nothing answered."""
    profile = profile_of(profile_name)
    addresses = _chosen(profile, index, point)
    batch = on_device(with_unit(url, unit), profile, lambda device: device.read(addresses))
    print_rows(value_rows(profile, batch), as_json)
    code = exit_for(batch)
    if code == UNREACHABLE:
        note("nothing was read: check address, unit and profile; `lichtbuch field scan` shows what answers")
    raise typer.Exit(code)


def _chosen(profile: Profile, index: str, points: list[str] | None) -> list[PointAddress]:
    addresses = readable_points(profile, indexes(index))
    if points:
        unknown = sorted(set(points) - {address.point for address in addresses})
        if unknown:
            readable = ", ".join(sorted({address.point for address in addresses}))
            raise InvalidInput.of("point", f"{unknown[0]!r} is not readable with {profile.name}; there are {readable}")
        addresses = [address for address in addresses if address.point in points]
    if not addresses:
        raise InvalidInput.of("index", f"profile {profile.name} has no point with such a number")
    return addresses


@app.command("watch")
def watch(
    url: Url,
    profile_name: ProfileOption,
    unit: Unit = None,
    index: Index = "",
    interval: Annotated[
        float, typer.Option(min=0.1, help="Seconds between looks, for protocols that are polled.")
    ] = 1.0,
    seconds: Annotated[float, typer.Option(min=0, help="Stop after so long; 0 for never.")] = 0.0,
    as_json: Json = False,
) -> None:
    """Print values as they change, until Ctrl-C."""
    profile = profile_of(profile_name)
    addresses = readable_points(profile, indexes(index))

    def show(batch: ValueBatch) -> None:
        for row in value_rows(profile, batch):
            if as_json:
                print_json_line(row)
            else:
                number = "" if row["index"] is None else f"[{row['index']}]"
                console.print(
                    f"{row['observed_at']}  {row['point']}{number} = {row['value']} {row['unit']} ({row['quality']})"
                )

    async def follow(device: Device) -> None:
        subscription = await device.subscribe(addresses, show, interval_s=interval)
        try:
            await (asyncio.sleep(seconds) if seconds else asyncio.Event().wait())
        finally:
            await subscription.cancel()

    on_device(with_unit(url, unit), profile, follow)


def parse_value(profile: Profile, point: str, text: str) -> float:
    """A value as typed: levels in percent, booleans in words, everything else a number in the point's unit."""
    binding = profile.points.get(point)
    if binding is None or not profile.writable(point):
        writable = ", ".join(name for name in profile.points if profile.writable(name))
        raise InvalidInput.of("point", f"{point!r} cannot be written with {profile.name}; there are {writable}")
    if binding.point.unit == "permille":
        return float(parsing.level(text, "value"))
    if binding.point.type is PointType.BOOLEAN:
        words = {"on": 1.0, "true": 1.0, "1": 1.0, "off": 0.0, "false": 0.0, "0": 0.0}
        if text.lower() not in words:
            raise InvalidInput.of("value", f"{text!r} is neither on nor off")
        return words[text.lower()]
    try:
        return float(text.replace(",", "."))
    except ValueError:
        raise InvalidInput.of("value", f"{text!r} is no number") from None


def confirm_write(yes: bool) -> None:
    """Warn, and ask unless told not to."""
    note(WARNING)
    try:
        agreed = yes or typer.confirm("Write?")
    except typer.Abort:
        agreed = False
    if not agreed:
        note("nothing was written")
        raise typer.Exit(REFUSED)


def result_rows(results: list[WriteResult]) -> list[dict[str, Any]]:
    """Outcomes as rows."""
    return [
        {
            "point": result.address.point,
            "index": result.address.index,
            "outcome": enum_word(result.outcome.value, ""),
            "written": None if math.isnan(result.written) else result.written,
            "read_back": None if math.isnan(result.read_back) else result.read_back,
            "reason": result.reason,
        }
        for result in results
    ]


def exit_for_writes(results: list[WriteResult]) -> int:
    """0 when everything was taken, 3 for a part, 5 when the device refused, 4 when it did not answer."""
    good = sum(result.succeeded for result in results)
    if good == len(results):
        return 0
    if good:
        return PARTIAL
    return REFUSED if any(result.outcome is WriteOutcome.REFUSED for result in results) else UNREACHABLE


@app.command("write")
def write(
    url: Url,
    profile_name: ProfileOption,
    assignments: Annotated[
        list[str], typer.Argument(metavar="POINT[INDEX]=VALUE...", help="level_command[3]=50%, contactor_command[0]=on")
    ],
    unit: Unit = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Write points and read them back. Exit code 0: all taken, 3: a part, 4: no answer, 5: refused."""
    profile = profile_of(profile_name)
    writes: list[tuple[PointAddress, float]] = []
    for assignment in assignments:
        target, equals, value = assignment.partition("=")
        name, bracket, number = target.strip().partition("[")
        if not equals or (bracket and not number.endswith("]")):
            raise InvalidInput.of("assignment", f"{assignment!r} is no POINT=VALUE or POINT[INDEX]=VALUE")
        index = indexes(number[:-1]) if bracket else None
        amount = parse_value(profile, name, value.strip())
        writes += [(PointAddress(name, each), amount) for each in index] if index else [(PointAddress(name), amount)]
    for address, _ in writes:
        profile.binding(address).check_index(address.index)
    confirm_write(yes)
    results = on_device(with_unit(url, unit), profile, lambda device: device.write(writes, verify=True))
    print_rows(result_rows(results), as_json)
    raise typer.Exit(exit_for_writes(results))


@app.command("identify")
def identify(
    url: Url,
    profile_name: ProfileOption,
    index: Annotated[int, typer.Argument(metavar="GEAR", help="Address of the lamp at the gateway.")],
    unit: Unit = None,
    times: Annotated[int, typer.Option(min=1, max=20, help="How often to blink.")] = 3,
    pause: Annotated[float, typer.Option(min=0.1, max=30, help="Seconds between changes.")] = 1.5,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Blink a lamp to match address and pole, then give it its level back."""
    profile = profile_of(profile_name)
    actual, command = PointAddress("level_actual", index), PointAddress("level_command", index)
    for address in (actual, command):
        profile.binding(address).check_index(address.index)
    confirm_write(yes)

    async def blink(device: Device) -> tuple[float, list[WriteResult]]:
        before = (await device.read([actual])).value(actual)
        if math.isnan(before):
            return before, []
        results: list[WriteResult] = []
        try:
            for _ in range(times):
                for level in (0.0 if before > 0 else 1000.0, before if before > 0 else 0.0):
                    results = await device.write([(command, level)], verify=False)
                    await asyncio.sleep(pause)
        finally:
            # Whatever happened, also Ctrl-C: the street gets its light back.
            results = await device.write([(command, before)], verify=True)
        return before, results

    before, results = on_device(with_unit(url, unit), profile, blink)
    if math.isnan(before):
        note("the lamp's level cannot be read, so it could not be restored: nothing was written")
        raise typer.Exit(UNREACHABLE)
    if as_json:
        print_json({"gear": index, "level_before_permille": before, "restored": result_rows(results)})
    else:
        console.print(f"gear {index} blinked {times} times; its level is back at {before / 10:g} %")
    raise typer.Exit(exit_for_writes(results))
