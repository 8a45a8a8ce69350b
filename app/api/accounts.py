"""Accounts: create and read them, their balance now or at any instant, and their entries."""

from typing import Annotated
from urllib.parse import quote

from msgspec import UNSET, Struct, UnsetType

from app.api.entity_binding import entity_of, require_own_entity
from app.api.fields import (
    LARGEST_METADATA,
    Amount,
    Balance,
    Count,
    CurrencyCode,
    Direction,
    Id,
    Metadata,
    Moment,
    Name,
    NewAccountId,
    OverdraftLimit,
    Total,
    direction_of,
    one_of,
)
from app.api.json_body import RequestObject, checked_metadata
from app.api.parameters import (
    AFTER,
    AFTER_NUMBER,
    AT,
    BY,
    CURRENCY,
    ENTITY,
    ETAG,
    IF_NONE_MATCH,
    LIMIT,
    LOCATION,
    as_of,
    none_match,
    refuse_decomposed_parameters,
)
from app.api.responses import Answer, json_answer, page_answer, problem
from app.api.route_refusals import NO_ACCOUNT
from app.api.routes import Body, Call, Routes
from app.domain.account_refusals import account_id_taken, account_not_found
from app.domain.accounts import AccountStatus, AccountType, default_overdraft_limit
from app.domain.payment import POSTED_KINDS
from app.domain.read_models import Account, AccountEntry, AsOf, TimeBasis
from app.domain.refusals import Refusal
from app.domain.refusals import RefusalCode as Code
from app.domain.timestamps import rfc3339
from app.services.access.api_keys import Scope
from app.services.accounts.accounts import AccountRequest

routes = Routes()


class NewAccount(RequestObject):
    """An account to create. `overdraft_limit_minor`: minor units below zero; null is no floor.

    Without `entity_id` it belongs to the entity of the key, if that may act for one only, else to `default`.
    """

    account_id: NewAccountId
    type: AccountType
    currency_code: CurrencyCode
    entity_id: Id | UnsetType = UNSET
    name: Name | None = None
    overdraft_limit_minor: OverdraftLimit | UnsetType | None = UNSET
    metadata: Metadata | None = None


class AccountBody(Struct):
    """An account. `overdraft_limit_minor` in minor units; null is no floor."""

    account_id: str
    entity_id: str
    type: AccountType
    currency_code: str
    name: str | None
    overdraft_limit_minor: OverdraftLimit | None
    status: AccountStatus
    metadata: Metadata | None
    created_at: Moment
    created_by: str


class BalanceBody(Struct):
    """An account's funds in minor units: available = balance − held − floor; without a floor balance − held."""

    account_id: str
    entity_id: str
    balance_minor: Balance
    held_minor: Balance
    available_minor: Total
    currency_code: str
    version: Count
    updated_at: Moment


class BalanceAtBody(Struct):
    """An account's balance in the ledger at an instant, in minor units, by effective or by posted time."""

    account_id: str
    entity_id: str
    balance_minor: Balance
    currency_code: str
    at: Moment
    by: TimeBasis


class EntryBody(Struct):
    """One immutable line of an account, on one side, with the balance after it; minor units."""

    entry_number: Count
    direction: Direction
    amount_minor: Amount
    balance_minor: Balance
    currency_code: str
    payment_id: str
    external_id: str
    kind: Annotated[str, one_of(POSTED_KINDS)]
    description: str | None
    posted_at: Moment
    effective_at: Moment


@routes.add(
    "POST",
    "/v1/accounts",
    "Create an account; the same again answers 200",
    scope=Scope.ACCOUNTS_WRITE,
    body=Body(NewAccount),
    answers={201: AccountBody, 200: AccountBody},
    sends=(LOCATION, ETAG),
    refuses=frozenset(
        {Code.INVALID_ID, Code.ACCOUNT_EXISTS, Code.UNKNOWN_CURRENCY, Code.AMOUNT_NOT_INTEGER, Code.AMOUNT_OUT_OF_RANGE}
    ),
)
def create_account(call: Call[NewAccount]) -> Answer:
    """Create an account, once."""
    entity_id = entity_of(call, call.body.entity_id)
    require_own_entity(call, entity_id)
    outcome = call.here.accounts.create(_wanted(call.body, entity_id), call.actor)
    if isinstance(outcome, Refusal):
        if call.entities is not None and outcome.figures.get("field") == "entity_id":
            outcome = account_id_taken(call.body.account_id)
        return problem(outcome)
    account, created = outcome
    location = ("location", f"/v1/accounts/{quote(account.account_id, safe='')}")
    return account_answer(account, 201 if created else 200, location)


def _wanted(body: NewAccount, entity_id: str) -> AccountRequest:
    limit = body.overdraft_limit_minor
    return AccountRequest(
        account_id=body.account_id,
        entity_id=entity_id,
        type=body.type,
        currency_code=body.currency_code,
        name=body.name,
        overdraft_limit_minor=default_overdraft_limit(body.type) if isinstance(limit, UnsetType) else limit,
        metadata=checked_metadata(body.metadata, LARGEST_METADATA),
    )


@routes.add(
    "GET",
    "/v1/accounts",
    "List accounts",
    scope=Scope.ACCOUNTS_READ,
    answers={200: AccountBody},
    parameters=(LIMIT, AFTER, ENTITY, CURRENCY),
    paged=True,
)
def list_accounts(call: Call[None]) -> Answer:
    """One page of accounts, by id."""
    limit = call[LIMIT]
    accounts = call.here.accounts.page(
        limit=limit,
        after=call[AFTER],
        entity_id=call[ENTITY],
        entities=call.entities,
        currency_code=call[CURRENCY],
    )
    if not accounts:
        refuse_decomposed_parameters(call, ENTITY)
    cursor = accounts[-1].account_id if accounts else None
    return page_answer([account_body(account) for account in accounts], limit, cursor)


@routes.add(
    "GET",
    "/v1/accounts/{account_id}",
    "Read an account; its ETag is for the If-Match of a change",
    scope=Scope.ACCOUNTS_READ,
    answers={200: AccountBody},
    sends=(ETAG,),
    refuses=NO_ACCOUNT,
)
def get_account(call: Call[None]) -> Answer:
    """One account."""
    account_id = call.path["account_id"]
    account = call.here.accounts.get(account_id)
    if account is None:
        return problem(account_not_found(account_id))
    return account_answer(account)


@routes.add(
    "GET",
    "/v1/accounts/{account_id}/balance",
    "Read an account's balance, whose ETag is its version; with `at` the balance in the ledger at that instant",
    scope=Scope.ACCOUNTS_READ,
    answers={200: (BalanceBody, BalanceAtBody), 304: None},
    parameters=(AT, BY),
    headers=(IF_NONE_MATCH,),
    sends=(ETAG,),
    refuses=NO_ACCOUNT,
)
def get_balance(call: Call[None]) -> Answer:
    """The funds of an account now, or its balance at another instant."""
    account_id = call.path["account_id"]
    instant = as_of(call, AT)
    if instant is not None:
        return _balance_at(call, account_id, instant)
    balance = call.here.balances.get(account_id)
    if balance is None:
        return problem(account_not_found(account_id))
    funds = balance.cached.funds
    etag = f'"{funds.version}"'
    if none_match(call, etag):
        return Answer(304, b"", [("etag", etag)])
    return json_answer(
        BalanceBody(
            account_id=account_id,
            entity_id=balance.facts.entity_id,
            balance_minor=funds.balance_minor,
            held_minor=funds.held_minor,
            available_minor=funds.available_minor,
            currency_code=balance.facts.currency_code,
            version=funds.version,
            updated_at=rfc3339(min(balance.cached.updated_at, call.here.now())),
        ),
        200,
        ("etag", etag),
    )


def _balance_at(call: Call[None], account_id: str, instant: AsOf) -> Answer:
    account = call.here.accounts.get(account_id)
    if account is None:
        return problem(account_not_found(account_id))
    return json_answer(
        BalanceAtBody(
            account_id=account_id,
            entity_id=account.entity_id,
            balance_minor=call.here.history.balance_at(account_id, instant),
            currency_code=account.currency_code,
            at=rfc3339(instant.at),
            by=instant.by,
        )
    )


@routes.add(
    "GET",
    "/v1/accounts/{account_id}/entries",
    "List an account's entries, oldest first",
    scope=Scope.ACCOUNTS_READ,
    answers={200: EntryBody},
    parameters=(LIMIT, AFTER_NUMBER),
    paged=True,
    refuses=NO_ACCOUNT,
)
def list_entries(call: Call[None]) -> Answer:
    """One page of an account's history."""
    account_id = call.path["account_id"]
    limit, after = call[LIMIT], call[AFTER_NUMBER]
    entries = call.here.history.entries(account_id, limit=limit, after=after)
    if not entries and call.here.accounts.get(account_id) is None:
        return problem(account_not_found(account_id))
    cursor = str(entries[-1].entry_number) if entries else None
    return page_answer([_entry_body(entry) for entry in entries], limit, cursor)


def account_answer(account: Account, status: int = 200, *headers: tuple[str, str]) -> Answer:
    """An account, with its version as ETag."""
    return json_answer(account_body(account), status, ("etag", f'"{account.version}"'), *headers)


def account_body(account: Account) -> AccountBody:
    """An account as the API shows it."""
    return AccountBody(
        account_id=account.account_id,
        entity_id=account.entity_id,
        type=account.type,
        currency_code=account.currency_code,
        name=account.name,
        overdraft_limit_minor=account.overdraft_limit_minor,
        status=account.status,
        metadata=dict(account.metadata) if account.metadata is not None else None,
        created_at=rfc3339(account.created_at),
        created_by=account.created_by,
    )


def _entry_body(entry: AccountEntry) -> EntryBody:
    return EntryBody(
        entry_number=entry.entry_number,
        direction=direction_of(entry.amount_minor),
        amount_minor=abs(entry.amount_minor),
        balance_minor=entry.balance_minor,
        currency_code=entry.currency_code,
        payment_id=entry.payment_id,
        external_id=entry.external_id,
        kind=entry.kind,
        description=entry.description,
        posted_at=rfc3339(entry.posted_at),
        effective_at=rfc3339(entry.effective_at),
    )
