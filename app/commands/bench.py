"""`bench`: measure Holdfast against the usual ways to keep balances, on servers of its own, and write a report."""

import argparse
import importlib
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to measure, how long, and where the report goes."""
    parser.add_argument("scenarios", nargs="*", metavar="scenario", help="default: all but growth; `list` names them")
    parser.add_argument(
        "--duration", type=float, default=2.0, metavar="S", help="seconds a round (default %(default)s)"
    )
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="rounds a contestant (default %(default)s)")
    parser.add_argument(
        "--connections", type=_counts, default=(1, 16, 64, 256), metavar="N,N", help="default 1,16,64,256"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    parser.add_argument("--report", type=Path, metavar="DIRECTORY", help="write tables, plots and a page there")
    parser.add_argument("--sustained", type=float, default=20.0, metavar="S", help="seconds of the batch scenario (20)")
    parser.add_argument("--accounts", type=int, default=1_000, metavar="N", help="accounts in the small case (1000)")
    parser.add_argument(
        "--growth-accounts", type=int, default=1_000_000, metavar="N", help="accounts of growth (1000000)"
    )
    parser.add_argument(
        "--growth-entries", type=int, default=10_000_000, metavar="N", help="entries of growth (10000000)"
    )
    parser.add_argument("--tigerbeetle", type=Path, metavar="PATH", help="its program, to compare with it too")


def run(arguments: argparse.Namespace) -> int:
    """Run the scenarios. Exit code 1 when Holdfast's ledger was wrong after any of them."""
    scenarios = importlib.import_module("bench.scenarios").SCENARIOS
    if arguments.scenarios == ["list"]:
        print("\n".join(scenarios))
        return 0
    unknown = [name for name in arguments.scenarios if name not in scenarios]
    if unknown:
        print(f"There is no scenario {', '.join(unknown)}. There are: {', '.join(scenarios)}.")
        return 2
    options = importlib.import_module("bench.arena").Options(
        seconds=arguments.duration,
        rounds=arguments.rounds,
        connections=arguments.connections,
        accounts=arguments.accounts,
        growth_accounts=arguments.growth_accounts,
        growth_entries=arguments.growth_entries,
        sustained_seconds=arguments.sustained,
        tigerbeetle=arguments.tigerbeetle,
    )
    content = importlib.import_module("bench.runner").run(
        arguments.scenarios,
        options,
        scratch=arguments.data_dir.absolute() / "bench",
        json_file=arguments.json,
        report=arguments.report,
    )
    wrong = [one for one in content["figures"] if one["contestant"].startswith("Holdfast") and not one["valid"]]
    return 1 if wrong else 0


def _counts(text: str) -> tuple[int, ...]:
    """Numbers of connections."""
    counts = tuple(int(one) for one in text.split(","))
    if not counts or min(counts) < 1:
        raise argparse.ArgumentTypeError("must be numbers of at least 1, with commas between")
    return counts
