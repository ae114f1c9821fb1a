"""What lighting knows of a town, as plain records: the inventory, what decides levels, and the field endpoints.

The store fills them from tables, the local snapshot from a file; columns.py turns them into arrays. They are keyed by
immutable uids; `id` is the alias of today. Not here: live states (state.py) and history (history.py).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from math import nan

from domain.names import ResourceName
from domain.plan import Plan
from domain.plan_rule import SensorKind
from domain.priority import Priority


class SwitchingOwner(IntEnum):
    """Who switches a cabinet's feeders; numbers as in the contract."""

    LICHTBUCH = 1
    ASTRO_CLOCK = 2
    PHOTOCELL = 3
    RIPPLE_CONTROL = 4


class FeederSupply(IntEnum):
    """How a feeder is supplied; numbers as in the contract."""

    SWITCHED = 1
    PERMANENT = 2


class Reduction(IntEnum):
    """Who reduces light; numbers as in the contract."""

    UNSPECIFIED = 0
    SINGLE_COMMAND = 1
    GROUP_COMMAND = 2
    BROADCAST = 3
    CONTROL_PHASE = 4
    HALF_NIGHT_CONDUCTOR = 5
    STORED_PROFILE = 6
    NONE = 7


class CloBy(IntEnum):
    """Who keeps light constant; numbers as in the contract."""

    UNSPECIFIED = 0
    DRIVER = 1
    LICHTBUCH = 2


def is_commanded(luminaire: int, feeder: int) -> bool:
    """Whether commands reduce a luminaire: what it states counts, else what its feeder states, else a command."""
    return (luminaire or feeder) <= Reduction.BROADCAST


class EndpointState(IntEnum):
    """State of a field endpoint on its way into control; numbers as in the registry's contract."""

    PLANNED = 1
    OBSERVED = 2
    TESTED = 3
    IN_CONTROL = 4


@dataclass(frozen=True, slots=True)
class TownRecord:
    """A municipality: where the sun is computed for where nothing more exact is known. Degrees, WGS84."""

    uid: str
    id: str
    latitude_deg: float
    longitude_deg: float
    time_zone: str = "Europe/Berlin"

    @property
    def name(self) -> str:
        """Its resource name."""
        return str(ResourceName.of_municipality(self.id))


@dataclass(frozen=True, slots=True)
class CabinetRecord:
    """A cabinet. `controller_uid` is its controller's endpoint, empty where there is none; NaN for no position.
    `inrush_step_ms` is -1 where the service's setting holds."""

    uid: str
    municipality_uid: str
    id: str
    controller_uid: str = ""
    switching_owner: SwitchingOwner = SwitchingOwner.LICHTBUCH
    latitude_deg: float = nan
    longitude_deg: float = nan
    inrush_step_ms: int = -1


@dataclass(frozen=True, slots=True)
class FeederRecord:
    """A circuit. `channel` counts contactors at the cabinet's controller and means nothing for permanent feeders.
    `inrush_step_ms` is -1 where the cabinet's holds."""

    uid: str
    municipality_uid: str
    id: str
    cabinet_uid: str
    channel: int
    supply: FeederSupply
    inrush_step_ms: int = -1


@dataclass(frozen=True, slots=True)
class GatewayRecord:
    """A gateway and its endpoint. `gear_groups`: the groups in its gear, each with a number and the addresses in it."""

    uid: str
    municipality_uid: str
    id: str
    cabinet_uid: str
    endpoint_uid: str
    gear_groups: tuple[tuple[int, tuple[int, ...]], ...] = ()


@dataclass(frozen=True, slots=True)
class GroupRecord:
    """A plan group."""

    uid: str
    municipality_uid: str
    id: str


@dataclass(frozen=True, slots=True)
class LuminaireRecord:
    """What control needs of a luminaire. Empty uids and NaN for unknown; floor 0 for unknown (then full level)."""

    uid: str
    municipality_uid: str
    id: str
    group_uid: str
    feeder_uid: str = ""
    gateway_uid: str = ""
    gateway_address: int = 0
    floor_permille: int = 0
    conflict_area: bool = False
    latitude_deg: float = nan
    longitude_deg: float = nan
    commanded: bool = True
    """False where something else than a command reduces it: then it is only observed."""
    output_permille: int = 1000
    """The command that full light takes now (written_level.py)."""
    least_permille: int = 0
    """The smallest command above 0 that its driver can hold; 0 for not known."""
    ages: bool = False
    """Whether its driver is driven by its burning hours, by itself or by Lichtbuch."""
    inner_permille: int = 1000
    """What its driver makes of a command by itself, by constant light output, now; not seen in what it reads back."""
    street: str = ""


@dataclass(frozen=True, slots=True)
class SensorRecord:
    """A sensor. `group_uids` are the groups it serves, none for all of the municipality. `endpoint_uid` is empty where
    its values are sent to us; `point` is what is read at the endpoint."""

    uid: str
    municipality_uid: str
    id: str
    kind: SensorKind
    group_uids: tuple[str, ...] = ()
    endpoint_uid: str = ""
    point: str = ""
    max_age_s: int = 600

    def serves(self, group: GroupRecord) -> bool:
        """Whether rules of a group's plan listen to it that name no sensor."""
        return self.municipality_uid == group.municipality_uid and (not self.group_uids or group.uid in self.group_uids)


@dataclass(frozen=True, slots=True)
class OverrideRecord:
    """A command that holds from start until before expiry, or until it was released. Instants in Unix ms.

    `targets` are uids of luminaires, groups, feeders, cabinets or of the municipality itself.
    """

    uid: str
    municipality_uid: str
    priority: Priority
    level_permille: int
    issued_at_ms: int
    start_ms: int
    end_ms: int
    targets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LockoutRecord:
    """A lock-out that holds."""

    uid: str
    municipality_uid: str
    feeder_uid: str


@dataclass(frozen=True, slots=True)
class WaiverRecord:
    """A council's decision that lowers floors from start until its review, or until it was released. Unix ms.

    `targets` are uids as in OverrideRecord.
    """

    uid: str
    municipality_uid: str
    floor_permille: int
    start_ms: int
    end_ms: int
    targets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class IdentificationRecord:
    """A luminaire that blinks from start until before the end, in Unix ms."""

    luminaire_uid: str
    municipality_uid: str
    start_ms: int
    end_ms: int


@dataclass(frozen=True, slots=True)
class ProtectionWish:
    """Levels in per mille that a luminaire is to take by itself, and when (Unix ms) that was asked for."""

    luminaire_uid: str
    gateway_uid: str
    power_on_permille: int
    communication_loss_permille: int
    asked_ms: int


@dataclass(frozen=True, slots=True)
class ProtectionSeen:
    """What was read of a luminaire in answer to the wish of an instant: per mille, -1 for "as before", None for none.
    supported: whether its gateway can store both levels."""

    luminaire_uid: str
    asked_ms: int
    read_ms: int
    supported: bool
    confirmed: bool
    read_power_on: int | None
    read_communication_loss: int | None


@dataclass(frozen=True, slots=True)
class EndpointRecord:
    """A field endpoint as the registry told last."""

    uid: str
    municipality_uid: str
    id: str
    url: str
    profile: str
    state: EndpointState
    round_trip_ms: int = 0
    """Time that a request and its answer usually take on the way; 0 for a wired network."""
    monthly_bytes: int = 0
    """Bytes that its connection may move in a month; 0 for no limit."""

    @property
    def device(self) -> tuple[str, str, int, int]:
        """What it is opened by: where one of these changes, it is opened anew."""
        return self.url, self.profile, self.round_trip_ms, self.monthly_bytes


@dataclass(frozen=True, slots=True)
class Inventory:
    """What stands where. `revision` grows with every change of it."""

    revision: int = 0
    towns: tuple[TownRecord, ...] = ()
    cabinets: tuple[CabinetRecord, ...] = ()
    feeders: tuple[FeederRecord, ...] = ()
    gateways: tuple[GatewayRecord, ...] = ()
    groups: tuple[GroupRecord, ...] = ()
    luminaires: tuple[LuminaireRecord, ...] = ()
    endpoints: tuple[EndpointRecord, ...] = ()
    sensors: tuple[SensorRecord, ...] = ()


@dataclass(frozen=True, slots=True)
class Orders:
    """What decides levels: plans by group uid, overrides and waivers that hold or will, lock-outs, what blinks.
    `revision` grows on change."""

    revision: int = 0
    plans: dict[str, Plan] = field(default_factory=dict)
    overrides: tuple[OverrideRecord, ...] = ()
    lockouts: tuple[LockoutRecord, ...] = ()
    waivers: tuple[WaiverRecord, ...] = ()
    identifications: tuple[IdentificationRecord, ...] = ()


@dataclass(frozen=True, slots=True)
class Known:
    """All that control rests on."""

    inventory: Inventory = field(default_factory=Inventory)
    orders: Orders = field(default_factory=Orders)
