"""Matching lines of statements with entries of the ledger: rules in order, each on what is left, always the same way.

Lines are in memory. Entries may be many more: they are offered one by one, and only those are remembered that a rule
could use.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from itertools import product

from app.domain.match_items import FoundMatch, Key, OpenEntry, OpenLine, Parts, words_of
from app.domain.match_pairing import MOST_PAIRS, PAIRINGS
from app.domain.matching_rules import BY_REFERENCE, Cardinality, Rule


@dataclass(slots=True)
class _Cluster:
    """Lines and entries with the same key."""

    lines: list[OpenLine] = field(default_factory=list)
    entries: list[OpenEntry] = field(default_factory=list)


class Matcher:
    """Matches open lines by rules; `metadata` names the members that offered entries bring.

    `frozen_through`: up to this day the periods are signed off, so no match lies within them. `undone`: the lines and
    entries of matches that people have undone, which are not brought together again.
    """

    def __init__(
        self,
        lines: Iterable[OpenLine],
        rules: Sequence[Rule],
        *,
        metadata: Sequence[str] = (),
        frozen_through: date | None = None,
        undone: Collection[Parts] = (),
    ) -> None:
        self._rules = (BY_REFERENCE, *rules)
        self._lines = sorted((one for one in lines if one.is_open), key=_line_order)
        self._frozen = frozen_through
        self._undone = frozenset(undone)
        self._line_keys = [_line_keys(rule) for rule in self._rules]
        self._entry_keys = [_entry_keys(rule, list(metadata)) for rule in self._rules]
        self._wanted = [self._wanted_by(rule, keys) for rule, keys in zip(self._rules, self._line_keys, strict=True)]
        self._entries: list[OpenEntry] = []
        self.taken_lines: set[int] = set()
        self.taken_entries: set[int] = set()

    def _wanted_by(self, rule: Rule, keys: Callable[[OpenLine], list[Key]]) -> set[Key] | set[int]:
        """The keys that entries of a rule must have; without fields, the amounts."""
        lines = [line for line in self._lines if not rule.kinds or line.kind in rule.kinds]
        if not rule.fields:
            return {line.amount_minor for line in lines}
        return {key for line in lines for key in keys(line)}

    def offer(self, entry: OpenEntry) -> None:
        """Remember an entry, if a rule could use it."""
        for rule, keys, wanted in zip(self._rules, self._entry_keys, self._wanted, strict=True):
            if entry.amount_minor in wanted if not rule.fields else any(key in wanted for key in keys(entry)):
                self._entries.append(entry)
                return

    def run(self) -> list[FoundMatch]:
        """All matches, in the order of the rules."""
        self._entries.sort(key=_entry_order)
        found: list[FoundMatch] = []
        for rule, line_keys, entry_keys in zip(self._rules, self._line_keys, self._entry_keys, strict=True):
            for match in self._by(rule, line_keys, entry_keys):
                self.taken_lines.update(one.statement_line_id for one in match.lines)
                self.taken_entries.update(one.entry_number for one in match.entries)
                found.append(match)
        return found

    def open_lines(self) -> list[OpenLine]:
        """The lines that no rule has taken."""
        return [one for one in self._lines if one.statement_line_id not in self.taken_lines]

    def open_entries(self) -> list[OpenEntry]:
        """The remembered entries that no rule has taken."""
        return [one for one in self._entries if one.entry_number not in self.taken_entries]

    def _by(
        self,
        rule: Rule,
        line_keys: Callable[[OpenLine], list[Key]],
        entry_keys: Callable[[OpenEntry], list[Key]],
    ) -> Iterator[FoundMatch]:
        pairing = PAIRINGS[rule.cardinality]
        for key, cluster in self._clusters(rule, line_keys, entry_keys).items():
            lines = [one for one in cluster.lines if one.statement_line_id not in self.taken_lines]
            entries = [one for one in cluster.entries if one.entry_number not in self.taken_entries]
            is_exact = rule.cardinality is Cardinality.ONE_TO_ONE and not rule.tolerance_minor
            if lines and entries and (is_exact or len(lines) * len(entries) <= MOST_PAIRS):
                for match in pairing(rule, key, lines, entries, self._frozen):
                    if not self._undone or match.parts() not in self._undone:
                        yield match

    def _clusters(
        self,
        rule: Rule,
        line_keys: Callable[[OpenLine], list[Key]],
        entry_keys: Callable[[OpenEntry], list[Key]],
    ) -> dict[Key, _Cluster]:
        """What is open by key; where amounts must be equal, the amount is a part of the key."""
        is_exact = rule.cardinality is Cardinality.ONE_TO_ONE and not rule.tolerance_minor
        clusters: dict[Key, _Cluster] = {}
        for line in self.open_lines():
            if not rule.kinds or line.kind in rule.kinds:
                for key in line_keys(line):
                    whole = (*key, str(line.amount_minor)) if is_exact else key
                    clusters.setdefault(whole, _Cluster()).lines.append(line)
        for entry in self.open_entries():
            for key in entry_keys(entry):
                cluster = clusters.get((*key, str(entry.amount_minor)) if is_exact else key)
                if cluster is not None:
                    cluster.entries.append(entry)
        return clusters


def _line_order(line: OpenLine) -> tuple[date, int]:
    return line.day, line.statement_line_id


def _entry_order(entry: OpenEntry) -> tuple[date, int]:
    return entry.day, entry.entry_number


# Keys


def _line_keys(rule: Rule) -> Callable[[OpenLine], list[Key]]:
    readers = [_LINE_READERS.get(name) or _detail(name.partition(".")[2]) for name, _ in rule.fields]
    return lambda line: list(product(*(reader(line) for reader in readers)))


def _entry_keys(rule: Rule, metadata: Sequence[str]) -> Callable[[OpenEntry], list[Key]]:
    readers = [
        _ENTRY_READERS.get(name) or _member(metadata.index(name.removeprefix("metadata."))) for _, name in rule.fields
    ]
    if len(readers) == 1:
        only = readers[0]
        return lambda entry: [(value,) for value in only(entry)]
    return lambda entry: list(product(*(reader(entry) for reader in readers)))


def _given(*texts: str | None) -> list[str]:
    return [one for one in texts if one]


def _detail(name: str) -> Callable[[OpenLine], list[str]]:
    return lambda line: _given(line.details.get(name))


def _member(place: int) -> Callable[[OpenEntry], list[str]]:
    return lambda entry: _given(entry.metadata[place])


_LINE_READERS: dict[str, Callable[[OpenLine], list[str]]] = {
    "words": words_of,
    "reference": lambda line: _given(line.reference),
    "line_id": lambda line: _given(line.line_id),
    "batch_id": lambda line: _given(line.batch_id),
    "kind": lambda line: _given(line.kind),
    "counterparty": lambda line: _given(line.counterparty),
    "text": lambda line: _given(line.text),
}
_ENTRY_READERS: dict[str, Callable[[OpenEntry], list[str]]] = {
    "id": lambda entry: [entry.external_id, entry.payment_id],
    "external_id": lambda entry: [entry.external_id],
    "payment_id": lambda entry: [entry.payment_id],
    "description": lambda entry: _given(entry.description),
}
