"""The log of every process: one line per event, as JSON or as text for people.

A line has the time (UTC, milliseconds), the level, the process, the logger, and the request id where a call of the API
is being answered. An error that ends a thread or the process is a line too.
"""

import logging
import sys
import threading
import time
from types import TracebackType
from typing import Any

from pythonjsonlogger.msgspec import MsgspecFormatter

from app.domain.origin import current_origin

JSON, TEXT = "json", "text"

_MEMBERS = {"asctime": "time", "levelname": "level", "process": "pid", "name": "logger", "role": "process"}
"""What a JSON line has under other names than the standard library gives."""


def configure_logging(process: str, log_format: str) -> None:
    """Log to the standard error, where the supervisor's log file is; `process` is this process's name in each line."""
    handler = logging.StreamHandler()
    handler.setFormatter(formatter(process, log_format))
    handler.addFilter(_add_request_id)
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.getLogger("rq").setLevel(logging.WARNING)
    logging.captureWarnings(True)
    sys.excepthook = _log_last_error
    threading.excepthook = _log_lost_thread


def formatter(process: str, log_format: str) -> logging.Formatter:
    """Formats a record as one line of JSON, or as text."""
    if log_format == JSON:
        made: logging.Formatter = MsgspecFormatter(
            ["asctime", "levelname", "process", "name", "message"],
            rename_fields=dict(_MEMBERS),
            static_fields={"role": process},
        )
    else:
        made = _TextFormatter(process)
    made.converter = time.gmtime
    made.default_time_format = "%Y-%m-%dT%H:%M:%S"
    made.default_msec_format = "%s.%03dZ"
    return made


class _TextFormatter(logging.Formatter):
    """A line for people; the request id is in brackets."""

    def __init__(self, process: str) -> None:
        super().__init__(f"%(asctime)s %(levelname)-7s {process}[%(process)d] %(name)s%(request)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """The record as text."""
        request_id = getattr(record, "request_id", None)
        record.request = f" [{request_id}]" if request_id else ""
        return super().format(record)


def _add_request_id(record: logging.LogRecord) -> bool:
    """Give a record the request id of the call that is being answered."""
    origin = current_origin()
    if origin is not None:
        record.request_id = origin.request_id
    return True


def _log_last_error(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Log the error that ends the process."""
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    logging.getLogger("app").critical("the process ends", exc_info=(kind, error, trace))


def _log_lost_thread(lost: threading.ExceptHookArgs) -> None:
    """Log the error that ends a thread."""
    if lost.exc_value is not None and lost.exc_type is not SystemExit:
        name = lost.thread.name if lost.thread else "unknown"
        trace = (lost.exc_type, lost.exc_value, lost.exc_traceback)
        logging.getLogger("app").critical("the thread %s ends", name, exc_info=trace)


def granian_logging(log_format: str) -> dict[str, Any]:
    """The configuration of granian's own log, in the same form."""
    handler = {"class": "logging.StreamHandler", "formatter": "line"}
    return {
        "formatters": {"line": {"()": "app.logs.formatter", "process": "api", "log_format": log_format}},
        "handlers": {"console": handler},
        "loggers": {
            name: {"handlers": ["console"], "level": "INFO", "propagate": False}
            for name in ("_granian", "granian.access")
        },
    }
