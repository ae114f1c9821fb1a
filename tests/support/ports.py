"""Ports for what is started a moment later: nobody listens on them, and no connection of somebody else takes them.

The system gives ports that it also gives to outgoing connections: thousands of those come and go beside a test, and one
of them may have the port by the time that a server wants it. These lie below that range, and each test process has its
own stretch.
"""

from __future__ import annotations

import os
import re
import socket
from itertools import cycle
from typing import Final

_FIRST: Final = 20_000  # above the simulator's, below 32 768, where Linux begins with those of connections
_STRETCH: Final = 3_000
_STRETCHES: Final = 4


def free_port() -> int:
    """A port of the loopback address that is free now, another one at each call. Raises OSError if there is none."""
    for _ in range(_STRETCH):
        port = next(_ports)
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise OSError("no free port")


def _ports_of_this_process() -> list[int]:
    """Workers of one run never share any; another run on the same machine begins elsewhere."""
    worker = re.search(r"\d+", os.environ.get("PYTEST_XDIST_WORKER", ""))
    number = int(worker.group()) % (_STRETCHES - 1) if worker else _STRETCHES - 1
    begin = os.getpid() * 97
    return [_FIRST + number * _STRETCH + (begin + count) % _STRETCH for count in range(_STRETCH)]


_ports = cycle(_ports_of_this_process())
