"""Actors as a sentence names them."""

import pytest

from app.commands.connection import ACTOR as COMMAND_LINE
from app.domain.actors import actor_in_words, key_actor, user_actor
from app.ledger.cache_identity import WATCH
from app.ledger.proof_records import RECONCILER
from app.services.accounts.changes import RECOVERY_ACTOR
from app.services.statements.replay import ACTOR as REPLAY


@pytest.mark.parametrize(
    ("actor", "told"),
    [
        (user_actor("jane"), "jane"),
        (key_actor("1f266f88ec2f"), "the key 1f266f88ec2f"),
        (COMMAND_LINE, "the command line"),
        (RECOVERY_ACTOR, "the clock"),
        (REPLAY, "the replay"),
        (RECONCILER, "the reconciler"),
        (WATCH, "the check of the cache's identity"),
    ],
)
def test_a_sentence_names_who_it_was(actor: str, told: str) -> None:
    assert actor_in_words(actor) == told
