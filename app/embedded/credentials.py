"""Passwords of the embedded servers, generated once for each data directory."""

import json
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path

from app.embedded.private_files import write_private


@dataclass(frozen=True)
class Credentials:
    """The passwords of the ledger's owner, of the application's role and of the cache."""

    owner_password: str
    app_password: str
    cache_password: str


def load_or_create(path: Path) -> Credentials:
    """Reads the passwords, or generates them; the file is readable by its owner only."""
    if path.exists():
        return Credentials(**json.loads(path.read_text()))
    created = Credentials(*(secrets.token_urlsafe(24) for _ in range(3)))
    write_private(path, json.dumps(asdict(created), indent=2) + "\n")
    return created
