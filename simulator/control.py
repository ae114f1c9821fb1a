"""The HTTP control interface: the town, its truth, who wrote what, faults and the clock. Loopback only, no secrets.

It answers tests and tools; services never ask it about lamps or meters: they have the field for that.
"""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from domain.errors import FailedPrecondition, InvalidInput, LichtbuchError, NotFound
from simulator.cabinet import POSITIONS
from simulator.clock import Clock, instant_from_text, instant_text
from simulator.devices import Devices
from simulator.faults import FaultDesk
from simulator.field import Field
from simulator.town import Town, town_to_json
from simulator.writes import write_to_json

MAX_BODY_BYTES = 64 * 1024
MAX_WRITES = 10_000

Handler = Callable[[Request], Awaitable[Response]]


class Control:
    """Handlers over a running town. `town` carries the bound URLs; `catch_up` moves its time to now."""

    def __init__(
        self,
        town: Town,
        field: Field,
        devices: Devices,
        faults: FaultDesk,
        clock: Clock,
        catch_up: Callable[[], None],
    ) -> None:
        self._town = town
        self._field = field
        self._world = field.world
        self._devices = devices
        self._faults = faults
        self._clock = clock
        self._catch_up = catch_up
        self._town_body = json.dumps(town_to_json(town), ensure_ascii=False).encode()

    def application(self) -> Starlette:
        """The ASGI application."""
        routes: list[tuple[str, Handler, str]] = [
            ("/healthz", self.health, "GET"),
            ("/town", self.town, "GET"),
            ("/clock", self.clock, "GET"),
            ("/clock/advance", self.advance, "POST"),
            ("/truth/luminaires", self.luminaires, "GET"),
            ("/truth/luminaires/energy", self.luminaire_energy, "GET"),
            ("/truth/meters", self.meters, "GET"),
            ("/truth/cabinets", self.cabinets, "GET"),
            ("/writes", self.writes, "GET"),
            ("/traffic", self.traffic, "GET"),
            ("/faults", self.list_faults, "GET"),
            ("/faults", self.inject, "POST"),
            ("/faults", self.clear, "DELETE"),
        ]
        return Starlette(routes=[Route(path, self._guard(handler), methods=[m]) for path, handler, m in routes])

    def _guard(self, handler: Handler) -> Handler:
        """Move the town to now, and turn our errors into answers with the fields that are wrong."""

        async def guarded(request: Request) -> Response:
            self._catch_up()
            try:
                return await handler(request)
            except LichtbuchError as error:
                status = 404 if isinstance(error, NotFound) else 409 if isinstance(error, FailedPrecondition) else 400
                violations = getattr(error, "violations", ())
                body = {
                    "error": error.message,
                    "violations": [{"field": v.field, "reason": v.reason} for v in violations],
                }
                return JSONResponse(body, status_code=status)

        return guarded

    # --- the town and its clock -----------------------------------------------------------------------------------

    async def health(self, request: Request) -> Response:
        """Ready once the ports are bound, as this server starts after them."""
        return JSONResponse({"status": "ok", "now": instant_text(self._world.now)})

    async def town(self, request: Request) -> Response:
        """The whole inventory with the endpoints' URLs."""
        return Response(self._town_body, media_type="application/json")

    async def clock(self, request: Request) -> Response:
        """Domain time, real time and speed."""
        return JSONResponse(self._clock_now())

    async def advance(self, request: Request) -> Response:
        """Step a stepped clock: {"seconds": 900}."""
        document = await _json(request)
        seconds = document.get("seconds") if isinstance(document, dict) else None
        if not isinstance(seconds, (int, float)) or isinstance(seconds, bool):
            raise InvalidInput.of("seconds", "must be a number")
        self._clock.step(float(seconds))
        self._catch_up()
        return JSONResponse(self._clock_now())

    def _clock_now(self) -> dict[str, Any]:
        return {"now": instant_text(self._world.now), "real": instant_text(time.time()), "speed": self._clock.speed}

    # --- the truth ------------------------------------------------------------------------------------------------

    async def luminaires(self, request: Request) -> Response:
        """State of the luminaires now, or, with `at`, their light levels at a past instant."""
        cabinet = request.query_params.get("cabinet", "")
        chosen = [i for i, lamp in enumerate(self._town.luminaires) if cabinet in ("", lamp.cabinet)]
        if "at" in request.query_params:
            t = self._instant(request)
            levels = self._world.history.levels_at(t)
            rows = [{"id": self._town.luminaires[i].id, "level_permille": _or_none(float(levels[i]))} for i in chosen]
            return JSONResponse({"at": instant_text(t), "luminaires": rows})
        now, lamps = self._world.now, self._world.lamps
        light, power, burning = lamps.light_level(now), lamps.power_w(now), lamps.burning_s(now)
        energy, gear_burning = lamps.energy_wh(now), lamps.gear_burning_s(now)
        rows = [
            {
                "id": self._town.luminaires[i].id,
                "level_permille": round(float(light[i]), 3),
                "target_permille": round(float(lamps.target[i]), 3),
                "energised": bool(lamps.energised[i]),
                "lamp_failure": bool(lamps.lamp_failed[i]),
                "gear_failure": bool(lamps.gear_failed[i]),
                "stuck_on": bool(lamps.stuck_on[i]),
                "power_w": round(float(power[i]), 6),
                "energy_wh": round(float(energy[i]), 6),
                "burning_s": round(float(burning[i]), 3),
                "gear_burning_s": round(float(gear_burning[i]), 3),
                "gear_identity": lamps.identity[i],
                "power_on_permille": float(lamps.power_on_level[i]),
                "system_failure_permille": float(lamps.system_failure_level[i]),
            }
            for i in chosen
        ]
        return JSONResponse({"at": instant_text(now), "luminaires": rows})

    async def luminaire_energy(self, request: Request) -> Response:
        """Exact energy counters of all luminaires, now or at a recent quarter hour, in Wh."""
        t = self._instant(request)
        ids = [lamp.id for lamp in self._town.luminaires]
        values = [round(value, 6) for value in self._world.lamp_wh(t)]
        return JSONResponse({"at": instant_text(t), "energy_wh": dict(zip(ids, values, strict=True))})

    async def meters(self, request: Request) -> Response:
        """Exact counters of all meters, now or at a past quarter hour, in Wh; serial and life as they are now."""
        t = self._instant(request)
        rows = [
            {"id": m.id, "energy_wh": round(value, 6), "serial": m.serial, "life": m.life}
            for m, value in zip(self._world.meters.values(), self._world.meter_wh(t), strict=True)
        ]
        return JSONResponse({"at": instant_text(t), "meters": rows})

    async def cabinets(self, request: Request) -> Response:
        """Contactors, switches and doors now."""
        names = {number: name for name, number in POSITIONS.items()}
        rows = [
            {
                "id": c.cabinet.id,
                "hand_switch": names[c.hand_switch],
                "door_open": c.door_open,
                "supply": c.supply,
                "heartbeat": c.heartbeat,
                "fallback": c.fallback_lit is not None,
                "feeders": [
                    {
                        "id": feeder.id,
                        "channel": channel,
                        "command": c.commands[channel],
                        "closed": c.closed[channel],
                        "operations": c.operations[channel],
                    }
                    for channel, feeder in sorted(c.channels.items())
                ],
            }
            for c in self._world.cabinets.values()
        ]
        return JSONResponse({"at": instant_text(self._world.now), "cabinets": rows})

    # --- who did what ---------------------------------------------------------------------------------------------

    async def writes(self, request: Request) -> Response:
        """Writes from the field side; filters cabinet, feeder, kind, peer, since (domain time), after (sequence)."""
        query = request.query_params
        since = _instant_of(query["since"], "since") if "since" in query else 0.0
        found = self._field.writes.select(
            cabinet=query.get("cabinet", ""),
            feeder=query.get("feeder", ""),
            kind=query.get("kind", ""),
            peer=query.get("peer", ""),
            since_s=since,
            after=_number(query.get("after", "0"), "after"),
        )
        limit = min(_number(query.get("limit", str(MAX_WRITES)), "limit"), MAX_WRITES)
        return JSONResponse({
            "total": self._field.writes.total,
            "matching": len(found),
            "writes": [write_to_json(r) for r in found[:limit]],
            "counts": self._field.writes.counts(),
        })  # fmt: skip

    async def traffic(self, request: Request) -> Response:
        """Requests per endpoint since the start."""
        return JSONResponse({"endpoints": self._devices.traffic()})

    async def list_faults(self, request: Request) -> Response:
        """Active faults."""
        return JSONResponse({"faults": [fault.to_json() for fault in self._faults.active()]})

    async def inject(self, request: Request) -> Response:
        """Begin a fault."""
        fault = await self._faults.inject(await _json(request))
        return JSONResponse(fault.to_json(), status_code=201)

    async def clear(self, request: Request) -> Response:
        """End the fault with this `id`, or all."""
        return JSONResponse({"cleared": await self._faults.clear(request.query_params.get("id", ""))})

    def _instant(self, request: Request) -> float:
        """The instant asked for, now by default. The future is refused."""
        if "at" not in request.query_params:
            return self._world.now
        t = _instant_of(request.query_params["at"], "at")
        if t > self._world.now:
            raise InvalidInput.of("at", f"lies ahead of {instant_text(self._world.now)}")
        return t


async def _json(request: Request) -> object:
    body = await request.body()
    if len(body) > MAX_BODY_BYTES:
        raise InvalidInput.of("body", f"must be at most {MAX_BODY_BYTES} bytes")
    try:
        return json.loads(body)
    except ValueError as error:
        raise InvalidInput.of("body", f"is not JSON: {error}") from error


def _instant_of(text: str, field: str) -> float:
    # A plus sign that was not escaped arrives as a space.
    return instant_from_text(text.replace(" ", "+"), field)


def _number(text: str, field: str) -> int:
    if not text.isdecimal():
        raise InvalidInput.of(field, "must be a whole number")
    return int(text)


def _or_none(value: float) -> float | None:
    """A level rounded, or None where it is not known."""
    return None if value != value else round(value, 3)
