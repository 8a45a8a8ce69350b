"""The API's server: granian's command line, whose log has the form of all the others.

Where one of the processes that answer requests ends, granian starts another and says so, but not how the first ended.
Here the line says it too, and the console of `up` shows it.
"""

import logging
import os
from typing import Any

from granian import cli
from granian.server import Server

from app.crash_reports import UNEXPECTED_EXIT
from app.logs import granian_logging
from app.supervisor import describe

GRANIAN = "_granian"


class ExitStatus(logging.Filter):
    """Adds to granian's line about a lost process which one it was, and how it ended."""

    def __init__(self, server: Any) -> None:
        super().__init__()
        self._server = server
        self._own_pid = os.getpid()

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record pass; complete the one about a lost process."""
        if os.getpid() == self._own_pid and record.getMessage().startswith(UNEXPECTED_EXIT):
            for worker in self._server.wrks:
                if f"worker-{worker.idx + 1}" in record.msg and worker.inner.exitcode is not None:
                    record.msg += f": process {worker.inner.pid} {describe(worker.inner.exitcode)}"
        return True


def _server(*arguments: Any, **options: Any) -> Any:
    options["log_dictconfig"] = granian_logging(os.environ.get("HOLDFAST_LOG_FORMAT") or "json")
    server = Server(*arguments, **options)
    logging.getLogger(GRANIAN).addFilter(ExitStatus(server))
    return server


if __name__ == "__main__":
    cli.Server = _server  # type: ignore[attr-defined, assignment]
    cli.entrypoint()  # type: ignore[no-untyped-call]
