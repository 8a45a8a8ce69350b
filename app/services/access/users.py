"""Users: inviting them by a one-time link, and disabling them."""

from __future__ import annotations

import secrets
from datetime import datetime
from hashlib import sha256
from typing import TYPE_CHECKING

from app.domain.users import INVITATION_LASTS, Role

if TYPE_CHECKING:
    from app.ledger.users import LedgerUsers


def invite(ledger: LedgerUsers, user_id: str, role: Role, actor: str, now: datetime) -> str:
    """Make a user, or invite one again, and return the only copy of the invitation's token.

    An invitation made again serves a person who has lost password or second factor, and changes the role. It needs
    the rights of the ledger's owner.
    """
    token = secrets.token_urlsafe(32)
    ledger.invite(user_id, role, hash_of(token), now + INVITATION_LASTS, actor)
    return token


def hash_of(token: str) -> bytes:
    """What the ledger keeps of a token: it is long and random, so a plain hash does."""
    return sha256(token.encode()).digest()
