"""The arguments of the commands about proofs: `reconcile` and `breaks`."""

import argparse

from app.argument_values import accept_data_dir, count, reason


def reconcile_options(parser: argparse.ArgumentParser) -> None:
    """What `reconcile` takes."""
    parser.add_argument("--full", action="store_true", help="check everything, not only what is new")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument(
        "--repair",
        type=reason,
        metavar="REASON",
        help="check everything, rebuild from the ledger what is wrong in the cache, and check again; the reason is "
        "kept in the audit trail",
    )
    parser.add_argument(
        "--accept-losses",
        type=reason,
        metavar="REASON",
        help="close the breaks that say what a replaced cache has lost, which no run can: somebody has seen to the "
        "payments that they name; the reason is kept with them",
    )


def breaks_options(parser: argparse.ArgumentParser) -> None:
    """What `breaks` takes."""
    from app.domain.break_workflow import BreakState, ReasonCode
    from app.domain.found_breaks import BreakSource

    parser.epilog = (
        "Exit codes: 0 when all is well; 1 when somebody has to look: `list` and `ageing` while a listed break is "
        "overdue, `repair` where nothing was repaired; 2 when what was asked is refused."
    )
    actions = parser.add_subparsers(dest="action", required=True)
    listed = actions.add_parser("list", help="list open breaks, the next due first", epilog=parser.epilog)
    listed.add_argument("--all", action="store_true", help="those that are settled, too")
    listed.add_argument("--source", choices=[one.value for one in BreakSource], help="inside or outside only")
    listed.add_argument("--account", metavar="ID", help="of this account only")
    listed.add_argument("--overdue", action="store_true", help="only those that should have been settled by now")
    show = actions.add_parser("show", help="a break with both sides, its evidence and its history")
    change = actions.add_parser("change", help="work on a break; each change is kept in its history and in the audit")
    change.add_argument("--state", choices=[one.value for one in BreakState], help="how far it is")
    change.add_argument("--owner", metavar="USER", help="who looks after it; `nobody` takes the owner away")
    change.add_argument("--reason", choices=[one.value for one in ReasonCode], help="why there is a difference")
    change.add_argument("--due", metavar="TIME", help="until when, as RFC 3339")
    change.add_argument("--comment", type=reason, metavar="TEXT", help="what you have found or done")
    actions.add_parser("ageing", help="open breaks by account, currency and age")
    runs = actions.add_parser("runs", help="the latest runs of the reconciliation")
    runs.add_argument("--limit", type=count, default=20, metavar="N", help="how many (default %(default)s)")
    repair = actions.add_parser(
        "repair", help="show what a repair would change in the cache; with a reason, ask for it"
    )
    repair.add_argument("--reason", type=reason, metavar="TEXT", help="why; it is kept for ever")
    repair.add_argument("--token", metavar="TOKEN", help="that of the preview that you have seen")
    for action in (show, change, repair):
        action.add_argument("break_id", type=count, metavar="BREAK", help="the number that `breaks list` shows")
    accept_data_dir(actions)
