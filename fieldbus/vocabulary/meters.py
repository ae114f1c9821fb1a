"""Points of electricity meters. Positive is import from the grid, negative is export."""

from __future__ import annotations

from typing import Final

from fieldbus.vocabulary.terms import Point, Scope, counted, measured

_DEVICE = Scope.DEVICE
_PAIRS = (("l1", "l2"), ("l2", "l3"), ("l3", "l1"))


def _of_phase(phase: str) -> list[Point]:
    name = phase.upper()
    volt, kw = f"line-to-neutral voltage of {name}, rms", "elec ac active power sensor"
    return [
        measured(f"voltage_{phase}", "V", _DEVICE, 0, 1000, volt, "elec ac volt magnitude sensor"),
        measured(
            f"current_{phase}", "A", _DEVICE, -20_000, 20_000, f"current of {name}, rms", "elec ac current sensor"
        ),
        measured(f"power_active_{phase}", "W", _DEVICE, -1e7, 1e7, f"active power of {name}, + import", kw),
        measured(f"power_reactive_{phase}", "var", _DEVICE, -1e7, 1e7, f"reactive power of {name}, + inductive import"),
        measured(f"power_apparent_{phase}", "VA", _DEVICE, -1e7, 1e7, f"apparent power of {name}"),
        measured(f"power_factor_{phase}", "1", _DEVICE, -1, 1, f"power factor of {name}", "elec ac pf sensor"),
        counted(f"energy_active_import_{phase}", "Wh", _DEVICE, f"active energy imported on {name}"),
        counted(f"energy_active_export_{phase}", "Wh", _DEVICE, f"active energy exported on {name}"),
    ]


def _of_tariff(tariff: int) -> list[Point]:
    return [
        counted(f"energy_active_import_t{tariff}", "Wh", _DEVICE, f"active energy imported in tariff {tariff}"),
        counted(f"energy_active_export_t{tariff}", "Wh", _DEVICE, f"active energy exported in tariff {tariff}"),
    ]


def _line_voltages() -> list[Point]:
    volts = "elec ac volt magnitude sensor"
    return [
        measured(
            f"voltage_{a}_{b}", "V", _DEVICE, 0, 1800, f"line-to-line voltage {a.upper()} to {b.upper()}, rms", volts
        )
        for a, b in _PAIRS
    ]


POINTS: Final[tuple[Point, ...]] = (
    *(point for phase in ("l1", "l2", "l3") for point in _of_phase(phase)),
    *_line_voltages(),
    measured("voltage_average", "V", _DEVICE, 0, 1000, "line-to-neutral voltage, mean of the phases"),
    measured("current_neutral", "A", _DEVICE, -20_000, 20_000, "current of the neutral conductor, rms"),
    measured("current_average", "A", _DEVICE, -20_000, 20_000, "current, mean of the phases"),
    measured("current_sum", "A", _DEVICE, -60_000, 60_000, "current, sum of the phases"),
    measured(
        "power_active_total",
        "W",
        _DEVICE,
        -3e7,
        3e7,
        "active power, all phases, + import",
        "elec ac active power sensor",
    ),
    measured(
        "power_reactive_total",
        "var",
        _DEVICE,
        -3e7,
        3e7,
        "reactive power, all phases, + inductive import",
        "elec ac reactive power sensor",
    ),
    measured(
        "power_apparent_total", "VA", _DEVICE, -3e7, 3e7, "apparent power, all phases", "elec ac apparent power sensor"
    ),
    measured("power_factor_total", "1", _DEVICE, -1, 1, "power factor, all phases", "elec ac pf sensor"),
    measured("frequency", "Hz", _DEVICE, 0, 100, "mains frequency; 0 where the mains is absent", "elec ac freq sensor"),
    counted(
        "energy_active_import",
        "Wh",
        _DEVICE,
        "active energy imported, all phases and tariffs",
        "elec ac active energy import sensor",
    ),
    counted(
        "energy_active_export",
        "Wh",
        _DEVICE,
        "active energy exported, all phases and tariffs",
        "elec ac active energy export sensor",
    ),
    *_of_tariff(1),
    *_of_tariff(2),
    counted("energy_active_sum", "Wh", _DEVICE, "import plus export, where the meter counts both in one register"),
    counted("energy_reactive_import", "varh", _DEVICE, "reactive energy imported"),
    counted("energy_reactive_export", "varh", _DEVICE, "reactive energy exported"),
    counted("energy_apparent", "VAh", _DEVICE, "apparent energy"),
)
