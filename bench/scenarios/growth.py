"""Growth: is Holdfast as fast with a million accounts and ten million entries, and what do the proofs cost then?"""

import json
import subprocess
import sys
import threading
import time

import psutil

from app.command_line import PROJECT
from bench.arena import Arena
from bench.bulk import add_accounts, load_payments
from bench.contestants import Holdfast
from bench.figures import Round
from bench.inside import Inside
from bench.load import workload
from bench.scenarios.payments import MAIN_CONNECTIONS
from bench.system import CLEARING, Client, System

SMALL, LARGE = "Holdfast, small", "Holdfast, large"
NEW_PAYMENTS = 10_000
HYDRATED_AT_ONCE = 1_000


def run(arena: Arena) -> None:
    """A second Holdfast is grown beside the first, and both run in turn."""
    options = arena.options
    with System(arena.scratch / "grown") as grown:
        with Client(grown) as client:
            client.create(CLEARING, "asset")
        began = time.monotonic()
        add_accounts(grown, "wallet", options.growth_accounts)
        arena.say(f"growth: {options.growth_accounts:,} accounts after {time.monotonic() - began:.0f} s")
        _prove(arena, grown, "no entries")
        load_payments(grown, options.growth_accounts, options.growth_entries // 2, arena.say)
        arena.say(f"growth: {options.growth_entries:,} entries after {time.monotonic() - began:.0f} s")
        _hydrate(arena, grown)
        _prove(arena, grown, f"{options.growth_entries:,} entries")
        _incremental(arena, grown)
        _throughput(arena, grown)
        _sizes(arena, grown)


def _hydrate(arena: Arena, grown: System) -> None:
    """Every account into the cache, so that the full proof compares all of them."""
    inside = Inside(grown)
    before = int(grown.cache.info("memory")["used_memory"])
    names = [row[0] for row in grown.database.execute("SELECT account_id FROM account_balance")]
    for start in range(0, len(names), HYDRATED_AT_ONCE):
        inside.services.balances.hydrate(names[start : start + HYDRATED_AT_ONCE])
    after = int(grown.cache.info("memory")["used_memory"])
    arena.figures.add("growth", "Redis, an account", 0, Round((after - before) / len(names)), "bytes")


def _prove(arena: Arena, grown: System, size: str) -> None:
    seconds, peak_mb, breaks = _reconcile(grown, "--full")
    one = Round(seconds, extra={"peak_mb": peak_mb}, problems=[f"{breaks} open breaks"] if breaks else [])
    arena.figures.add("growth", f"full reconciliation, {size}", 0, one, "seconds")
    arena.say(f"growth: full reconciliation, {size}: {seconds:.1f} s, peak {peak_mb:.0f} MB")


def _incremental(arena: Arena, grown: System) -> None:
    _reconcile(grown)  # from here on only what is new
    drawn = workload.uniform(min(arena.options.growth_accounts, 100_000))
    Inside(grown).submit(arena.new_run(), drawn, NEW_PAYMENTS)
    grown.quiesce()
    seconds, peak_mb, breaks = _reconcile(grown)
    one = Round(seconds, extra={"peak_mb": peak_mb}, problems=[f"{breaks} open breaks"] if breaks else [])
    arena.figures.add("growth", f"incremental reconciliation, {NEW_PAYMENTS:,} new payments", 0, one, "seconds")
    arena.say(f"growth: incremental reconciliation: {seconds:.1f} s")


def _reconcile(system: System, *options: str) -> tuple[float, float, int]:
    """The command, as cron would run it: seconds by its own count, its peak memory, and the open breaks."""
    command = [sys.executable, "-m", "app", "reconcile", "--json", *options]
    child = subprocess.Popen(command, cwd=PROJECT, env=system.environment, stdout=subprocess.PIPE, text=True)
    peak = [0]

    def watch() -> None:
        process = psutil.Process(child.pid)
        while child.poll() is None:
            try:
                peak[0] = max(peak[0], process.memory_info().rss)
            except psutil.Error:
                return
            time.sleep(0.05)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    output, _ = child.communicate(timeout=1_800)
    watcher.join()
    report = json.loads(output)
    return report["seconds"], peak[0] / 2**20, report["open_breaks"]


def _throughput(arena: Arena, grown: System) -> None:
    """Both sizes in turn, uniform over all of their accounts; the large one's audit is its own reconciliation."""
    small, large = arena.holdfast, Holdfast(grown)
    small_drawn = workload.uniform(arena.options.accounts)
    large_drawn = workload.uniform(arena.options.growth_accounts)
    grown.auditor.open()
    for title, contestant, drawn in ((SMALL, small, small_drawn), (LARGE, large, large_drawn)):
        arena.turn(contestant, drawn, MAIN_CONNECTIONS)  # warm
        arena.say(f"growth: {title} is warm")
    for number in range(arena.options.rounds):
        for title, contestant, drawn in ((SMALL, small, small_drawn), (LARGE, large, large_drawn)):
            outcome = arena.turn(contestant, drawn, MAIN_CONNECTIONS)
            arena.figures.add("growth", title, MAIN_CONNECTIONS, outcome.round)
            arena.say(f"growth, round {number + 1}: {title}: {outcome.round.rate:,.0f}/s")


def _sizes(arena: Arena, grown: System) -> None:
    [row] = grown.database.execute(
        """SELECT pg_total_relation_size('ledger_transaction') + pg_total_relation_size('entry'), count(*)
        FROM ledger_transaction"""
    ).fetchall()
    arena.figures.add("growth", "Postgres, a posted payment", 0, Round(row[0] / row[1]), "bytes")
