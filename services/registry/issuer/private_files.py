"""Files that only their owner may read: made once, never half written. Not what they hold."""

import contextlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path


def read_or_create(path: Path, make: Callable[[], str]) -> str:
    """The file's text; where there is no such file it is made first, readable by its owner only.

    Raises OSError where the folder cannot be written. Bytes that are no text are replaced.
    """
    try:
        return path.read_text("utf-8", "replace")
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")  # mode 0600 from the start
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(make())
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):  # another process was first: then its file counts
            os.link(temporary, path)
    finally:
        os.unlink(temporary)
    return path.read_text("utf-8", "replace")
