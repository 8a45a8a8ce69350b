"""The cache's identity: whether the cache is still the one that it was, and what is lost if it is not.

A cache can be replaced without a word: an older copy of its directory is put back, a replica that lagged is promoted,
its data is deleted, a crash takes the last second. Its balances are then old, and offering them would acknowledge
overdrafts. So the ledger remembers what it has seen of each partition: the identity that it got when it was opened, how
far its outbox had come, and a beat that is raised each second while payments come. All of them only grow, so whatever
was seen once must still be there.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from app.domain.payment import parse_payment_id, stream_id_order
from app.domain.timestamps import credible_milliseconds, from_milliseconds, rfc3339, to_milliseconds

NAMED_IN_BREAK = 1_000
"""Payment ids that one break lists; it counts them all."""


@dataclass(slots=True, frozen=True)
class RememberedPartition:
    """What the ledger remembers of a partition of the cache; the empty texts are those of one never opened.

    `last_posted` is the last stream id that the ledger posted; `last_stream_id`, `entries_added` and `pending` are the
    outbox's at the last look. While `is_open` is false, somebody is opening the partition or was killed doing so.
    """

    last_posted: str
    identity: str = ""
    is_open: bool = False
    last_stream_id: str = ""
    entries_added: int = 0
    pending: int = 0
    beat: int = 0

    def shows(self, now: "FoundPartition") -> bool:
        """Whether nothing has come or gone since this look."""
        seen = self.last_stream_id, self.entries_added, self.pending
        return seen == (now.last_stream_id, now.entries_added, now.pending)


@dataclass(slots=True, frozen=True)
class RememberedCache:
    """What the ledger remembers of the whole cache. `generation` counts how often it was opened, `clock` is now."""

    partitions: Mapping[int, RememberedPartition]
    directory_version: int
    clock: datetime
    generation: int = 0
    server: str = ""
    seen_at: datetime | None = None


@dataclass(slots=True, frozen=True)
class FoundPartition:
    """A partition as it is in the cache now; it is closed where it has no `directory_version`."""

    identity: str
    directory_version: int | None
    last_stream_id: str
    entries_added: int
    pending: int
    beat: int = 0


@dataclass(slots=True, frozen=True)
class LostPartition:
    """A partition that misses what it once had: the last stream id known of it, and the last one found."""

    last_known: str
    last_found: str
    pending: int
    """Intents that were pending at the last look and can be missing now."""
    is_foreign: bool
    """Whether its identity is another one, so that what it has is not simply an earlier state."""


@dataclass(slots=True)
class CacheJudgement:
    """Which partitions have lost something, and which are closed."""

    lost: dict[int, LostPartition] = field(default_factory=dict)
    closed: list[int] = field(default_factory=list)
    is_empty: bool = False

    @property
    def is_well(self) -> bool:
        """Whether every partition is open and has all that is known of it."""
        return not self.lost and not self.closed

    @property
    def is_known(self) -> bool:
        """Whether everything in the cache is of the ledger's own history."""
        return not any(one.is_foreign for one in self.lost.values())

    @property
    def reason(self) -> str:
        """What has happened to the cache, for people."""
        if self.is_empty:
            return "the cache is empty"
        if not self.is_known:
            return "the cache is a copy from before it was last opened, or belongs to another installation"
        return "the cache is an older copy of itself, or a replica that had not received everything"


def judge(
    remembered: RememberedCache, found: Mapping[int, FoundPartition], acknowledged: Mapping[int, str]
) -> CacheJudgement:
    """Compare the cache with what is known of it.

    `acknowledged` are the highest stream ids that this process has acknowledged. They and `remembered` must have been
    read before `found`: then all that they name was in the cache already.
    """
    judgement = CacheJudgement(is_empty=all(not one.identity and not one.last_stream_id for one in found.values()))
    for partition, before in remembered.partitions.items():
        now = found[partition]
        if now.directory_version is None or not before.is_open:
            judgement.closed.append(partition)
        if before.identity and not before.is_open:
            continue  # closed already, and what was lost by then is on record
        known = last_known(before, acknowledged.get(partition, ""))
        is_foreign = bool(before.identity) and now.identity != before.identity
        is_older = now.entries_added < before.entries_added or now.beat < before.beat
        if is_foreign or is_older or is_before(now.last_stream_id, known):
            missing = max(0, before.entries_added - now.entries_added)
            pending = before.pending if is_foreign else min(before.pending, missing)
            judgement.lost[partition] = LostPartition(known, now.last_stream_id, pending, is_foreign)
    return judgement


def last_known(remembered: RememberedPartition, acknowledged: str = "") -> str:
    """The highest stream id that is known of a partition; empty if there is none."""
    return highest((remembered.last_posted, remembered.last_stream_id, acknowledged))


def resumed_after(known: str, clock: datetime) -> str:
    """The stream id after which a partition of a cache that has lost something goes on.

    `known` is the highest that the opening process knows of; others may have acknowledged higher ones. Those are of the
    same millisecond if that is ahead of the clock, and else of one before now. So the next millisecond is unused: an id
    that is given twice would name two payments.
    """
    milliseconds = max(_order(known)[0], to_milliseconds(clock))
    return f"{milliseconds + 1}-0"


def highest(stream_ids: Iterable[str]) -> str:
    """The highest of these stream ids, of which some may be empty."""
    return max(stream_ids, key=_order, default="")


def is_before(left: str, right: str) -> bool:
    """Whether a stream id is lower than another; the empty one is lower than all."""
    return _order(left) < _order(right)


def _order(stream_id: str) -> tuple[int, int]:
    return stream_id_order(stream_id) if stream_id else (-1, -1)


def loss_figures(judgement: CacheJudgement, remembered: RememberedCache, server: str) -> dict[str, Any]:
    """The figures of a `cache_lost` break, without the payments, which `with_payments` adds.

    Nothing is known of what a stopped process had accepted after `last_seen_at`. A stream id that is ahead of the clock
    is no time.
    """
    lost = judgement.lost
    now_ms = to_milliseconds(remembered.clock)
    begins = [stream_id_order(one.last_found)[0] for one in lost.values() if one.last_found]
    ends = [stream_id_order(one.last_known)[0] for one in lost.values() if one.last_known]
    begins = [one for one in begins if credible_milliseconds(one, now_ms) == one]
    return {
        "reason": judgement.reason,
        "partitions": {
            str(partition): {
                "last_known": one.last_known or None,
                "last_found": one.last_found or None,
                "pending_when_last_seen": one.pending,
            }
            for partition, one in lost.items()
        },
        "pending_when_last_seen": sum(one.pending for one in lost.values()),
        "last_seen_at": rfc3339(remembered.seen_at) if remembered.seen_at else None,
        "lost_after": _time_of(min(begins)) if len(begins) == len(lost) else None,
        "lost_until": _time_of(credible_milliseconds(max(ends), now_ms)) if ends else None,
        "server_before": remembered.server or None,
        "server_now": server or None,
        "lost_payments": 0,
        "payment_ids": [],
        "ended_authorizations": {},
    }


def _time_of(milliseconds: int) -> str:
    return rfc3339(from_milliseconds(milliseconds))


def with_payments(figures: Mapping[str, Any], payments: Mapping[str, str], clock: datetime) -> dict[str, Any]:
    """Figures that also name these acknowledged payments as lost: each is counted, and the first ones are listed.

    What was to end an authorization is listed with it, by the id of its own intent, which no client knows. The span of
    the loss grows to cover them: who opened the cache may not have known of the last ones. `clock` is the ledger's.
    """
    now_ms = to_milliseconds(clock)
    times = [_time_of(one.accepted_at_ms(now_ms)) for one in map(parse_payment_id, payments) if one is not None]
    span: dict[str, str] = {}
    if times:
        span["lost_until"] = max([*times, figures.get("lost_until") or ""])
    if times and figures.get("lost_after"):
        span["lost_after"] = min(*times, figures["lost_after"])
    listed, ended = list(figures.get("payment_ids", ())), figures.get("ended_authorizations", {})
    new = sorted(payments.keys() - set(listed))
    named = [*listed, *new][:NAMED_IN_BREAK]
    return {
        **figures,
        **span,
        "payment_ids": named,
        "ended_authorizations": ended | {one: payments[one] for one in named if payments.get(one)},
        "lost_payments": figures.get("lost_payments", 0) + len(new),
    }


def without_payments(figures: Mapping[str, Any], payment_ids: Iterable[str]) -> dict[str, Any]:
    """Figures that no longer name these payments: the ledger has answered them after all."""
    found = set(payment_ids)
    ended = figures.get("ended_authorizations", {})
    return {
        **figures,
        "payment_ids": [one for one in figures["payment_ids"] if one not in found],
        "ended_authorizations": {one: ended[one] for one in ended if one not in found},
        "lost_payments": max(0, figures["lost_payments"] - len(found)),
    }
