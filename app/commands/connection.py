"""How a command reaches the system: the servers that it works on, and the API seen from outside.

The servers are those that the environment names, or those of a data directory. Of the API it is asked whether its port
is free before the start, and whether it is ready after it.
"""

import contextlib
import errno
import http.client
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.embedded.attach import attached
from app.embedded.child_process import EmbeddedServerError, tail
from app.settings import Settings, settings_from
from app.supervisor import Supervisor, api_service

ACTOR = "command line"
"""Who is on record for what a command changes."""

READY_SECONDS = 60.0
PREDECESSOR_SECONDS = 10.0  # the API of a system that was killed finishes its last requests
_POLL_SECONDS = 0.02


@contextmanager
def connected(data_dir: Path) -> Iterator[Settings]:
    """Settings that name the servers to work on; if none run, embedded ones run for as long as the command."""
    with attached(data_dir) as urls:
        environment = {
            **os.environ,
            "DATABASE_URL": urls.database_url,
            "HOLDFAST_OWNER_DATABASE_URL": urls.owner_database_url,
            "REDIS_URL": urls.redis_url,
            "HOLDFAST_DATA_DIR": str(data_dir),
        }
        yield settings_from(environment)


def require_port(host: str, port: int, *, wait: bool) -> None:
    """Raises when nobody can listen there; `wait` allows for a dead predecessor's last moments."""
    end = time.monotonic() + (PREDECESSOR_SECONDS if wait else 0.0)
    while error := _bind_error(host, port):
        if error.errno != errno.EADDRINUSE or time.monotonic() > end:
            raise EmbeddedServerError(_explain(host, port, error))
        time.sleep(_POLL_SECONDS)


def _bind_error(host: str, port: int) -> OSError | None:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen()
    except OSError as error:
        return error
    except OverflowError:
        return OSError(errno.EINVAL, "port must be 0-65535")
    return None


def _explain(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"Port {port} on {host} is taken by another program. Choose another with --port."
    if error.errno == errno.EACCES:
        return f"Port {port} is reserved for the superuser. Choose one from 1024 up with --port."
    return f"The API cannot listen on {host} port {port}: {error.strerror or error}."


def wait_until_ready(host: str, port: int, supervisor: Supervisor) -> None:
    """Returns when /readyz answers 200; raises with the end of the API's log when it will not."""
    service = api_service(supervisor)
    end = time.monotonic() + READY_SECONDS
    answer = "nothing"
    while (answer := _answer(host, port)) != "200":
        if not service.alive or time.monotonic() > end:
            what = f"did not become ready (/readyz: {answer})" if service.alive else "ended during its start"
            text = f"The API {what}. Its log, {service.log_path}, ends:\n{tail(service.log_path)}"
            raise EmbeddedServerError(text)
        supervisor.look_after()
        time.sleep(_POLL_SECONDS)


def _answer(host: str, port: int) -> str:
    try:
        return str(readiness(host, port)[0])
    except (OSError, http.client.HTTPException) as error:
        return type(error).__name__


def readiness(host: str, port: int) -> tuple[int, bytes]:
    """The status and the body of /readyz; OSError or HTTPException when no answer comes."""
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)  # noqa: S104
    connection = http.client.HTTPConnection(reachable, port, timeout=2.0)
    with contextlib.closing(connection):
        connection.request("GET", "/readyz")
        response = connection.getresponse()
        return response.status, response.read()
