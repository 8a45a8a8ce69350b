"""The long form: 100,000 lines against 1,000,000 entries, half of them matched by reference and half by amount.

`HOLDFAST_LONG=1 .venv/bin/pytest -s tests/services/statements/test_many.py` prints how long each step takes.
"""

import os
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from app.domain.accounts import AccountType
from tests.services.statements.desk import BANK, Desk
from tests.world import World

pytestmark = pytest.mark.skipif(not os.environ.get("HOLDFAST_LONG"), reason="takes minutes: HOLDFAST_LONG=1")

LINES, ENTRIES = 100_000, 1_000_000

LEDGER = """
INSERT INTO ledger_transaction (partition, chain_seq, entity_id, external_id, kind, payment_id, fingerprint, actor,
    accepted_at, effective_at, posted_at, previous_hash, hash)
SELECT 0, n, 'default', 'payment-' || n, 'payment', 'pay_0_' || n || '_0', '', 'key:test', day, day, day, '', ''
FROM (SELECT n, timestamptz '2026-01-01 12:00+00' + (n %% 300) * interval '1 day' AS day
    FROM generate_series(1, {entries}) n) t
"""
ENTRY = """
INSERT INTO entry (account_id, entry_number, partition, chain_seq, leg, amount_minor, balance_minor, currency_code,
    posted_at)
SELECT CASE leg WHEN 0 THEN '{bank}' ELSE 'customer:' || n %% 100 END,
    CASE leg WHEN 0 THEN n ELSE n / 100 + 1 END, 0, n, leg, (CASE leg WHEN 0 THEN 1 ELSE -1 END) * (1000 + n), 0, 'EUR',
    timestamptz '2026-01-01 12:00+00'
FROM generate_series(1, {entries}) n, generate_series(0, 1) leg
"""
STATEMENT = """
INSERT INTO statement_source (name, version, format, options, created_by) VALUES ('bank', 1, 'csv', '{}', 'tests');
INSERT INTO statement_import (source_name, source_version, file_hash, file_name, file_bytes, line_count, added_count,
    known_count, refused_count, imported_by) VALUES ('bank', 1, sha256('x'), 'x', 1, 1, 1, 0, 0, 'tests');
INSERT INTO statement (import_id, source_name, account_ref, currency_code, minor_units, name, first_on, last_on,
    opening_minor, closing_minor, line_count, lines_minor, added_count, added_minor, refused_count, not_booked_count,
    page_count, proof, missing)
SELECT import_id, 'bank', '', 'EUR', 2, '', '2026-01-01', '2026-10-28', 0, 0, 1, 1, 1, 1, 0, 0, 1, 'proven', ''
FROM statement_import;
"""
LINE = """
INSERT INTO statement_line (statement_id, source_name, account_ref, currency_code, line, position, booked_on,
    amount_minor, kind, reference, counterparty, text, details, identity, ordinal, content)
SELECT s.statement_id, 'bank', '', 'EUR', n, n, date '2026-01-01' + (m %% 300)::int, 1000 + m, 'NMSC',
    CASE n %% 2 WHEN 0 THEN 'payment-' || m ELSE '' END, 'somebody', 'a transfer of no particular kind', '{{}}',
    int8send(n), 1, '' FROM statement s, LATERAL (SELECT n, n * 10 AS m FROM generate_series(1, {lines}) n) t
"""


@contextmanager
def step(name: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"{name}: {time.perf_counter() - began:.1f} s, at most {most} MB")


def test_a_hundred_thousand_lines_are_matched_with_a_million_entries(world: World) -> None:
    desk = Desk(world)
    world.account(BANK, AccountType.ASSET)
    with step("ledger"):
        sizes = {"entries": ENTRIES, "bank": BANK}
        world.tamper(*(one.format(**sizes).replace("%%", "%") for one in (LEDGER, ENTRY)))
        world.tamper(STATEMENT.replace("%%", "%"), LINE.format(lines=LINES).replace("%%", "%"))
        world.owner.execute("ANALYZE")
    desk.link(rules=[{"name": "Same amount", "days": 3}])
    with step("first run"):
        report = desk.match()
    print(report)
    assert report.matched == LINES
    assert report.by_rule == {"By reference": LINES // 2, "Same amount": LINES // 2}
    assert sum(report.open_breaks.values()) == ENTRIES - LINES
    with step("second run"):
        again = desk.match()
    assert (again.matched, again.new_breaks) == (0, 0)
