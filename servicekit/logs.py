"""Structured logs: one JSON object a line on standard error, with the request id and who asked. Never a secret.

`logging.getLogger(__name__)` and `structlog.get_logger()` both end up here.
"""

import logging
import sys
from typing import Any, Final, Protocol, TextIO

import structlog
from structlog.contextvars import bind_contextvars, bound_contextvars, clear_contextvars
from structlog.typing import EventDict, Processor

__all__ = ["bind_contextvars", "bound_contextvars", "clear_contextvars", "configure_logs", "get_logger"]

_HIDDEN: Final = ("token", "secret", "password", "authorization")
_OF_SEVERAL_LINES: Final = ("exception", "stack")
_NOISY: Final = ("httpx", "httpcore", "alembic", "asyncua", "pymodbus", "grpc")


class LogSettings(Protocol):
    """The part of the settings that the logs need."""

    @property
    def log_format(self) -> str:
        """ "json" or "console"."""
        ...

    @property
    def log_level(self) -> str:
        """Smallest level that is written."""
        ...


def configure_logs(settings: LogSettings, service: str, stream: TextIO | None = None) -> None:
    """Sets up both kinds of loggers for the process."""

    def name_service(_logger: Any, _method: str, event: EventDict) -> EventDict:
        event.setdefault("service", service)
        return event

    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
        structlog.processors.StackInfoRenderer(),
        name_service,
        hide_secrets,
    ]
    if settings.log_format == "json":
        ending: list[Processor] = [structlog.processors.dict_tracebacks, structlog.processors.JSONRenderer()]
    else:
        renderer = structlog.dev.ConsoleRenderer(
            colors=(stream or sys.stderr).isatty(), exception_formatter=structlog.dev.plain_traceback
        )
        ending = [structlog.processors.format_exc_info, show_harmless, renderer]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *ending],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level.upper())
    for name in _NOISY:
        logging.getLogger(name).setLevel(max(root.level, logging.WARNING))


def show_harmless(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """For a console: texts that may come from others neither command the terminal nor add lines that look like ours."""
    for key, value in event.items():
        if isinstance(value, str) and not value.isprintable() and key not in _OF_SEVERAL_LINES:
            event[key] = "".join(one if one.isprintable() else ascii(one)[1:-1] for one in value)
        elif key in _OF_SEVERAL_LINES and isinstance(value, str):
            event[key] = "".join(one if one.isprintable() or one == "\n" else ascii(one)[1:-1] for one in value)
    return event


def get_logger(name: str = "") -> structlog.stdlib.BoundLogger:
    """A structured logger."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger


def hide_secrets(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """Keeps what looks like a secret out of the logs."""
    for key in event:
        if any(word in key.lower() for word in _HIDDEN):
            event[key] = "***"
    return event
