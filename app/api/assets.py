"""Assets: register and read the currencies and other units that accounts are kept in."""

from typing import Annotated

from flask import Blueprint, Response, request
from msgspec import Meta, Struct

from app.api.accounts import CurrencyCode
from app.api.auth import actor, operation
from app.api.context import services
from app.api.request_refusals import asset_not_found
from app.api.requests import Body, only_parameters, page_limit
from app.api.responses import json_response, page_response, problem
from app.domain.money import MOST_MINOR_UNITS, Asset
from app.domain.refusals import Refusal
from app.domain.timestamps import rfc3339
from app.services.access.api_keys import Scope

blueprint = Blueprint("assets", __name__)


class NewAsset(Struct, forbid_unknown_fields=True):
    """An asset to register. `minor_units` is the number of decimal places of one unit; it never changes."""

    currency_code: CurrencyCode
    minor_units: Annotated[int, Meta(ge=0, le=MOST_MINOR_UNITS)]
    name: Annotated[str, Meta(min_length=1, max_length=200)]


class AssetBody(Struct):
    """A unit that accounts are kept in: a currency of ISO 4217, or a registered asset.

    The ledger keeps a currency's minor units from its first account on, whatever later editions of ISO 4217 say. So
    `iso_4217` says that it is a currency of the standard, or was one when the first account was made in it.
    """

    currency_code: str
    minor_units: int
    name: str
    iso_4217: bool
    registered_at: str | None
    registered_by: str | None


_new_asset = Body(NewAsset)


@blueprint.post("/v1/assets")
@operation(
    "Register an asset of your own, such as points; the same again answers 200",
    scope=Scope.ACCOUNTS_WRITE,
    body=NewAsset,
    answers={201: AssetBody, 200: AssetBody},
)
def register_asset() -> Response:
    """Register an asset, once."""
    body = _new_asset.read()
    outcome = services().assets.register(Asset(body.currency_code, body.minor_units, body.name), actor())
    if isinstance(outcome, Refusal):
        return problem(outcome)
    asset, created = outcome
    response = json_response(_asset_body(asset), 201 if created else 200)
    response.headers["Location"] = f"/v1/assets/{asset.currency_code}"
    return response


@blueprint.get("/v1/assets")
@operation(
    "List registered assets; currencies of ISO 4217 are read one by one",
    scope=Scope.READ,
    answers={200: AssetBody},
    parameters=("limit", "after"),
)
def list_assets() -> Response:
    """One page of registered assets, by code."""
    only_parameters("limit", "after")
    limit = page_limit()
    assets = services().assets.page(limit=limit, after=request.args.get("after"))
    cursor = assets[-1].currency_code if assets else None
    return page_response([_asset_body(asset) for asset in assets], limit, cursor)


@blueprint.get("/v1/assets/<currency_code>")
@operation("Read a currency of ISO 4217 or a registered asset", scope=Scope.READ, answers={200: AssetBody})
def get_asset(currency_code: str) -> Response:
    """One asset, with its minor units."""
    asset = services().assets.get(currency_code)
    if asset is None:
        return problem(asset_not_found(currency_code))
    return json_response(_asset_body(asset))


def _asset_body(asset: Asset) -> AssetBody:
    return AssetBody(
        currency_code=asset.currency_code,
        minor_units=asset.minor_units,
        name=asset.name,
        iso_4217=asset.is_iso,
        registered_at=rfc3339(asset.registered_at) if asset.registered_at else None,
        registered_by=asset.registered_by,
    )
