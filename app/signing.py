"""The private key that signs heads and evidence packets: an Ed25519 key in a file that only its owner can read.

The key is made when it is first needed, unless the ledger has a key already: then its file is missing, and a new key
would be a stranger to everybody who keeps heads. `cryptography` is imported where it is first used: its import takes a
quarter of a second, and an API process may never sign.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from app.domain.errors import SigningKeyUnusable
from app.domain.signed_heads import key_id_of
from app.embedded.child_process import EmbeddedServerError
from app.embedded.private_files import make_private, require_private_file

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


class SigningKey:
    """A private key, and the public one that goes with it."""

    def __init__(self, private_key: Ed25519PrivateKey) -> None:
        self._private_key = private_key

    @cached_property
    def public_key(self) -> bytes:
        """The 32 bytes of the public key."""
        return self._private_key.public_key().public_bytes_raw()

    @cached_property
    def key_id(self) -> str:
        """Its id."""
        return key_id_of(self.public_key)

    def sign(self, text: bytes) -> bytes:
        """The signature over a text: 64 bytes."""
        return self._private_key.sign(text)


class SigningKeyFile:
    """Where the private key is. It is read once, when something is first signed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._key: SigningKey | None = None

    def key(self, *, may_make: bool) -> SigningKey:
        """The key in the file, which is made if it is missing and may be; SigningKeyUnusable says what is wrong."""
        if self._key is None:
            if may_make and not self.path.exists():
                make_key(self.path)
            self._key = read_key(self.path)
        return self._key


def make_key(path: Path) -> None:
    """Make a new key in a file; one that is there already stays."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    try:
        make_private(path, pem.decode())
    except OSError as error:
        raise SigningKeyUnusable(f"The key that signs heads cannot be made in {path}: {error}.") from error


def read_key(path: Path) -> SigningKey:
    """The key in a file, which must be ours alone."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        require_private_file(path)
        private_key = load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError, EmbeddedServerError) as error:
        raise SigningKeyUnusable(f"The key that signs heads cannot be read from {path}: {error}") from error
    if not isinstance(private_key, Ed25519PrivateKey):
        raise SigningKeyUnusable(f"{path} holds a key of another kind than Ed25519.")
    return SigningKey(private_key)
