"""What a process measures of posting to the ledger; `/metrics` adds it up over all processes of a machine."""

from prometheus_client import Counter, Histogram

POSTING_SECONDS = Histogram(
    "holdfast_posting_seconds",
    "Writing and committing one batch",
    ["way"],
    buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0),
)
OPTIMISTIC_SECONDS = POSTING_SECONDS.labels("optimistic")
LOCKED_SECONDS = POSTING_SECONDS.labels("locked")
BATCH_PAYMENTS = Histogram(
    "holdfast_batch_payments",
    "Payments in one batch",
    buckets=(1, 5, 20, 50, 100, 200, 500, 1_000, 2_000),
)
SETTLED = Counter("holdfast_settled_payments", "What drains have done with payments", ["outcome"])
SETTLED_BY_OUTCOME = {
    outcome: SETTLED.labels(outcome)
    for outcome in ("posted", "rejected", "duplicates", "deferred", "conflicts", "exhausted")
}
"""By the member of a drain's report."""
