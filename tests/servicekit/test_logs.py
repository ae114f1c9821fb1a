"""What comes from others stands in the logs without commanding the terminal or adding lines that look like ours."""

import io
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import structlog

from servicekit.logs import configure_logs

HOSTILE = "\x1b[2J\x1b]0;title\x07\nlevel=info all is well \u202e\x9b31m"


@dataclass
class Format:
    log_format: str
    log_level: str = "info"


@pytest.fixture
def restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.mark.usefixtures("restored")
@pytest.mark.parametrize("kind", ["console", "json"])
def test_no_word_of_a_device_commands_the_terminal_or_adds_a_line(kind: str) -> None:
    stream = io.StringIO()
    configure_logs(Format(kind), "lighting", stream)
    logging.getLogger("fieldbus").warning("a device says %s", HOSTILE)
    structlog.get_logger().info("a device says", word=HOSTILE)
    told = stream.getvalue()
    assert len(told.splitlines()) == 2
    assert told.replace("\n", "").isprintable()
    if kind == "json":
        assert json.loads(told.splitlines()[0])["event"].endswith(HOSTILE)


@pytest.mark.usefixtures("restored")
@pytest.mark.parametrize("kind", ["console", "json"])
def test_nor_does_an_error_with_its_trace(kind: str) -> None:
    stream = io.StringIO()
    configure_logs(Format(kind), "lighting", stream)
    try:
        raise ValueError(HOSTILE)
    except ValueError:
        logging.getLogger("fieldbus").exception("a callback failed")
    told = stream.getvalue()
    assert "ValueError" in told
    assert told.replace("\n", "").isprintable()
