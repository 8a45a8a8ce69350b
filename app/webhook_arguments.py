"""What can be typed after `python3 -m app webhooks` and `python3 -m app monitors`."""

import argparse

from app.argument_values import accept_data_dir, amount_minor, entity_id, overlap_hours


def webhooks_options(parser: argparse.ArgumentParser) -> None:
    """What `webhooks` takes."""
    from app.domain.events import EventType
    from app.services.events.endpoints import DEFAULT_OVERLAP_H

    actions = parser.add_subparsers(dest="action", required=True)
    create = actions.add_parser("create", help="make an endpoint; prints its id and its secret, once")
    create.add_argument("url", metavar="URL", help="where events are sent to: https://…")
    create.add_argument("--name", default="", help="whose it is")
    create.add_argument(
        "--type",
        action="append",
        choices=[one.value for one in EventType],
        help="events of this type only; repeat for several (default: all)",
    )
    create.add_argument("--account", metavar="ACCOUNT", help="events about this account only")
    create.add_argument(
        "--entity", action="append", type=entity_id, metavar="ENTITY", help="events of this entity; repeat for several"
    )
    create.add_argument("--ordered", action="store_true", help="send the events of an account one after the other")
    actions.add_parser("list", help="list all endpoints, without their secrets")
    rotate = actions.add_parser("rotate", help="make a new secret and print it, once")
    rotate.add_argument(
        "--overlap-hours",
        type=overlap_hours,
        default=DEFAULT_OVERLAP_H,
        metavar="N",
        help="how long messages are signed with the former one too (default %(default)s)",
    )
    enable = actions.add_parser("enable", help="tell an endpoint of events again, from where it was")
    disable = actions.add_parser("disable", help="tell an endpoint of nothing for now")
    delete = actions.add_parser("delete", help="tell an endpoint of nothing more, for good")
    dead = actions.add_parser("dead", help="list the events that were given up after three days")
    resend = actions.add_parser("resend", help="send dead letters again: those that are named, or all")
    for action in (rotate, enable, disable, delete, dead, resend):
        action.add_argument("endpoint_id", metavar="ENDPOINT", help="the id that `webhooks list` shows")
    resend.add_argument("event_id", nargs="*", metavar="EVENT", help="an id that `webhooks dead` shows")
    accept_data_dir(actions)


def monitors_options(parser: argparse.ArgumentParser) -> None:
    """What `monitors` takes."""
    from app.domain.monitors import Comparison, Measure

    actions = parser.add_subparsers(dest="action", required=True)
    create = actions.add_parser("create", help="tell each time that a condition on an account turns; prints its id")
    create.add_argument("account_id", metavar="ACCOUNT", help="the account")
    create.add_argument("measure", choices=[one.value for one in Measure], help="what to look at")
    create.add_argument("comparison", choices=[one.value for one in Comparison], help="when the condition holds")
    create.add_argument("threshold_minor", type=amount_minor, metavar="THRESHOLD", help="in minor units: 5000 is 50.00")
    create.add_argument("--name", default="", help="what it is for")
    listed = actions.add_parser("list", help="list the monitors that have not ended, and whether they hold")
    listed.add_argument("--account", metavar="ACCOUNT", help="those of this account only")
    show = actions.add_parser("show", help="show one monitor, also one that has ended")
    end = actions.add_parser("end", help="end a monitor, for good")
    for action in (show, end):
        action.add_argument("monitor_id", metavar="MONITOR", help="the id that `monitors list` shows")
    accept_data_dir(actions)
