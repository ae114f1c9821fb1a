"""What every group of the registry's methods works with."""

from typing import Any, Final, TypeAlias

import grpc

from servicekit.clock import Clock
from servicekit.database import Database

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

LARGEST_PAGE: Final = 1000
"""As the contract says of page_size."""


class Calls:
    """A group of methods."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self.database = database
        self.clock = clock
