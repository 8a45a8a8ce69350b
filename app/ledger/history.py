"""Reading the ledger: payments, entries, trial balance."""

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Engine,
    FromClause,
    Select,
    and_,
    case,
    func,
    select,
    text,
)

from app.domain.authorizations import Authorization
from app.domain.payment import Kind
from app.domain.read_models import (
    AccountEntry,
    AsOf,
    ConflictCount,
    LedgerMoment,
    PostedLeg,
    PostedPayment,
    RejectedPayment,
    ReportCursor,
    TrialBalanceLine,
    TrialBalanceTotal,
)
from app.domain.refusals import Refusal, RefusalCode
from app.ledger.connections import translated
from app.ledger.engine import any_of
from app.ledger.locked_posting import authorization_from_row
from app.ledger.past_balances import Way, reached, way_to
from app.ledger.proof_schema import reconciliation_break
from app.ledger.schema import (
    IDENTIFIER,
    account,
    account_balance,
    conflict_count,
    entry,
    hold,
    ledger_transaction,
    partition,
    payment_duplicate,
    payment_rejection,
)
from app.ledger.snapshots import one_snapshot
from app.ledger.transactions import returned

_ONE_ACCOUNT = """
    SELECT a.account_id, a.entity_id, a.type, a.currency_code, b.entry_count, b.normal_sign, b.balance_minor
    FROM account a JOIN account_balance b USING (account_id) WHERE a.account_id = :account_id
"""
OF_TRANSACTION = and_(
    ledger_transaction.c.partition == entry.c.partition, ledger_transaction.c.chain_seq == entry.c.chain_seq
)
"""Joins an entry and its ledger transaction."""

ACCOUNT_ENTRIES: Select[Any] = select(
    entry.c.entry_number,
    entry.c.amount_minor,
    entry.c.balance_minor,
    entry.c.currency_code,
    entry.c.posted_at,
    ledger_transaction.c.effective_at,
    ledger_transaction.c.payment_id,
    ledger_transaction.c.external_id,
    ledger_transaction.c.kind,
    ledger_transaction.c.description,
).join(ledger_transaction, OF_TRANSACTION)
"""Entries with what their transactions say: the fields of an AccountEntry, in order."""


class History:
    """What the ledger says, for readers."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def posted(self, payment_id: str) -> PostedPayment | None:
        """A posted payment by its id; a late duplicate answers with the original."""
        found = self._posted(ledger_transaction.c.payment_id == payment_id)
        if found is not None:
            return found
        query = select(payment_duplicate.c.original_payment_id).where(payment_duplicate.c.payment_id == payment_id)
        with translated(), self.engine.connect() as connection:
            original = connection.execute(query).scalar()
        if original is None:
            return None
        return self._posted(ledger_transaction.c.payment_id == original, duplicate_of=original)

    def posted_by_external_id(self, entity_id: str, external_id: str) -> PostedPayment | None:
        """A posted payment by its external id."""
        return self._posted(
            and_(ledger_transaction.c.entity_id == entity_id, ledger_transaction.c.external_id == external_id)
        )

    def rejected(self, payment_id: str) -> RejectedPayment | None:
        """A rejected payment by its id."""
        return self._rejected(payment_rejection.c.payment_id == payment_id)

    def rejected_by_external_id(self, entity_id: str, external_id: str) -> RejectedPayment | None:
        """The latest rejected payment of an external id."""
        return self._rejected(
            and_(payment_rejection.c.entity_id == entity_id, payment_rejection.c.external_id == external_id)
        )

    def _posted(self, condition: Any, duplicate_of: str | None = None) -> PostedPayment | None:
        with translated(), self.engine.connect() as connection:
            t = connection.execute(select(ledger_transaction).where(condition)).first()
            if t is None:
                return None
            legs = connection.execute(
                select(entry)
                .where(entry.c.partition == t.partition, entry.c.chain_seq == t.chain_seq)
                .order_by(entry.c.leg)
            ).all()
            authorization = _authorization(connection, t.payment_id) if t.kind == Kind.CAPTURE else None
            given_back = returned(connection, t.payment_id, [leg.account_id for leg in legs[1:]])
        return PostedPayment(
            payment_id=t.payment_id,
            external_id=t.external_id,
            entity_id=t.entity_id,
            kind=t.kind,
            fingerprint=t.fingerprint,
            partition=t.partition,
            chain_seq=t.chain_seq,
            currency_code=legs[0].currency_code,
            description=t.description,
            metadata=t.metadata,
            accepted_at=t.accepted_at,
            effective_at=t.effective_at,
            posted_at=t.posted_at,
            legs=[PostedLeg(leg.account_id, leg.entry_number, leg.amount_minor, leg.balance_minor) for leg in legs],
            duplicate_of=duplicate_of,
            authorization=authorization,
            refunded_minor=sum(given_back.values()),
        )

    def _rejected(self, condition: Any) -> RejectedPayment | None:
        query = select(payment_rejection).where(condition).order_by(payment_rejection.c.rejected_at.desc()).limit(1)
        with translated(), self.engine.connect() as connection:
            row = connection.execute(query).first()
        if row is None:
            return None
        refusal = Refusal(RefusalCode(row.code), row.detail, row.figures)
        return RejectedPayment(row.payment_id, row.external_id, row.entity_id, refusal, row.intent, row.rejected_at)

    def posted_among(self, payment_ids: Sequence[str]) -> set[str]:
        """Those of these payments that are posted under their own id; a late duplicate is not."""
        query = select(ledger_transaction.c.payment_id).where(ledger_transaction.c.payment_id == any_of(payment_ids))
        with translated(), self.engine.connect() as connection:
            return set(connection.execute(query).scalars())

    def entries(self, account_id: str, *, limit: int, after: int) -> list[AccountEntry]:
        """Up to `limit` entries of an account in order, after entry number `after`."""
        query = (
            ACCOUNT_ENTRIES.where(entry.c.account_id == account_id, entry.c.entry_number > after)
            .order_by(entry.c.entry_number)
            .limit(limit)
        )
        with translated(), self.engine.connect() as connection:
            return [AccountEntry(*row) for row in connection.execute(query)]

    def balance_at(self, account_id: str, as_of: AsOf) -> int:
        """An account's balance on its normal side at an instant, in minor units."""
        parameters = {"account_id": account_id, "begins": None, "ends": as_of.before}
        with translated(), self.engine.connect() as connection:
            return int(connection.execute(text(reached(_ONE_ACCOUNT, as_of.by)), parameters).one()[5])

    def trial_balance(
        self,
        *,
        entity_id: str | None,
        currency_code: str | None,
        limit: int,
        as_of: AsOf | None,
        cursor: ReportCursor | None = None,
        entities: Collection[str] | None = None,
    ) -> tuple[list[TrialBalanceTotal], list[TrialBalanceLine], LedgerMoment]:
        """Totals per currency over all accounts, one page of lines, and the moment of the ledger that both are of.

        With `entities` only their accounts count.

        With a `cursor` they are of its moment: what was posted since is taken off again, so the lines of all pages add
        up to the totals. As of an instant too, all accounts are there, those without entries at zero: an account may
        have been made after the instant at which one of its entries takes effect.
        """
        moment = None if cursor is None else cursor.moment
        columns = account_balance.c
        conditions = []
        if moment is not None:
            conditions.append(columns.id <= moment.last_account)
        if entity_id is not None:
            conditions.append(columns.entity_id == entity_id)
        if entities is not None:
            conditions.append(columns.entity_id == any_of(sorted(entities)))
        if currency_code is not None:
            conditions.append(columns.currency_code == currency_code)
        after = [] if cursor is None else [columns.account_id > cursor.after_account_id]
        page = select(columns.account_id).where(*conditions, *after).order_by(columns.account_id).limit(limit)
        with one_snapshot(self.engine) as connection:
            signed, source = _signed_at(way_to(connection, as_of, moment))
            debit, credit = case((signed > 0, signed), else_=0), case((signed < 0, -signed), else_=0)
            totals = connection.execute(
                select(columns.currency_code, func.sum(debit), func.sum(credit), func.count())
                .select_from(source)
                .where(*conditions)
                .group_by(columns.currency_code)
                .order_by(columns.currency_code)
            ).all()
            lines = connection.execute(
                select(columns.account_id, columns.entity_id, account.c.type, columns.currency_code, debit, credit)
                .select_from(source.join(account, account.c.account_id == columns.account_id))
                .where(columns.account_id.in_(page))
                .order_by(columns.account_id)
            ).all()
            moment = moment or moment_of(connection)
        return [_total(row) for row in totals], [_line(row) for row in lines], moment

    def open_breaks(self) -> int:
        """How many breaks that reconciliation found are not settled yet."""
        query = select(func.count()).where(reconciliation_break.c.state.in_(("open", "investigating")))
        with translated(), self.engine.connect() as connection:
            return int(connection.execute(query).scalar_one())

    def conflicts(self, limit: int, entities: Collection[str] | None = None) -> list[ConflictCount]:
        """The accounts with the most conflict retries, hottest first; with `entities` only theirs."""
        query = select(conflict_count).order_by(conflict_count.c.retries.desc(), conflict_count.c.account_id)
        if entities is not None:
            query = query.join(account, account.c.account_id == conflict_count.c.account_id)
            query = query.where(account.c.entity_id == any_of(sorted(entities)))
        with translated(), self.engine.connect() as connection:
            rows = connection.execute(query.limit(limit)).all()
        return [ConflictCount(row.account_id, row.retries, row.exhausted, row.last_at) for row in rows]


def _authorization(connection: Connection, payment_id: str) -> Authorization:
    return authorization_from_row(connection.execute(select(hold).where(hold.c.payment_id == payment_id)).one())


def _signed_at(way: Way) -> tuple[ColumnElement[Any], FromClause]:
    """What each account's balance is, debit positive, and what to select it from."""
    signed = account_balance.c.normal_sign * account_balance.c.balance_minor
    if not way.query:
        return signed, account_balance
    parts = text(way.query).bindparams(**way.parameters).columns(account_id=IDENTIFIER, minor=BigInteger).subquery()
    moved = select(parts.c.account_id, func.sum(parts.c.minor).label("minor")).group_by(parts.c.account_id).subquery()
    source = account_balance.outerjoin(moved, moved.c.account_id == account_balance.c.account_id)
    return (signed if way.from_now else 0) + func.coalesce(moved.c.minor, 0), source


def moment_of(connection: Connection) -> LedgerMoment:
    """How far the ledger has come, as this snapshot sees it."""
    chain_seqs = connection.execute(select(partition.c.chain_seq).order_by(partition.c.partition)).scalars().all()
    last_account = connection.execute(select(func.coalesce(func.max(account_balance.c.id), 0))).scalar_one()
    return LedgerMoment(tuple(chain_seqs), int(last_account))


def _line(row: Any) -> TrialBalanceLine:
    account_id, entity_id, account_type, currency_code, debit, credit = row
    return TrialBalanceLine(account_id, entity_id, account_type, currency_code, int(debit), int(credit))


def _total(row: Any) -> TrialBalanceTotal:
    currency_code, debit, credit, count = row
    return TrialBalanceTotal(currency_code, int(debit), int(credit), count)
