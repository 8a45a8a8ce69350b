"""A whole real installation for one test: cache, ledger and services, wired as the product wires them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import psycopg
import redis

from app.cache import keys
from app.cache.cache import Cache
from app.cache.client import request_client
from app.domain.accounts import AccountType, default_overdraft_limit
from app.domain.breaks import ProofReport
from app.domain.refusals import Refusal
from app.domain.reservations import CachedBalance
from app.embedded.servers import ServerUrls
from app.ledger.accounts import LedgerAccounts
from app.ledger.cache_identity import LedgerCacheIdentity
from app.ledger.engine import LedgerServer, look_at_server
from app.ledger.history import History
from app.ledger.posting_session import PostingSession
from app.ledger.reconciliation import LedgerReconciliation
from app.ledger.transactions import LedgerAuthorizations
from app.services.accounts.accounts import AccountRequest, Accounts
from app.services.accounts.directory import AccountDirectory
from app.services.accounts.hydration import Balances
from app.services.payments.authorizations import Authorizations
from app.services.payments.durable_wait import WaitingRoom
from app.services.payments.outcomes import Accepted, PaymentFinder
from app.services.payments.submit import Payments
from app.services.posting.drain import BATCH_LIMIT, Drain
from app.services.posting.outbox import DrainReport
from app.services.proofs.cache_identity import CacheIdentity
from app.services.proofs.chain_verification import ChainVerifier
from app.services.proofs.reconciliation import Reconciler
from app.settings import Settings
from app.wiring.cache import build_cache, build_identity
from app.wiring.services import PaymentServices, build_assets, build_balances, build_engine, compose_payments
from app.wiring.workers import build_drain, build_reconciler, build_verifier
from tests.builders import PARTITIONS, WINDOW_MS, ledger_set_to, payment
from tests.installation import settings_for

_UNSET: Any = object()

R = TypeVar("R", PostingSession, LedgerReconciliation, LedgerCacheIdentity, psycopg.Connection[Any])


class StepClock:
    """A monotonic clock that moves only when told."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        """Pass the time without waiting."""
        self.slept.append(seconds)
        self.now += seconds


@dataclass
class World:
    """Cache, ledger and services, all real, over one test's own database and cache."""

    urls: ServerUrls
    clock: StepClock = field(default_factory=StepClock)
    wakes: list[str] = field(default_factory=list)
    _closers: list[Callable[[], None]] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=lambda: iter(range(1, 1_000_000)))

    @cached_property
    def settings(self) -> Settings:
        return settings_for(self.urls, partitions=PARTITIONS, idempotency_window_s=WINDOW_MS // 1000)

    # Adapters

    @cached_property
    def client(self) -> redis.Redis:
        """The raw client of the cache, for looking and tampering."""
        client = request_client(self.settings.redis_url, self.settings.cache_deadline_s)
        self._closers.append(client.connection_pool.disconnect)
        return client

    @cached_property
    def cache(self) -> Cache:
        return self.new_cache()

    def new_cache(self) -> Cache:
        """A cache with connections of its own."""
        cache = build_cache(self.settings)
        self._closers.append(cache.client.redis.connection_pool.disconnect)
        return cache

    @cached_property
    def engine(self) -> Any:
        engine = build_engine(self.settings, "test")
        self._closers.append(engine.dispose)
        return engine

    @cached_property
    def ledger_accounts(self) -> LedgerAccounts:
        return LedgerAccounts(self.engine, PARTITIONS)

    @cached_property
    def ledger_authorizations(self) -> LedgerAuthorizations:
        return LedgerAuthorizations(self.engine)

    @cached_property
    def history(self) -> History:
        return History(self.engine)

    def new_posting_session(self) -> PostingSession:
        """The ledger for posting, over a connection of its own."""
        return self._closing(PostingSession(self.settings.database_url))

    def new_ledger_reconciliation(self) -> LedgerReconciliation:
        """The ledger for proving, over a connection of its own."""
        return self._closing(LedgerReconciliation(self.settings.database_url))

    def connect(self, *, owner: bool = True) -> psycopg.Connection[Any]:
        """A connection of its own, committing each statement unless in a transaction."""
        url = self.settings.owner_database_url if owner else self.settings.database_url
        return self._closing(psycopg.connect(url, autocommit=True))

    @cached_property
    def owner(self) -> psycopg.Connection[Any]:
        """The owner of the ledger, who may do what the app may not."""
        return self.connect()

    # Services

    @cached_property
    def accounts(self) -> Accounts:
        return Accounts(self.ledger_accounts, build_assets(self.engine))

    @cached_property
    def directory(self) -> AccountDirectory:
        return AccountDirectory(self.ledger_accounts)

    @cached_property
    def balances(self) -> Balances:
        return self.new_balances()

    def new_balances(self, *, cache: Any = None, ledger: Any = None) -> Balances:
        """Balances as in a process of its own; `cache` and `ledger` may stand in for the real ones."""
        return build_balances(cache or self.cache, ledger or self.ledger_accounts)

    @cached_property
    def waiting(self) -> WaitingRoom:
        return WaitingRoom(8)

    @cached_property
    def payments(self) -> Payments:
        return self.paying.payments

    @property
    def finder(self) -> PaymentFinder:
        return self.paying.finder

    @property
    def authorizations(self) -> Authorizations:
        return self.paying.authorizations

    def new_payments(self, cache: Cache | None = None) -> Payments:
        """Payments as in a process of their own."""
        return self.new_payment_services(cache).payments

    @cached_property
    def paying(self) -> PaymentServices:
        """Payments and their neighbours in one process."""
        return self.new_payment_services()

    def new_payment_services(self, cache: Cache | None = None, *, ledger_authorizations: Any = None) -> PaymentServices:
        """Payments and their neighbours, as in a process of their own."""
        cache = cache or self.cache
        return compose_payments(
            cache,
            self.new_identity(cache),
            self.ledger_accounts,
            self.history,
            ledger_authorizations or self.ledger_authorizations,
            AccountDirectory(self.ledger_accounts),
            self.waiting,
            lambda: self.wakes.append("drain"),
        )

    @property
    def identity(self) -> CacheIdentity:
        """The watch over the cache's identity in the process that pays."""
        return self.paying.identity

    def new_identity(self, cache: Cache | None = None) -> CacheIdentity:
        """A watch over the cache's identity, as in a process of its own."""
        ledger = self._closing(LedgerCacheIdentity(self.settings.database_url))
        return build_identity(self.settings, cache or self.new_cache(), ledger)

    @cached_property
    def worker(self) -> Drain:
        return self.new_drain()

    def new_drain(
        self, *, cache: Any = None, ledger: Any = None, batch_limit: int = BATCH_LIMIT, clock: Any = None
    ) -> Drain:
        """A drain as in a process of its own; without a `clock` of its own, time passes only as it sleeps."""
        return build_drain(
            self.settings,
            cache=cache or self.new_cache(),
            ledger=ledger or self.new_posting_session(),
            batch_limit=batch_limit,
            monotonic=clock or self.clock,
            sleep=self.clock.sleep,
            jitter=lambda: 1.0,
        )

    @cached_property
    def reconciler(self) -> Reconciler:
        return build_reconciler(self.settings, monotonic=self.clock)

    @cached_property
    def verifier(self) -> ChainVerifier:
        return build_verifier(self.settings, monotonic=self.clock)

    # Verbs

    def account(
        self,
        account_id: str,
        type: AccountType = AccountType.LIABILITY,
        *,
        overdraft_limit_minor: int | None = _UNSET,
        balance_minor: int = 0,
        currency_code: str = "EUR",
        entity_id: str = "default",
    ) -> str:
        """Open an account and, if asked, fund it from the bank; returns its id."""
        limit = default_overdraft_limit(type) if overdraft_limit_minor is _UNSET else overdraft_limit_minor
        outcome = self.accounts.create(
            AccountRequest(account_id, entity_id, type, currency_code, None, limit, None), "key:test"
        )
        assert not isinstance(outcome, Refusal), outcome
        if balance_minor:
            self.fund(account_id, balance_minor)
        return account_id

    def bank(self, account_id: str = "bank") -> str:
        """The account that money comes from and goes to: an asset without a floor."""
        return self.account(account_id, AccountType.ASSET)

    def fund(self, account_id: str, amount_minor: int) -> None:
        """Credit an account from the bank and post it."""
        self.accepted(self.bank(), account_id, amount_minor)
        self.drain()

    def next_external_id(self) -> str:
        """An external id that was not used before in this world."""
        return f"auto-{next(self._numbers)}"

    def pay(
        self, source: str, destination: str, amount_minor: int, external_id: str | None = None, **more: Any
    ) -> Accepted | Refusal:
        """Submit one payment."""
        request = payment(source, destination, amount_minor, external_id=external_id or self.next_external_id(), **more)
        return self.payments.submit_one(request, "key:test")

    def accepted(self, source: str, destination: str, amount_minor: int, *args: Any, **more: Any) -> Accepted:
        """Submit one payment that must be accepted."""
        outcome = self.pay(source, destination, amount_minor, *args, **more)
        assert isinstance(outcome, Accepted), outcome
        return outcome

    def refused(self, source: str, destination: str, amount_minor: int, *args: Any, **more: Any) -> Refusal:
        """Submit one payment that must be refused."""
        outcome = self.pay(source, destination, amount_minor, *args, **more)
        assert isinstance(outcome, Refusal), outcome
        return outcome

    def drain(self, drain: Drain | None = None, *, rounds: int = 50) -> DrainReport:
        """Drain until nothing is left that can be settled."""
        total = DrainReport()
        for _ in range(rounds):
            report = (drain or self.worker).run_once()
            total.add(report)
            if not report.settled:
                return total
        raise AssertionError("the drain does not come to an end")

    def reconcile(self, *, full: bool = True) -> ProofReport:
        """One reconciliation."""
        return self.reconciler.run(full=full)

    def assert_proven(self) -> None:
        """Cache and ledger must agree in every way that the proofs know, with nothing left in flight."""
        assert self.cache.outbox.backlog() == dict.fromkeys(range(PARTITIONS), 0)
        assert self.reconcile().breaks == []
        assert self.verifier.run().breaks == []
        assert self.rows(
            "SELECT count(*) FROM (SELECT 1 FROM entry GROUP BY partition, chain_seq"
            " HAVING sum(amount_minor) <> 0 OR count(*) < 2) AS unbalanced"
        ) == [(0,)]

    @contextmanager
    def read_only_ledger(self) -> Iterator[None]:
        """The ledger takes no writes meanwhile, from new sessions; the present ones end."""
        with ledger_set_to(self.owner, "default_transaction_read_only = on"):
            yield

    def ledger_server(self) -> LedgerServer:
        """What the ledger's server says of itself."""
        return look_at_server(self.engine)

    # Looking

    def rows(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Rows of the ledger, as its owner sees them."""
        return self.owner.execute(query, parameters or None).fetchall()

    def booked(self, account_id: str) -> int:
        """An account's balance in the ledger."""
        [(balance,)] = self.rows("SELECT balance_minor FROM account_balance WHERE account_id = %s", account_id)
        return int(balance)

    def cached(self, account_id: str) -> CachedBalance:
        """An account's state in the cache, where it must be."""
        cached = self.cache.accounts.balance(account_id)
        assert cached is not None, f"{account_id} is cold"
        return cached

    def warm(self, account_id: str) -> CachedBalance:
        """An account's state in the cache, brought there if need be."""
        found = self.balances.get(account_id)
        assert found is not None
        return found.cached

    def account_key(self, account_id: str) -> str:
        """The cache's key of an account."""
        return keys.account(self.cache.partition_of(account_id), account_id)

    def posted_external_ids(self) -> list[str]:
        """Every external id in the ledger, with repeats if there were any."""
        return [row[0] for row in self.rows("SELECT external_id FROM ledger_transaction ORDER BY external_id")]

    def conflicts(self) -> dict[str, tuple[int, int]]:
        """Conflict counts: account → retries, exhausted."""
        query = "SELECT account_id, retries, exhausted FROM conflict_count"
        return {account_id: (retries, exhausted) for account_id, retries, exhausted in self.rows(query)}

    # Tampering

    def tamper(self, *statements: str) -> None:
        """Change the ledger as somebody with the owner's rights could who switches the guards off."""
        with self.owner.transaction():
            self.owner.execute("SET LOCAL session_replication_role = replica")
            for statement in statements:
                self.owner.execute(statement)

    def lose_cache(self) -> None:
        """Everything in this test's cache is gone."""
        self.client.flushdb()

    def close(self) -> None:
        """Give every connection back."""
        while self._closers:
            self._closers.pop()()

    def _closing(self, resource: R) -> R:
        self._closers.append(resource.close)
        return resource
