"""The organisation's own sign-in, by OpenID Connect: where it is, and as whom Holdfast asks."""

from dataclasses import dataclass


@dataclass(slots=True, frozen=True)
class Organisation:
    """An issuer of OpenID Connect, and what it knows Holdfast by."""

    issuer: str
    client_id: str
    client_secret: str

    @property
    def metadata_url(self) -> str:
        """Where the issuer says how it is asked."""
        return f"{self.issuer.rstrip('/')}/.well-known/openid-configuration"
