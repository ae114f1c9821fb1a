"""A disk that is full, as far as this process goes: what it writes is cut off and fails, as the real thing does."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def full_disk(takes_bytes: int = 100) -> Iterator[None]:
    """Files take so many bytes, then writing raises OSError."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (takes_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
