"""`bench`: measure Holdfast against the usual ways to keep balances, on servers of its own, and write a report."""

import argparse
import importlib


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
