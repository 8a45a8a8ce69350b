"""Settings: read once from the environment, frozen, passed in. Nothing else reads the environment."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from app.domain.errors import Misconfigured
from app.domain.journal_proposals import ApprovalMode
from app.domain.payment import DEFAULT_PARTITIONS


@dataclass(slots=True, frozen=True)
class Settings:
    """Everything that can be set. Each field names its variable."""

    database_url: str
    """DATABASE_URL: the ledger, Postgres 15 or later."""
    owner_database_url: str
    """HOLDFAST_OWNER_DATABASE_URL: the ledger with the right to migrate; DATABASE_URL where it is not set."""
    redis_url: str
    """REDIS_URL: the cache, Redis or Valkey 7 or later."""
    queue_url: str
    """HOLDFAST_QUEUE_URL: the server of RQ's queues; REDIS_URL where it is not set. RQ does not run on a cluster."""
    partitions: int = DEFAULT_PARTITIONS
    """HOLDFAST_PARTITIONS: fixed at the first migration."""
    idempotency_window_s: int = 24 * 3600
    """HOLDFAST_IDEMPOTENCY_WINDOW_S: how long the cache remembers an external_id; the ledger remembers for ever."""
    backlog_limit: int = 100_000
    """HOLDFAST_BACKLOG_LIMIT: how many intents of a partition may wait for the ledger before new payments get 503."""
    cache_reserve_percent: int = 10
    """HOLDFAST_CACHE_RESERVE_PERCENT: the part of the cache's maxmemory that new payments leave to settling."""
    cache_deadline_s: int = 1
    """HOLDFAST_CACHE_DEADLINE_S: how long a request waits for the cache; after that its outcome is unknown."""
    body_deadline_s: int = 20
    """HOLDFAST_BODY_DEADLINE_S: how long a request's body may take to arrive; after that it is answered with 408."""
    public_url: str = ""
    """HOLDFAST_PUBLIC_URL: where people reach the pages, e.g. https://ledger.example.org; cookies insist on https."""
    oidc_issuer: str = ""
    """HOLDFAST_OIDC_ISSUER: the organisation's OpenID Connect, with which people may sign in; empty is none."""
    oidc_client_id: str = ""
    """HOLDFAST_OIDC_CLIENT_ID: what the organisation knows the pages by."""
    oidc_client_secret: str = ""
    """HOLDFAST_OIDC_CLIENT_SECRET: how the pages prove it."""
    stripe_key: str = ""
    """HOLDFAST_STRIPE_KEY: a restricted key that reads balance transactions, for `statements fetch`."""
    stripe_url: str = ""
    """HOLDFAST_STRIPE_URL: where Stripe's API is; empty is Stripe's own address."""
    allow_unsafe_cache: bool = False
    """HOLDFAST_ALLOW_UNSAFE_CACHE=1: run on a cache without append-only file, or one that evicts."""
    journal_approval: ApprovalMode = ApprovalMode.NONE
    """HOLDFAST_JOURNAL_APPROVAL: whose journals a second person approves: `none`, those of `people`, or `all`."""
    trusted_proxies: str = "none"
    """HOLDFAST_TRUSTED_PROXIES: addresses and networks, with commas, whose X-Forwarded-For is believed."""
    audit_retention_days: int = 0
    """HOLDFAST_AUDIT_RETENTION_DAYS: how long the audit is kept, in whole months; 0 is for ever."""
    log_format: str = "json"
    """HOLDFAST_LOG_FORMAT: `json`, one object a line, or `text`, for people."""
    metrics_dir: str = ""
    """PROMETHEUS_MULTIPROC_DIR: where the processes of a machine share what `/metrics` tells; `up` makes one."""
    otlp_endpoint: str = ""
    """OTEL_EXPORTER_OTLP_ENDPOINT: where traces go, by OTLP over HTTP; empty is nowhere."""
    data_dir: Path = Path(".holdfast")
    """HOLDFAST_DATA_DIR: where this machine keeps state beside the servers."""
    signing_key_file: Path = Path(".holdfast/signing-key")
    """HOLDFAST_SIGNING_KEY_FILE: the private key that signs heads and evidence; `signing-key` in the data directory."""
    heads_dir: Path = Path(".holdfast/heads")
    """HOLDFAST_HEADS_DIR: where the signed heads are exported to, a file a day; `heads` in the data directory."""
    heads_every_s: int = 60
    """HOLDFAST_HEADS_EVERY_S: how often the heads of chains that have grown are signed."""
    full_reconcile_hours: int = 24
    """HOLDFAST_FULL_RECONCILE_HOURS: how often everything is reconciled, and not only what is new; 0 is never."""
    allow_private_webhooks: bool = False
    """HOLDFAST_ALLOW_PRIVATE_WEBHOOKS=1: webhooks may go to private addresses, and over http."""
    webhook_ca_file: str = ""
    """HOLDFAST_WEBHOOK_CA_FILE: certificates in PEM of authorities that webhooks trust besides the public ones."""
    supervised: bool = False
    """HOLDFAST_SUPERVISED=1: this process is a child of `python3 -m app up` and ends with it."""


def settings_from(environment: Mapping[str, str]) -> Settings:
    """Read the settings; Misconfigured names the variable that is missing or wrong."""
    database_url = _required(environment, "DATABASE_URL")
    redis_url = _required(environment, "REDIS_URL")
    data_dir = Path(environment.get("HOLDFAST_DATA_DIR") or ".holdfast")
    return Settings(
        database_url=database_url,
        owner_database_url=environment.get("HOLDFAST_OWNER_DATABASE_URL") or database_url,
        redis_url=redis_url,
        queue_url=environment.get("HOLDFAST_QUEUE_URL") or redis_url,
        partitions=_whole(environment, "HOLDFAST_PARTITIONS", DEFAULT_PARTITIONS, lowest=1),
        idempotency_window_s=_whole(environment, "HOLDFAST_IDEMPOTENCY_WINDOW_S", 24 * 3600, lowest=1),
        backlog_limit=_whole(environment, "HOLDFAST_BACKLOG_LIMIT", 100_000, lowest=1),
        cache_reserve_percent=_whole(environment, "HOLDFAST_CACHE_RESERVE_PERCENT", 10, lowest=0),
        cache_deadline_s=_whole(environment, "HOLDFAST_CACHE_DEADLINE_S", 1, lowest=1),
        body_deadline_s=_whole(environment, "HOLDFAST_BODY_DEADLINE_S", 20, lowest=1),
        public_url=environment.get("HOLDFAST_PUBLIC_URL", "").rstrip("/"),
        oidc_issuer=environment.get("HOLDFAST_OIDC_ISSUER", ""),
        oidc_client_id=environment.get("HOLDFAST_OIDC_CLIENT_ID", ""),
        oidc_client_secret=environment.get("HOLDFAST_OIDC_CLIENT_SECRET", ""),
        stripe_key=environment.get("HOLDFAST_STRIPE_KEY", ""),
        stripe_url=environment.get("HOLDFAST_STRIPE_URL", ""),
        allow_unsafe_cache=environment.get("HOLDFAST_ALLOW_UNSAFE_CACHE") == "1",
        journal_approval=ApprovalMode(_one_of(environment, "HOLDFAST_JOURNAL_APPROVAL", tuple(ApprovalMode))),
        trusted_proxies=environment.get("HOLDFAST_TRUSTED_PROXIES") or "none",
        audit_retention_days=_whole(environment, "HOLDFAST_AUDIT_RETENTION_DAYS", 0, lowest=0),
        log_format=_one_of(environment, "HOLDFAST_LOG_FORMAT", ("json", "text")),
        metrics_dir=environment.get("PROMETHEUS_MULTIPROC_DIR", ""),
        otlp_endpoint=environment.get("OTEL_EXPORTER_OTLP_ENDPOINT", ""),
        data_dir=data_dir,
        signing_key_file=Path(environment.get("HOLDFAST_SIGNING_KEY_FILE") or data_dir / "signing-key"),
        heads_dir=Path(environment.get("HOLDFAST_HEADS_DIR") or data_dir / "heads"),
        heads_every_s=_whole(environment, "HOLDFAST_HEADS_EVERY_S", 60, lowest=1),
        full_reconcile_hours=_whole(environment, "HOLDFAST_FULL_RECONCILE_HOURS", 24, lowest=0),
        allow_private_webhooks=environment.get("HOLDFAST_ALLOW_PRIVATE_WEBHOOKS") == "1",
        webhook_ca_file=environment.get("HOLDFAST_WEBHOOK_CA_FILE", ""),
        supervised=environment.get("HOLDFAST_SUPERVISED") == "1",
    )


def _required(environment: Mapping[str, str], name: str) -> str:
    value = environment.get(name)
    if not value:
        raise Misconfigured(f"{name} is not set; `python3 -m app up` sets it by itself.")
    return value


def _whole(environment: Mapping[str, str], name: str, default: int, *, lowest: int) -> int:
    text = environment.get(name)
    if not text:
        return default
    try:
        value = int(text)
    except ValueError:
        value = lowest - 1
    if value < lowest:
        raise Misconfigured(f"{name} must be a whole number of at least {lowest}, not {text!r}.")
    return value


def _one_of(environment: Mapping[str, str], name: str, choices: tuple[str, ...]) -> str:
    """One of some words; the first is the default."""
    value = environment.get(name) or choices[0]
    if value not in choices:
        raise Misconfigured(f"{name} must be {' or '.join(choices)}, not {value!r}.")
    return value
