"""ThingsBoard gateway's Modbus connector as its own classes run it; only what follows it, the storage, counts instead.

Runs in the gateway's own environment (requirements/bench-gateway.lock), so it imports nothing of ours but the tag list.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import resource
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from bench.field.tags import LISTS, TagList, checksum

_PATIENCE_S = 30.0


class Storage:
    """What the connector sees of the gateway. Telemetry ends here: counted, and kept until all values were seen."""

    def __init__(self, folder: str) -> None:
        self.points = 0
        self.values: dict[str, dict[str, float]] = {}
        self.keep = True
        # What its thread for remote logs looks at: without these it would spin and cost the connector half its core.
        self.stopped = False
        self.tb_client = None
        self._folder = folder
        self._devices: dict[str, Any] = {}
        self._lock = threading.Lock()

    def get_config_path(self) -> str:
        """A folder that it may write to."""
        return self._folder + "/"

    def get_devices(self) -> dict[str, Any]:
        """Devices seen so far."""
        return self._devices

    def add_device(self, name: str, content: Any, device_type: str | None = None) -> bool:
        """A device appeared."""
        self._devices[name] = content
        return True

    def del_device(self, name: str) -> None:
        """A device went."""
        self._devices.pop(name, None)

    def send_to_storage(self, connector: str, connector_id: str, data: Any) -> None:
        """The end of the line."""
        with self._lock:
            self.points += data.telemetry_datapoints_count
            if self.keep:
                column = self.values.setdefault(data.device_name, {})
                for entry in data.telemetry:
                    column.update({str(getattr(key, "key", key)): value for key, value in entry.values.items()})


def configuration(tags: TagList, devices: list[tuple[int, int, int]], period_ms: int) -> dict[str, Any]:
    """The connector's configuration: one slave per device, one entry per tag."""
    entries = [
        {
            "tag": tag.name,
            "type": "16uint",
            "functionCode": 3,
            "objectsCount": 1,
            "address": tag.address,
            "multiplier": tag.scale,
        }
        for tag in tags.tags
    ]
    slaves = [
        {
            "host": "127.0.0.1",
            "port": port,
            "type": "tcp",
            "method": "socket",
            "timeout": 10,
            "byteOrder": "BIG",
            "wordOrder": "BIG",
            "retries": False,
            "unitId": unit,
            "deviceName": f"device-{number}",
            "deviceType": "default",
            "pollPeriod": period_ms,
            "attributes": [],
            "timeseries": [dict(entry) for entry in entries],
            "attributeUpdates": [],
            "rpc": [],
        }
        for number, (port, _, unit) in enumerate(devices)
    ]
    return {"name": "bench", "id": "bench", "logLevel": "ERROR", "master": {"slaves": slaves}}


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def run(spec: dict[str, Any]) -> dict[str, float]:
    """One measurement."""
    # On import it installs the pymodbus that it wants unless that is there already, as it is in its environment.
    modbus_connector: Any = importlib.import_module("thingsboard_gateway.connectors.modbus.modbus_connector")
    if modbus_connector.installation_required:
        raise SystemExit("the gateway's environment lacks the pymodbus that it wants")
    logging.disable(logging.CRITICAL)
    tags = LISTS[spec["tags"]]
    devices = [tuple(device) for device in spec["devices"]]
    with tempfile.TemporaryDirectory() as folder:
        storage = Storage(folder)
        config = configuration(tags, devices, spec["period_ms"])
        connector = modbus_connector.AsyncModbusConnector(storage, config, "modbus")
        connector.open()
        deadline = time.monotonic() + _PATIENCE_S
        complete = len(devices) * len(tags.tags)
        while sum(len(column) for column in list(storage.values.values())) < complete:
            if time.monotonic() > deadline:
                raise SystemExit("the gateway did not deliver all values in time")
            time.sleep(0.05)
        storage.keep = False
        columns = [
            [storage.values[f"device-{number}"][tag.name] for tag in tags.tags] for number in range(len(devices))
        ]
        time.sleep(spec["warm_up_s"])
        points, cpu_s, start = storage.points, _cpu_s(), time.monotonic()
        time.sleep(spec["measured_s"])
        wall_s = time.monotonic() - start
        return {
            "wall_s": wall_s,
            "cpu_s": _cpu_s() - cpu_s,
            "points": storage.points - points,
            "requests": storage.points - points,
            "checksum": checksum(columns),
            "bad": 0,
        }


def main() -> None:
    """Reads the task from standard input; leaves at once, as the connector's threads would not."""
    print(json.dumps(run(json.loads(sys.stdin.readline()))), flush=True)
    sys.stdout.close()
    os._exit(0)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
    main()
