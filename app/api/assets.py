"""Assets: register and read the currencies and other units that accounts are kept in."""

from typing import Annotated

from msgspec import Meta, Struct

from app.api.fields import CurrencyCode, Moment, Name
from app.api.json_body import RequestObject
from app.api.parameters import AFTER, LIMIT, LOCATION
from app.api.request_refusals import asset_not_found
from app.api.responses import Answer, json_answer, page_answer, problem
from app.api.routes import Body, Call, Routes
from app.domain.money import MOST_MINOR_UNITS, Asset
from app.domain.refusals import Refusal
from app.domain.refusals import RefusalCode as Code
from app.domain.timestamps import rfc3339
from app.services.access.api_keys import Scope

routes = Routes()


class NewAsset(RequestObject):
    """An asset to register. `minor_units` is the number of decimal places of one unit; it never changes."""

    currency_code: CurrencyCode
    minor_units: Annotated[int, Meta(ge=0, le=MOST_MINOR_UNITS)]
    name: Annotated[Name, Meta(min_length=1)]


class AssetBody(Struct):
    """A unit that accounts are kept in: a currency of ISO 4217, or a registered asset.

    The ledger keeps a currency's minor units from its first account on, whatever later editions of ISO 4217 say. So
    `iso_4217` says that it is a currency of the standard, or was one when the first account was made in it.
    """

    currency_code: str
    minor_units: int
    name: str
    iso_4217: bool
    registered_at: Moment | None
    registered_by: str | None


@routes.add(
    "POST",
    "/v1/assets",
    "Register an asset of your own, such as points; the same again answers 200",
    scope=Scope.ACCOUNTS_WRITE,
    of_installation=True,
    body=Body(NewAsset),
    answers={201: AssetBody, 200: AssetBody},
    sends=(LOCATION,),
    refuses=frozenset({Code.ASSET_EXISTS}),
)
def register_asset(call: Call[NewAsset]) -> Answer:
    """Register an asset, once."""
    body = call.body
    outcome = call.here.assets.register(Asset(body.currency_code, body.minor_units, body.name), call.actor)
    if isinstance(outcome, Refusal):
        return problem(outcome)
    asset, created = outcome
    location = ("location", f"/v1/assets/{asset.currency_code}")
    return json_answer(_asset_body(asset), 201 if created else 200, location)


@routes.add(
    "GET",
    "/v1/assets",
    "List registered assets; currencies of ISO 4217 are read one by one",
    scope=Scope.ACCOUNTS_READ,
    answers={200: AssetBody},
    parameters=(LIMIT, AFTER),
    paged=True,
)
def list_assets(call: Call[None]) -> Answer:
    """One page of registered assets, by code."""
    limit = call[LIMIT]
    assets = call.here.assets.page(limit=limit, after=call[AFTER])
    cursor = assets[-1].currency_code if assets else None
    return page_answer([_asset_body(asset) for asset in assets], limit, cursor)


@routes.add(
    "GET",
    "/v1/assets/{currency_code}",
    "Read a currency of ISO 4217 or a registered asset",
    scope=Scope.ACCOUNTS_READ,
    answers={200: AssetBody},
    refuses=frozenset({Code.NOT_FOUND}),
)
def get_asset(call: Call[None]) -> Answer:
    """One asset, with its minor units."""
    currency_code = call.path["currency_code"]
    asset = call.here.assets.get(currency_code)
    if asset is None:
        return problem(asset_not_found(currency_code))
    return json_answer(_asset_body(asset))


def _asset_body(asset: Asset) -> AssetBody:
    return AssetBody(
        currency_code=asset.currency_code,
        minor_units=asset.minor_units,
        name=asset.name,
        iso_4217=asset.is_iso,
        registered_at=rfc3339(asset.registered_at) if asset.registered_at else None,
        registered_by=asset.registered_by,
    )
