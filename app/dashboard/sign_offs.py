"""What was sealed: one version of a signed period, as the controller saw it, whatever has come since."""

from flask import Blueprint, abort, render_template

from app.dashboard.context import here
from app.domain.sign_off import SignOffAction, first_broken

pages = Blueprint("sign_offs", __name__)


@pages.get("/statements/accounts/<int:statement_account_id>/sign-offs/<int:sign_off_id>")
def page(statement_account_id: int, sign_off_id: int) -> str:
    """One signed version with its balances, its bridge and what was outstanding."""
    api = here().api
    account = api.matching.accounts.get(statement_account_id)
    chain = api.sign_offs.chain(statement_account_id)
    versions = {one.sign_off_id: one for one in chain if one.action is SignOffAction.SIGNED}
    found = versions.get(sign_off_id)
    if account is None or found is None:
        abort(404)
    is_version_of = [one for one in chain if one.former_id == sign_off_id]
    return render_template(
        "sign_off.html",
        account=account,
        code=account.currency_code,
        signed=found,
        sealed=found.figures(),
        former=versions.get(found.former_id or 0),
        reopened=next((one for one in is_version_of if one.action is SignOffAction.REOPENED), None),
        successor=next((one for one in is_version_of if one.action is SignOffAction.SIGNED), None),
        broken=first_broken(chain),
    )
