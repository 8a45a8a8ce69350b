"""What an idle account, an idempotency record and a pending payment cost in Redis, and a payment in Postgres."""

from itertools import islice

from app.cache import keys
from bench.arena import Arena
from bench.bulk import add_accounts
from bench.figures import Round
from bench.inside import Inside
from bench.load import workload

ACCOUNT, RECORD, PENDING = "idle account", "idempotency record and its claim", "pending payment, beside both"
RECORD_KEY, CLAIM_KEY = "record alone (MEMORY USAGE)", "claim alone (MEMORY USAGE)"
ACCOUNT_KEY = "idle account's hash (MEMORY USAGE)"
LEDGER = "Postgres, a posted payment"
UNIT = "bytes"
PREFIX = "idle"
SAMPLES = 500


def run(arena: Arena) -> None:
    """Differences of used_memory, divided; MEMORY USAGE of single keys beside them."""
    system, inside = arena.system, Inside(arena.system)
    count = arena.options.payments  # many: the tables of the cache grow and shrink in steps
    before = _used(arena)
    names = add_accounts(system, PREFIX, count)
    for start in range(0, count, 1_000):
        inside.services.balances.hydrate(names[start : start + 1_000])
    accounts = _used(arena)
    _add(arena, ACCOUNT, (accounts - before) / count)
    drawn = workload.uniform(arena.options.accounts)
    inside.submit(arena.new_run(), drawn, drawn.enough_for_all())  # no cold account is left
    system.quiesce()
    system.stop_drains()
    try:
        empty = _used(arena)
        inside.submit(arena.new_run(), drawn, count)
        full = _used(arena)
    finally:
        system.start_drains()
    system.quiesce()
    settled = _used(arena)
    system.auditor.open()
    _add(arena, RECORD, (settled - empty) / count)
    _add(arena, PENDING, (full - settled) / count)
    for title, pattern in (
        (RECORD_KEY, keys.pattern(keys.RECORD)),
        (CLAIM_KEY, keys.pattern(keys.CLAIM)),
        (ACCOUNT_KEY, keys.pattern(keys.ACCOUNT) + f"{PREFIX}:*"),
    ):
        found = list(islice(system.cache.scan_iter(match=pattern, count=1_000), SAMPLES))
        if found:
            usage = sum(system.cache.memory_usage(key, samples=0) or 0 for key in found) / len(found)
            _add(arena, title, usage)
    [row] = system.database.execute(
        """SELECT pg_total_relation_size('ledger_transaction') + pg_total_relation_size('entry'), count(*)
        FROM ledger_transaction"""
    ).fetchall()
    _add(arena, LEDGER, row[0] / row[1])


def _used(arena: Arena) -> int:
    return int(arena.system.cache.info("memory")["used_memory"])


def _add(arena: Arena, title: str, size: float) -> None:
    arena.figures.add("memory", title, 0, Round(size), UNIT)
    arena.say(f"memory: {title}: {size:,.0f} bytes")
