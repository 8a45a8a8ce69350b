"""Rules by which lines of statements are matched with entries of the ledger, read from JSON and checked once.

Rules are tried in order, each on what the ones before it have left. The first rule of all is always there: what a line
says holds the id of an entry of the same amount.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from app.domain.money import MAX_MINOR


class InvalidRules(ValueError):
    """Rules that contradict themselves or name something unknown; the message says what."""


class Cardinality(StrEnum):
    """How many lines a match has, and how many entries."""

    ONE_TO_ONE = "1:1"
    ONE_TO_MANY = "1:N"
    """One line, such as a payout, and all entries with its key."""
    MANY_TO_ONE = "N:1"
    """All lines with the key of one entry, such as a batch booking and its details."""


LINE_FIELDS = ("words", "reference", "line_id", "batch_id", "kind", "counterparty", "text")
"""What a rule may read of a line, beside `details.NAME`. `words`: its reference, its id, and each word of its text."""

ENTRY_FIELDS = ("id", "external_id", "payment_id", "description")
"""What a rule may read of an entry, beside `metadata.NAME`. `id`: its external id or its payment's id."""

MOST_RULES = 50
MOST_FIELDS = 3
LONGEST_WINDOW_DAYS = 366
DEFAULT_DAYS = 5
LONGEST_NAME = 100


@dataclass(slots=True, frozen=True)
class Rule:
    """One rule.

    `fields` pairs fields of the line with fields of the entry: all of them must be equal. Days may differ by `days`,
    and amounts by `tolerance_minor`; what they differ by belongs to `fee_account_id`. `kinds` are the kinds of lines
    that it is for, all if empty. `suggests`: a person decides.
    """

    name: str
    fields: tuple[tuple[str, str], ...] = ()
    days: int = DEFAULT_DAYS
    tolerance_minor: int = 0
    fee_account_id: str = ""
    cardinality: Cardinality = Cardinality.ONE_TO_ONE
    kinds: frozenset[str] = frozenset()
    suggests: bool = False

    def as_json(self) -> dict[str, object]:
        """The rule as it is saved, and as each of its matches names it."""
        return {
            "name": self.name,
            "fields": dict(self.fields),
            "days": self.days,
            "tolerance_minor": self.tolerance_minor,
            "fee_account_id": self.fee_account_id,
            "cardinality": self.cardinality.value,
            "kinds": sorted(self.kinds),
            "suggests": self.suggests,
        }


BY_REFERENCE = Rule("By reference", (("words", "id"),), days=90)
"""An id is unique for ever, so the days only keep apart what cannot belong together."""

DEFAULT_RULES = (Rule("Same amount, up to 3 days apart", days=3, suggests=True),)


def read_rules(raw: Sequence[object]) -> tuple[Rule, ...]:
    """Rules from JSON, in order; raises InvalidRules."""
    if len(raw) > MOST_RULES:
        raise InvalidRules(f"there are at most {MOST_RULES} rules")
    rules = tuple(_rule(n, one) for n, one in enumerate(raw, start=1))
    names = [one.name for one in (BY_REFERENCE, *rules)]
    if len(set(names)) < len(names):
        raise InvalidRules(
            f"two rules have the same name, or one is called {BY_REFERENCE.name!r}, which is always first"
        )
    return rules


def _rule(n: int, raw: object) -> Rule:
    if not isinstance(raw, dict):
        raise InvalidRules(f"rule {n} must be an object")
    left = dict(raw)
    name = left.pop("name", "")
    if not isinstance(name, str) or not name.strip() or len(name) > LONGEST_NAME:
        raise InvalidRules(f"rule {n} needs a name of up to {LONGEST_NAME} characters")
    if not name.isprintable():
        raise InvalidRules(f"the name of rule {n} is not printable throughout")
    fields = _fields(name, left.pop("fields", {}))
    rule = Rule(
        name,
        fields,
        _whole(name, "days", left.pop("days", DEFAULT_DAYS), LONGEST_WINDOW_DAYS),
        _whole(name, "tolerance_minor", left.pop("tolerance_minor", 0), MAX_MINOR),
        _text(name, "fee_account_id", left.pop("fee_account_id", "")),
        _cardinality(name, left.pop("cardinality", Cardinality.ONE_TO_ONE.value)),
        frozenset(_words(name, left.pop("kinds", []))),
        _flag(name, left.pop("suggests", False)),
    )
    if left:
        raise InvalidRules(f"rule {name!r} has unknown {', '.join(sorted(map(str, left)))}")
    if not fields and (rule.tolerance_minor or rule.cardinality is not Cardinality.ONE_TO_ONE):
        raise InvalidRules(
            f"rule {name!r} needs fields: without them only one line and one entry of the same amount match"
        )
    if rule.fee_account_id and not rule.tolerance_minor:
        raise InvalidRules(f"rule {name!r} has a fee account and no tolerance_minor")
    return rule


def _fields(rule: str, raw: object) -> tuple[tuple[str, str], ...]:
    if not isinstance(raw, dict) or len(raw) > MOST_FIELDS:
        raise InvalidRules(
            f"rule {rule!r}: fields pairs up to {MOST_FIELDS} fields, e.g. {{'reference': 'external_id'}}"
        )
    for ours, known, prefix in ((raw, LINE_FIELDS, "details."), (raw.values(), ENTRY_FIELDS, "metadata.")):
        for field in ours:
            is_own = isinstance(field, str) and field.startswith(prefix) and len(field) > len(prefix)
            if field not in known and not is_own:
                raise InvalidRules(f"rule {rule!r} has no field {field!r}; there are {', '.join(known)}, {prefix}NAME")
    return tuple(raw.items())


def _whole(rule: str, name: str, value: object, most: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
        raise InvalidRules(f"rule {rule!r}: {name} must be a whole number from 0 to {most}")
    return value


def _text(rule: str, name: str, value: object) -> str:
    if not isinstance(value, str):
        raise InvalidRules(f"rule {rule!r}: {name} must be a text")
    return value


def _flag(rule: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise InvalidRules(f"rule {rule!r}: suggests must be true or false")
    return value


def _words(rule: str, value: object) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise InvalidRules(f"rule {rule!r}: kinds must be a list of texts")
    return value


def _cardinality(rule: str, value: object) -> Cardinality:
    try:
        return Cardinality(str(value))
    except ValueError:
        raise InvalidRules(f"rule {rule!r}: cardinality must be one of {', '.join(Cardinality)}") from None


def metadata_names(rules: Sequence[Rule]) -> list[str]:
    """The members of metadata that the rules read, in order."""
    named = (entry for rule in rules for _, entry in rule.fields if entry.startswith("metadata."))
    return list(dict.fromkeys(one.removeprefix("metadata.") for one in named))


def rules_as_json(rules: Sequence[Rule]) -> list[Mapping[str, object]]:
    """Rules as they are saved."""
    return [rule.as_json() for rule in rules]
