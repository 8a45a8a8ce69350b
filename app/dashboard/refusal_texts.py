"""Refusals as pages tell them: a sentence, the code, and the figures with the currency's decimals."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from app.api.responses import catalogue
from app.dashboard.context import here
from app.dashboard.formats import money
from app.dashboard.people import name_of
from app.domain.actors import KEY_ACTOR, actor_in_words
from app.domain.refusals import Refusal

_TITLES = {code: title for code, _, _, title in catalogue()}
_MINOR = "_minor"


@dataclass(slots=True, frozen=True)
class Told:
    """A refusal for people."""

    sentence: str
    code: str
    figures: Mapping[str, str] = field(default_factory=dict)


def told(refusal: Refusal, currency_code: str | None = None) -> Told:
    """A refusal for people. Its own sentence has amounts in minor units; then its title and its figures say the same.

    The figures are in the `currency_code`, or in that of the account or the currency that they name.
    """
    figures = refusal.figures
    code = str(figures.get("currency_code") or "") or currency_code or _currency_of(figures.get("account_id"))
    if code is None or not any(name.endswith(_MINOR) for name in figures):
        return Told(_with_names(refusal), refusal.code.value)
    named = {_name(name): _text(name, value, code) for name, value in figures.items() if value is not None}
    return Told(f"{_TITLES[refusal.code]}. Nothing was done.", refusal.code.value, named)


def _with_names(refusal: Refusal) -> str:
    """Its sentence, with the keys that it names by their ids named as on every other page."""
    sentence = refusal.detail
    for actor in refusal.figures.values():
        if isinstance(actor, str) and actor.startswith(KEY_ACTOR):
            sentence = sentence.replace(actor_in_words(actor), name_of(actor))
    return sentence


def _currency_of(account_id: object) -> str | None:
    account = here().api.accounts.get(account_id) if isinstance(account_id, str) else None
    return None if account is None else account.currency_code


def _name(name: str) -> str:
    return name.removesuffix(_MINOR).removesuffix("_id").replace("_", " ").capitalize()


def _text(name: str, value: object, currency_code: str) -> str:
    if name.endswith(_MINOR) and isinstance(value, int):
        return f"{money(value, currency_code)} {currency_code}"
    return str(value)
