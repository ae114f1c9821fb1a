"""The lamp object of the simulated OPC UA gateways: its variables, and their values from the town's physics.

Namespace `urn:lichtbuch:lamp`, node ids `s=Lamp.<gear>.<Variable>` with gear = line * 64 + short address. Levels are
Double per cent (-1: keeps its last level). Servers and sessions are in server.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC
from typing import Any

import numpy as np
from asyncua import ua
from asyncua.ua.status_codes import StatusCodes

from simulator.lamps import KEEP_LAST, LampBank
from simulator.world import Indices

NAMESPACE = "urn:lichtbuch:lamp"


@dataclass(frozen=True)
class Variable:
    """One variable of a lamp. `values` gives it for some lamps at an instant; `stored` ones outlive a lost supply.

    `kind` is what a write of it is called in the log of writes; empty where it is read-only.
    """

    name: str
    type: ua.VariantType
    values: Callable[[LampBank, float, Indices], Any]
    kind: str = ""
    stored: bool = False


def _percent(levels: Any) -> Any:
    return np.where(levels == KEEP_LAST, KEEP_LAST, np.round(levels / 10.0, 3))


_DOUBLE, _COUNTER, _FLAG = ua.VariantType.Double, ua.VariantType.UInt64, ua.VariantType.Boolean

LEVEL = Variable("Level", _DOUBLE, lambda b, t, i: _percent(b.target[i]), "level", True)
POWER_ON = Variable("PowerOnLevel", _DOUBLE, lambda b, t, i: _percent(b.power_on_level[i]), "power_on_level", True)
SYSTEM_FAILURE = Variable(
    "SystemFailureLevel", _DOUBLE, lambda b, t, i: _percent(b.system_failure_level[i]), "communication_loss_level", True
)
VARIABLES = (
    LEVEL,
    Variable("ActualLevel", _DOUBLE, lambda b, t, i: _percent(b.light_level(t, i))),
    Variable("LampFailure", _FLAG, lambda b, t, i: b.lamp_failed[i]),
    Variable("GearFailure", _FLAG, lambda b, t, i: ~b.responds(i), stored=True),
    Variable("Power", _DOUBLE, lambda b, t, i: b.power_w(t, i)),
    Variable("Energy", _COUNTER, lambda b, t, i: b.gear_energy_wh(t, i).astype(np.int64)),
    Variable("BurningTime", _COUNTER, lambda b, t, i: b.gear_burning_s(t, i).astype(np.int64)),
    POWER_ON,
    SYSTEM_FAILURE,
)


def bad(code: int) -> ua.StatusCode:
    """A status by its code in `StatusCodes`."""
    return ua.StatusCode(ua.UInt32(code))


def data_value(variable: Variable, value: Any, answers: bool, t: float) -> ua.DataValue:
    """A value with the device's own time, which is domain time; of gear that does not answer only its status."""
    instant = ua.DateTime.fromtimestamp(t, UTC)
    if not answers:
        return ua.DataValue(
            ua.Variant(None, ua.VariantType.Null),
            bad(StatusCodes.BadNoCommunication),
            SourceTimestamp=instant,
            ServerTimestamp=instant,
        )
    return ua.DataValue(ua.Variant(value, variable.type), SourceTimestamp=instant, ServerTimestamp=instant)
