"""The auditor: knows what customers were told and when the cache was replaced, and compares the ledger with it."""

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from tests.system.mixed.customers import LIMITS
from tests.system.mixed.deeds import AUTHORIZATION, REFUND, RESERVED_IN_CACHE, Deed
from tests.system.mixed.ledger_facts import LedgerFacts, Named, Posted
from tests.system.mixed.stage import Loss

SLACK_S = 2.0
"""Between a time of the ledger or of a stream id and the moment at which a customer has read the answer."""

PENDING_S = 60.0
"""How long before an outage something may have been acknowledged that is still pending then; posting takes moments."""


@dataclass
class Audit:
    """One comparison; `findings` must stay empty."""

    facts: LedgerFacts
    losses: Sequence[Loss]
    began_at: float
    findings: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    lost: dict[str, float] = field(default_factory=dict)
    """Payments that were acknowledged as pending and are nowhere, with the time of their acknowledgement."""

    def run(self, deeds: Iterable[Deed]) -> "Audit":
        """Compare everything."""
        known = set()
        for deed in deeds:
            known.add(deed.external_id)
            self._look_at(deed)
        for external_id in self.facts.posted.keys() - known:
            if not external_id.startswith("opening-"):
                self._find(f"in the ledger, and nobody asked for it: {external_id}")
        for losing in self.losses:
            self._name(losing)
        self._nothing_else_is_named()
        return self

    def _find(self, finding: str) -> None:
        self.counts["findings"] += 1
        if len(self.findings) < 200:
            self.findings.append(finding)

    # One deed

    def _look_at(self, deed: Deed) -> None:
        self.counts[deed.kind] += 1
        self.counts["unknown attempts"] += deed.unknown
        found = self.facts.posted.get(deed.external_id, [])
        if deed.kind == AUTHORIZATION:
            self._look_at_authorization(deed, found)
        elif not deed.told:
            self.counts["refused" if deed.refused else "never answered"] += 1
            if found and deed.refused:
                self._find(f"refused ({deed.refused}), and yet in the ledger: {deed} {found}")
        else:
            self.counts["acknowledged"] += 1
            self._look_at_acknowledged(deed, found)
        if len(found) > 1:
            self._find(f"posted {len(found)} times: {deed} {found}")
        for one in found:
            self._dated(deed, one)

    def _look_at_acknowledged(self, deed: Deed, found: list[Posted]) -> None:
        """Each id under which it was acknowledged has one fate."""
        posted_ids = {one.payment_id for one in found}
        for told in deed.told:
            is_there = told.payment_id in posted_ids or self.facts.duplicates.get(told.payment_id) in posted_ids
            if told.status == "posted" and not is_there:
                self._find(f"told posted at {told.at:.1f} as {told.payment_id}, and the ledger has {found}: {deed}")
            elif not is_there and deed.kind in RESERVED_IN_CACHE:
                self._look_for(deed, told.payment_id, told.at)
            elif not is_there:
                self._find(f"acknowledged, and not in the ledger: {deed}")
        if found:
            self.counts["posted"] += 1
            self._amounts(deed, found[0])
        if found and not posted_ids & deed.ids and not deed.unknown:
            self._find(f"posted under an id that nobody was told: {deed} {found}")
        for code in deed.refused_later if found else ():
            self._find(f"in the ledger, and a repeat was refused with {code}: {deed}")

    def _look_for(self, deed: Deed, payment_id: str, at: float) -> None:
        """Not posted: rejected, or lost."""
        if payment_id in self.facts.rejected:
            self.counts["rejected"] += 1
            code = self.facts.rejected[payment_id]
            if not any(one.began_at - SLACK_S <= at <= one.ended_at + SLACK_S for one in self.losses):
                self._find(f"acknowledged at {at:.1f}, and rejected with {code} though no cache was replaced: {deed}")
        else:
            self.lost[payment_id] = at

    def _amounts(self, deed: Deed, found: Posted) -> None:
        if deed.kind == REFUND:
            [(source, amount)] = deed.legs
            is_right = dict(found.legs).get(source) == amount
        else:
            is_right = sorted(found.legs) == sorted(deed.legs)
        if not is_right:
            self._find(f"posted with other amounts: {deed} {found}")

    def _dated(self, deed: Deed, found: Posted) -> None:
        if not self.began_at - SLACK_S <= found.accepted_at <= time.time():
            self._find(f"accepted at {found.accepted_at}, which is not in this run: {deed}")

    def _look_at_authorization(self, deed: Deed, found: list[Posted]) -> None:
        holds = {one.payment_id: one for one in self.facts.holds.get(deed.external_id, [])}
        if not deed.told:
            self.counts["refused" if deed.refused else "never answered"] += 1
            if deed.refused and (holds or found):
                self._find(f"refused ({deed.refused}), and yet in the ledger: {deed} {holds} {found}")
            return
        self.counts["acknowledged"] += 1
        for told in deed.told:
            if told.payment_id not in holds and self.facts.duplicates.get(told.payment_id) not in holds:
                self._look_for(deed, told.payment_id, told.at)
        for hold in holds.values():
            self.counts[f"authorization {hold.state}"] += 1
            if (hold.state == "captured") != bool(found):
                self._find(f"{hold.state}, and the ledger has {found}: {deed}")
        self._look_at_conclusion(deed, {one.state for one in holds.values()}, found)

    def _look_at_conclusion(self, deed: Deed, states: set[str], found: list[Posted]) -> None:
        end = deed.conclusion
        if end is None or not end.told:
            if found and (end is None or end.wish != "capture" or end.refused):
                self._find(f"captured, though nobody was told so: {deed} {found}")
            return
        wanted = {"capture": "captured", "void": "voided"}[end.wish]
        if wanted in states:
            if end.wish == "capture" and sorted(found[0].legs) != sorted(end.legs):
                self._find(f"captured with other amounts: {deed} {found}")
        elif any(one.payment_id in self.lost for one in deed.told):
            return  # the authorization itself is lost, and counted
        elif losing := self._loss_of(end.told[0].at):
            self.counts["lost captures and voids"] += 1
            named = {one for break_ in self.facts.named for one in break_.figures["ended_authorizations"].values()}
            if losing.is_named_by_id and not named & deed.ids:
                self._find(f"{end.wish} is lost, and no break names it: {deed}")
        else:
            self._find(f"{end.wish} was acknowledged, and it is {states}: {deed}")

    # What is lost must be named

    def _name(self, losing: Loss) -> None:
        """Everything that was lost in this outage is named by its breaks."""
        named = self._breaks_of(losing)
        lost = self._lost_in(losing)
        self.counts["lost and named"] += len(lost)
        if not lost:
            return
        if not named:
            self._find(f"{losing.outage}: {len(lost)} payments are lost and no break names them: {list(lost)[:5]}")
        elif losing.is_named_by_id:
            ids = {one for break_ in named for one in break_.figures["payment_ids"]}
            unnamed = lost.keys() - ids
            listed_all = all(break_.count <= len(break_.figures["payment_ids"]) for break_ in named)
            if unnamed and (listed_all or len(lost) > sum(break_.count for break_ in named)):
                some = {one: lost[one] for one in list(unnamed)[:5]}
                self._find(f"{losing.outage}: {len(unnamed)} lost payments are not named: {some}")
        else:
            self._counted(losing, lost, named)
        for break_ in named:
            self._time_span(losing, lost, break_)

    def _breaks_of(self, losing: Loss) -> list[Named]:
        """Those that were recorded before the next outage that loses something."""
        next_at = min((one.began_at for one in self.losses if one.began_at > losing.began_at), default=time.time())
        return [one for one in self.facts.named if losing.began_at <= one.found_at < next_at]

    def _lost_in(self, losing: Loss) -> dict[str, float]:
        """The lost payments that this outage took."""
        return {payment_id: at for payment_id, at in self.lost.items() if self._loss_of(at) is losing}

    def _loss_of(self, at: float) -> Loss | None:
        """The outage that took what was acknowledged at this time and had not reached the ledger."""
        after = sorted(self.losses, key=lambda one: one.ended_at)
        return next((one for one in after if one.began_at - PENDING_S <= at <= one.ended_at + SLACK_S), None)

    def _counted(self, losing: Loss, lost: Mapping[str, float], named: Sequence[Named]) -> None:
        """No process remembers the ids: those accepted before the last look are counted, the others are after it."""
        pending = sum(one.figures.get("pending_when_last_seen", 0) for one in named)
        seen = [_seconds(one.figures.get("last_seen_at")) for one in named]
        last_seen = min((one for one in seen if one is not None), default=0.0)
        before = {one: at for one, at in lost.items() if at < last_seen}
        if len(before) > pending:
            self._find(f"{losing.outage}: {len(before)} lost before the last look, of which {pending} are counted")

    def _time_span(self, losing: Loss, lost: Mapping[str, float], break_: Named) -> None:
        figures = break_.figures
        after, until = _seconds(figures.get("lost_after")), _seconds(figures.get("lost_until"))
        earliest, latest = min(lost.values()), max(lost.values())
        if after is not None and not self.began_at - SLACK_S <= after <= earliest + SLACK_S:
            self._find(f"{losing.outage}: lost after {figures['lost_after']}, but one at {earliest}: {break_.subject}")
        if until is not None and until > time.time():
            self._find(f"{losing.outage}: lost until {figures['lost_until']}, which is in the future")
        if until is not None and losing.is_named_by_id and until < latest - SLACK_S:
            self._find(f"{losing.outage}: lost until {figures['lost_until']}, but one at {latest}: {break_.subject}")

    def _nothing_else_is_named(self) -> None:
        """A payment that the ledger has is not named as lost, and nothing is lost outside the outages that lose."""
        there = {one.payment_id for found in self.facts.posted.values() for one in found}
        there |= {one.payment_id for holds in self.facts.holds.values() for one in holds}
        there |= self.facts.rejected.keys() | self.facts.duplicates.keys()
        for payment_id in self.facts.named_ids & there:
            self._find(f"named as lost, and in the ledger: {payment_id}")
        named = sum(one.count for one in self.facts.named)
        for payment_id, at in self.lost.items():
            if self._loss_of(at) is None:
                self._find(f"lost, and no cache was replaced afterwards: {payment_id} acknowledged at {at:.1f}")
        self.counts["lost"] = len(self.lost)
        self.counts["named"] = named
        for break_ in self.facts.other_breaks:
            self._find(f"a break was found: {break_}")

    def floors(self, overdrawable: Iterable[str], guarded: Iterable[str]) -> None:
        """No account was ever below its floor."""
        lowest = dict.fromkeys(guarded, 0) | dict.fromkeys(overdrawable, -max(LIMITS))
        for account_id, floor in lowest.items():
            if self.facts.lowest.get(account_id, 0) < floor:
                self._find(f"overdrawn: {account_id} stood at {self.facts.lowest[account_id]}")


def _seconds(text: str | None) -> float | None:
    return None if text is None else datetime.fromisoformat(text).timestamp()
