"""Rules of matching in bodies.

The decoder checks types and names; `app/domain/matching_rules.py` reads the rest, for the command line too, and its
refusals say which rule is wrong.
"""

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

import msgspec
from msgspec import Meta, Struct, field

from app.api.conventions import listed
from app.api.fields import Count, Rules
from app.api.json_body import NO_NUL, RequestObject
from app.api.patterns import matching
from app.domain.accounts import ID_PATTERN, MAX_ID_LENGTH
from app.domain.matching_rules import (
    BY_REFERENCE,
    DEFAULT_DAYS,
    ENTRY_FIELDS,
    LINE_FIELDS,
    LONGEST_NAME,
    LONGEST_WINDOW_DAYS,
    MOST_FIELDS,
    MOST_RULES,
    Cardinality,
    Rule,
)
from app.domain.money import MAX_MINOR

_NAME = {
    "minLength": 1,
    "maxLength": LONGEST_NAME,
    "pattern": r"^[^\x00-\x1f\x7f-\xa0]*[^\x00-\x20\x7f-\xa0][^\x00-\x1f\x7f-\xa0]*$",
    "not": {"const": BY_REFERENCE.name},
}
"""Not blank, and no control character. That it is printable throughout, no schema can say."""


def _field(names: Sequence[str], prefix: str) -> Meta:
    return Meta(extra_json_schema={"pattern": rf"^({'|'.join(names)}|{prefix}\.[^\x00]+)$"})


Fields = Annotated[
    dict[
        Annotated[str, _field(LINE_FIELDS, "details")],
        Annotated[str, _field(ENTRY_FIELDS, "metadata")],
    ],
    Meta(
        description=f"Up to {MOST_FIELDS} fields of the line ({listed(LINE_FIELDS)}, `details.NAME`), each with the "
        f"field of the entry that must be equal ({listed(ENTRY_FIELDS)}, `metadata.NAME`)",
        extra_json_schema={"maxProperties": MOST_FIELDS},
    ),
]
AccountOrNone = Annotated[
    str,
    matching(rf"^({ID_PATTERN[1:-1]})?$", max_length=MAX_ID_LENGTH, extra_json_schema={"minLength": 0}),
]
"""The id of an account, or nothing, as saved rules are told."""
Text = Annotated[str, Meta(extra_json_schema={"pattern": NO_NUL})]


class NewMatchingRule(RequestObject):
    """A rule by which lines are matched with entries; no two have the same name.

    Days may differ by `days`, and amounts by `tolerance_minor`; what they differ by belongs to `fee_account_id`.
    `kinds` are the kinds of lines that it is for, all if empty. `suggests`: a person decides.

    Without `fields` only one line and one entry of the same amount match. A fee account needs a tolerance.
    """

    rules: ClassVar[Rules] = {
        "allOf": [
            {
                "anyOf": [
                    {"required": ["fields"], "properties": {"fields": {"minProperties": 1}}},
                    {
                        "properties": {
                            "tolerance_minor": {"maximum": 0},
                            "cardinality": {"const": Cardinality.ONE_TO_ONE.value},
                        }
                    },
                ]
            },
            {
                "anyOf": [
                    {"properties": {"fee_account_id": {"maxLength": 0}}},
                    {"required": ["tolerance_minor"], "properties": {"tolerance_minor": {"minimum": 1}}},
                ]
            },
        ]
    }

    name: Annotated[str, Meta(extra_json_schema=_NAME)]
    fields: Fields = field(default_factory=dict)
    days: Annotated[int, Meta(extra_json_schema={"minimum": 0, "maximum": LONGEST_WINDOW_DAYS})] = DEFAULT_DAYS
    tolerance_minor: Annotated[int, Meta(extra_json_schema={"minimum": 0, "maximum": MAX_MINOR, "format": "int64"})] = 0
    fee_account_id: AccountOrNone = ""
    cardinality: Cardinality = Cardinality.ONE_TO_ONE
    kinds: list[Text] = field(default_factory=list)
    suggests: bool = False


MatchingRules = Annotated[list[NewMatchingRule], Meta(extra_json_schema={"maxItems": MOST_RULES})]


class MatchingRuleBody(Struct):
    """A saved rule."""

    name: str
    fields: dict[str, str]
    days: Count
    tolerance_minor: Count
    fee_account_id: str
    cardinality: Cardinality
    kinds: list[str]
    suggests: bool


def asked_rules(rules: Sequence[NewMatchingRule] | None) -> list[Any] | None:
    """The rules of a request as the domain reads them."""
    return None if rules is None else msgspec.to_builtins(rules)


def rule_body(rule: Rule) -> MatchingRuleBody:
    """A rule as it is answered."""
    return MatchingRuleBody(
        rule.name,
        dict(rule.fields),
        rule.days,
        rule.tolerance_minor,
        rule.fee_account_id,
        rule.cardinality,
        sorted(rule.kinds),
        rule.suggests,
    )
