"""The watch over the cache's identity: a cache that is not the one it was is closed, and opened again from the ledger.

`app/domain/cache_identity.py` says how an older copy, a replica that lagged, and an empty cache are told from the real
one. Every process that reserves looks when it starts, whenever a connection opens to a server that it has not met, and
each second. A look takes one round trip to the ledger and one to the cache; a payment takes none.

A cache that has lost something is closed for reservations at once, in all partitions: they share one server, and what
one partition has lost may be missing in the balances of another. Then the loss is recorded as a break, every cached
account is made cold, and the partitions are opened under a new identity. The intents that are still in the outbox are
delivered again, which the ledger answers once.

Each process also remembers what it has acknowledged last, so that the break can name the payments that are lost.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from threading import Event, RLock, Thread
from typing import TYPE_CHECKING

from app.domain.cache_identity import (
    CacheJudgement,
    FoundPartition,
    RememberedCache,
    highest,
    judge,
    last_known,
    loss_figures,
    resumed_after,
)
from app.domain.errors import CacheUnavailable, Fault
from app.domain.payment import OutboxPosition

if TYPE_CHECKING:
    from datetime import datetime

    from app.cache.cache import Cache
    from app.ledger.cache_identity import LedgerCacheIdentity


log = logging.getLogger(__name__)

PATIENCE_S = 2.0
"""How long a request waits while another thread looks at the cache or opens it; then it is told to come again."""

FORGET_PER_TRIP = 2_000
"""Accounts that are forgotten in one round trip: ten milliseconds of the server's time."""

ACKNOWLEDGED_KEPT = 4_000
"""Acknowledgements that are kept of each partition, about 65 bytes each; seconds under full load, hours otherwise."""

NEARLY_LAST = 256
"""Threads add theirs nearly in order: the highest stream id is among this many."""

Seen = tuple[RememberedCache, Mapping[int, FoundPartition]]
"""One look: what the ledger remembers, and then what the cache has, by partition."""

BEING_OPENED = "the cache is closed: it is being opened again from the ledger"


class CacheIdentity:
    """Watches the cache for one process, and opens it."""

    def __init__(
        self,
        cache: Cache,
        ledger: LedgerCacheIdentity,
        acknowledged: AcknowledgedTail,
        new_identity: Callable[[], str],
    ) -> None:
        """`acknowledged` is what this process has acknowledged; `new_identity` makes a name that no other cache has."""
        self.acknowledged = acknowledged
        self._cache = cache
        self._ledger = ledger
        self._new_identity = new_identity
        self._lock = RLock()
        self._is_looking = False
        self._server = self._met = ""
        self._generation: int | None = None
        self._named: set[str] = set()

    # When to look

    def meet(self, server: str) -> None:
        """Look before a connection to this server is used, unless it was met before."""
        if server == self._met:
            return
        with self._alone():
            self._server = server
            if self._is_looking or server == self._met:
                return  # looking needs connections too
            if self._look() is not None and self._met:
                log.warning("the cache was restarted or replaced, and nothing that is known is missing in it")
            self._met = server

    def check(self) -> int:
        """Look now, and open what is closed; returns the generation of the cache.

        CacheUnavailable while another process opens it.
        """
        with self._alone():
            self._look()
            return self._generation or 0

    def note(self) -> None:
        """Look now, and have the ledger remember what was seen."""
        with self._alone():
            self._note(*(self._look() or self._seen()))

    def open(self, partitions: Collection[int], directory_version: int) -> None:
        """Have these partitions require at least this directory version, and open what is closed."""
        if self._cache.partition_states.push(directory_version, partitions):
            self.check()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        if not self._lock.acquire(timeout=PATIENCE_S):
            raise CacheUnavailable(BEING_OPENED)
        try:
            yield
        finally:
            self._lock.release()

    # Looking

    def _look(self) -> Seen | None:
        """Look at everything, and open what is not well; returns what was seen, or None if not all was well."""
        self._is_looking = True
        try:
            acknowledged = self.acknowledged.highest()
            remembered, found = self._seen()
            self._follow(remembered)
            if judge(remembered, found, acknowledged).is_well:
                return remembered, found
            self._open_again()
            return None
        finally:
            self._is_looking = False

    def _seen(self) -> Seen:
        """The order matters: all that the memory names must have been in the cache before it is looked at."""
        remembered = self._ledger.remembered()
        return remembered, self._cache.partition_states.look()

    def _note(self, remembered: RememberedCache, found: Mapping[int, FoundPartition]) -> None:
        """Raise the beat of the partitions in which something came or went, and remember them as they were seen."""
        is_other_server = remembered.server != self._server
        changed = {
            number: one
            for number, one in found.items()
            if is_other_server or not remembered.partitions[number].shows(one)
        }
        if changed:
            beats = self._cache.partition_states.beat(list(changed))
            self._ledger.note(changed, beats, self._server)

    def _follow(self, remembered: RememberedCache) -> None:
        """Name what this process had acknowledged and the cache has lost, if another process has opened it since."""
        generation = remembered.generation
        if self._named:
            self._unname(generation)
        if self._generation is not None and generation != self._generation:
            self._name_lost(generation, remembered.clock)
        self._generation = generation

    def _name_lost(self, generation: int, clock: datetime) -> None:
        lost = self._lost()
        if lost:
            self._ledger.name_lost(generation, lost, clock)
            log.error("the cache has lost %d payments that this process had acknowledged", len(lost))
        self._named = set(lost)

    def _unname(self, generation: int) -> None:
        """A drain may have read an intent before it was lost, and have posted it since it was named."""
        found = self._ledger.settled(self._named)
        if found:
            self._ledger.unname(generation, found)
        self._named = set()

    def _lost(self) -> dict[str, str]:
        """The acknowledged payments that neither the ledger nor an outbox has, which are then forgotten.

        Each with the authorization that it was to end, or an empty text.
        """
        positions = self._unsettled(self.acknowledged.positions())
        # An intent leaves the outbox after the ledger has it, so the ledger is asked once more at the end.
        lost = self._unsettled(self._cache.partition_states.without_intent(positions))
        ends = self.acknowledged.ends()
        for position in lost:
            self.acknowledged.remove(position)
        return {position.payment_id: ends.get(position, "") for position in lost}

    def _unsettled(self, positions: Collection[OutboxPosition]) -> list[OutboxPosition]:
        settled = self._ledger.settled([one.payment_id for one in positions])
        return [one for one in positions if one.payment_id not in settled]

    # Opening

    def _open_again(self) -> None:
        """Close all partitions, record what was lost, make the accounts cold, and open the partitions again."""
        with self._ledger.opening():
            acknowledged = self.acknowledged.highest()
            remembered, found = self._seen()
            judgement = judge(remembered, found, acknowledged)
            if remembered.generation != self._generation:
                self._follow(remembered)
            if judgement.is_well:
                return  # another process has opened them meanwhile
            known = self._last_known(remembered, found, judgement)
            identity, generation = self._new_identity(), remembered.generation + 1
            self._cache.partition_states.close(identity)
            self._record(identity, generation, remembered, judgement)
            if remembered.generation or judgement.lost:
                self._forget_accounts(judgement)
            self._open(identity, known)
            self._ledger.finish_opening(identity)
            self._note(*self._seen())
            log.warning("the cache is open as generation %d; its accounts come back from the ledger", generation)

    def _last_known(
        self, remembered: RememberedCache, found: Mapping[int, FoundPartition], judgement: CacheJudgement
    ) -> dict[int, str]:
        """The stream id after which each partition goes on."""
        acknowledged = self.acknowledged.highest()
        known = {number: last_known(one, acknowledged[number]) for number, one in remembered.partitions.items()}
        if not judgement.lost:
            return known
        return {
            number: resumed_after(highest((one, found[number].last_stream_id)), remembered.clock)
            for number, one in known.items()
        }

    def _record(self, identity: str, generation: int, remembered: RememberedCache, judgement: CacheJudgement) -> None:
        figures = None
        if judgement.lost:
            log.error("%s: closed for reservations until it is opened again from the ledger", judgement.reason)
            figures = loss_figures(judgement, remembered, self._server)
        self._ledger.begin_opening(identity, generation, list(remembered.partitions), figures)
        self._generation = generation
        if judgement.lost:
            self._name_lost(generation, remembered.clock)

    def _forget_accounts(self, judgement: CacheJudgement) -> None:
        for partition, account_ids in self._cache.inspection.cached_accounts(FORGET_PER_TRIP):
            if not self._cache.partition_states.forget(partition, account_ids, counts_are_known=judgement.is_known):
                raise CacheUnavailable(BEING_OPENED)

    def _open(self, identity: str, known: dict[int, str]) -> None:
        """The directory version is read after the closing: a change since then has left its version in the cache."""
        version = self._ledger.remembered().directory_version
        opened = self._cache.partition_states.open_all(version, known, identity)
        if None in opened.values():
            raise CacheUnavailable(BEING_OPENED)


LOOK_S = 1.0
"""Between two looks of one process."""

UNREADY_S = 0.1
"""Between two looks until the first one succeeds: while the system starts, the ledger may not be there yet."""


class CacheIdentityWatch:
    """A thread that looks at the cache each second, and at once when it starts."""

    def __init__(self, look: Callable[[], object]) -> None:
        self._look = look
        self._stopped = Event()
        self._pause_s = UNREADY_S
        self._is_failing = False
        self._thread = Thread(target=self._run, name="cache-identity", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Stop looking; the thread ends after the look under way."""
        self._stopped.set()

    def _run(self) -> None:
        while not self._stopped.is_set():
            self.run_once()
            self._stopped.wait(self._pause_s)

    def run_once(self) -> None:
        """Look once; an error is logged when it is the first in a row, and never ends the watch."""
        try:
            self._look()
            self._pause_s, self._is_failing = LOOK_S, False
        except Fault as fault:
            if not self._is_failing:
                log.warning("the cache's identity cannot be checked: %s: %s", type(fault).__name__, fault)
            self._is_failing = True
        except Exception:
            if not self._is_failing:
                log.exception("the cache's identity cannot be checked")
            self._is_failing = True


class AcknowledgedTail:
    """The last acknowledged stream ids of each partition. Threads may add to it at any time."""

    def __init__(self, partitions: int) -> None:
        self._stream_ids = [deque[str](maxlen=ACKNOWLEDGED_KEPT) for _ in range(partitions)]
        self._ends = deque[tuple[OutboxPosition, str]](maxlen=ACKNOWLEDGED_KEPT)

    def add(self, outbox_position: OutboxPosition) -> None:
        """Remember what is about to be acknowledged."""
        self._stream_ids[outbox_position.partition].append(outbox_position.stream_id)

    def add_end(self, outbox_position: OutboxPosition, authorization_id: str) -> None:
        """Remember a capture or a void, which clients know by the id of its authorization."""
        self._ends.append((outbox_position, authorization_id))
        self.add(outbox_position)

    def highest(self) -> dict[int, str]:
        """The highest stream id that was acknowledged in each partition; empty where there was none."""
        return {number: highest(list(one)[-NEARLY_LAST:]) for number, one in enumerate(self._stream_ids)}

    def positions(self) -> list[OutboxPosition]:
        """All that is remembered."""
        return [
            OutboxPosition(number, stream_id) for number, one in enumerate(self._stream_ids) for stream_id in list(one)
        ]

    def ends(self) -> dict[OutboxPosition, str]:
        """The last captures and voids, each with its authorization."""
        return dict(list(self._ends))

    def remove(self, outbox_position: OutboxPosition) -> None:
        """Forget one that is lost."""
        with suppress(ValueError):  # newer ones may have pushed it out
            self._stream_ids[outbox_position.partition].remove(outbox_position.stream_id)
