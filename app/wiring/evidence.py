"""Wiring of signed heads, for the API, the maintenance worker and the commands."""

import time
from collections.abc import Callable
from functools import partial

from app.heads_files import HeadExport
from app.ledger.connections import LedgerConnection, connect
from app.ledger.merkle_tree import LedgerMerkleTrees, Rows
from app.ledger.signed_heads import LedgerSignedHeads
from app.services.proofs.chain_verification import Pace
from app.services.proofs.signed_heads import HeadSigner
from app.settings import Settings
from app.signing import SigningKeyFile


def head_signer(settings: Settings, rows: Rows) -> HeadSigner:
    """What signs heads, over connections that the caller has."""
    return HeadSigner(LedgerSignedHeads(rows), LedgerMerkleTrees(rows), SigningKeyFile(settings.signing_key_file))


def build_head_signer(settings: Settings) -> HeadSigner:
    """What signs heads, over a connection of its own."""
    connection = partial(connect, settings.database_url, application_name="holdfast heads")
    return head_signer(settings, LedgerConnection(connection, checks_idle=True).rows)


def build_head_export(settings: Settings, pace: Pace, monotonic: Callable[[], float] = time.monotonic) -> HeadExport:
    """The signing of heads that is done again and again."""
    return HeadExport(build_head_signer(settings), settings.heads_dir, settings.heads_every_s, pace, monotonic)
