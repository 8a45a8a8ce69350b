"""`webhooks`: make endpoints and list them, rotate their secrets, disable them, and send dead letters again."""

import argparse
import sys
from datetime import timedelta

from app.commands.connection import ACTOR, connected
from app.domain.events import EventType
from app.domain.timestamps import rfc3339
from app.domain.webhooks import Endpoint, EndpointState, NewEndpoint
from app.domain.wording import counted
from app.services.events.endpoints import Endpoints, UnusableUrl
from app.wiring.events import build_endpoints
from app.wiring.services import build_engine

PAGE = 500


def run(arguments: argparse.Namespace) -> int:
    """Runs the action."""
    with connected(arguments.data_dir) as settings:
        engine = build_engine(settings, "webhooks")
        try:
            return ACTIONS[arguments.action](arguments, build_endpoints(settings, engine))
        except UnusableUrl as error:
            print(f"The URL {error}.", file=sys.stderr)
            return 2
        finally:
            engine.dispose()


def _create(arguments: argparse.Namespace, endpoints: Endpoints) -> int:
    if arguments.account is not None and not endpoints.ledger.has_account(arguments.account):
        print(f"There is no account {arguments.account!r}.", file=sys.stderr)
        return 1
    types = None if arguments.type is None else [EventType(one) for one in dict.fromkeys(arguments.type)]
    new = NewEndpoint(
        arguments.url,
        arguments.name,
        types,
        arguments.account,
        arguments.entity,
        is_ordered=arguments.ordered,
    )
    issued = endpoints.create(new, ACTOR)
    print(issued.endpoint.endpoint_id)
    print(issued.secret)
    return 0


def _list(_: argparse.Namespace, endpoints: Endpoints) -> int:
    counts, lags = endpoints.ledger.counts(), endpoints.ledger.lags()
    after = None
    while found := endpoints.ledger.page(limit=PAGE, after=after):
        for one in found:
            waiting, dead = counts.get(one.endpoint_id, (0, 0))
            unread = lags[one.endpoint_id].unread if one.endpoint_id in lags else 0
            print("  ".join(_columns(one, unread, waiting, dead)))
        after = found[-1].endpoint_id
    return 0


def _columns(one: Endpoint, unread: int, waiting: int, dead: int) -> list[str]:
    types = "everything" if one.types is None else ",".join(kind.value for kind in one.types)
    details = [
        "in order" if one.is_ordered else "",
        f"{unread} unread" if unread else "",
        f"{waiting} tried again" if waiting else "",
        f"{dead} given up" if dead else "",
    ]
    listed = [one.endpoint_id, rfc3339(one.created_at), f"{one.state.value:<8}", one.url, types]
    return [*listed, *[text for text in details if text], *([one.name] if one.name else [])]


def _rotate(arguments: argparse.Namespace, endpoints: Endpoints) -> int:
    overlap = timedelta(hours=arguments.overlap_hours)
    issued = endpoints.rotate(arguments.endpoint_id, overlap, ACTOR, None)
    if issued is None:
        return _missing(arguments)
    print(issued.secret)
    return 0


def _enable(arguments: argparse.Namespace, endpoints: Endpoints) -> int:
    return _set_state(arguments, endpoints, EndpointState.ENABLED)


def _disable(arguments: argparse.Namespace, endpoints: Endpoints) -> int:
    return _set_state(arguments, endpoints, EndpointState.DISABLED)


def _delete(arguments: argparse.Namespace, endpoints: Endpoints) -> int:
    return _set_state(arguments, endpoints, EndpointState.DELETED)


def _set_state(arguments: argparse.Namespace, endpoints: Endpoints, state: EndpointState) -> int:
    if endpoints.change(arguments.endpoint_id, {"state": state.value}, ACTOR, None) is None:
        return _missing(arguments)
    print(f"Endpoint {arguments.endpoint_id} is {state.value}.")
    return 0


def _dead(arguments: argparse.Namespace, endpoints: Endpoints) -> int:
    if endpoints.ledger.get(arguments.endpoint_id) is None:
        return _missing(arguments)
    after = None
    while found := endpoints.ledger.waiting(arguments.endpoint_id, limit=PAGE, after=after):
        for one in found:
            tried = rfc3339(one.dead_at or one.first_at), counted(one.attempts, "attempt")
            print("  ".join((one.event_id, one.event_type, *tried, one.last_failure)))
        after = found[-1].cursor
    return 0


def _resend(arguments: argparse.Namespace, endpoints: Endpoints) -> int:
    count = endpoints.resend(arguments.endpoint_id, arguments.event_id or None, ACTOR, None)
    if count is None:
        return _missing(arguments)
    print(f"{counted(count, 'dead letter is', 'dead letters are')} sent again.")
    return 0


def _missing(arguments: argparse.Namespace) -> int:
    print(f"There is no endpoint {arguments.endpoint_id!r}.", file=sys.stderr)
    return 1


ACTIONS = {
    "create": _create,
    "list": _list,
    "rotate": _rotate,
    "enable": _enable,
    "disable": _disable,
    "delete": _delete,
    "dead": _dead,
    "resend": _resend,
}
