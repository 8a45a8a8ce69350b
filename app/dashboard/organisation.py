"""Signing in with an account of the organisation, by OpenID Connect: the authorization code flow, with PKCE and nonce.

Nobody gets in because the organisation knows them: a person is invited, and takes the invitation up with their
account. From then on its issuer and subject, which never change, stand for the person.
"""

import logging

from authlib.integrations.base_client.errors import AuthlibBaseError
from authlib.integrations.flask_client import FlaskOAuth2App, OAuth
from flask import Blueprint, Flask, current_app, redirect, render_template, request, session, url_for
from joserfc.errors import JoseError
from requests import RequestException
from werkzeug.wrappers import Response

from app.dashboard.context import here
from app.dashboard.frame import local_path, public
from app.dashboard.sign_in import NOT_INVITED, client, enter, invited

log = logging.getLogger(__name__)

pages = Blueprint("organisation", __name__)

JOINING = "joining"
"""Where the cookie of forms keeps an invitation while the organisation is asked."""
CAME_FOR = "came_for"


def install(application: Flask) -> None:
    """Have the application know the organisation, where it is configured."""
    services = application.extensions["holdfast"]
    if services.organisation is None:
        return
    oauth = OAuth(application)
    oauth.register(
        "organisation",
        client_id=services.organisation.client_id,
        client_secret=services.organisation.client_secret,
        server_metadata_url=services.organisation.metadata_url,
        client_kwargs={"scope": "openid", "code_challenge_method": "S256", "timeout": 10},
    )
    application.extensions["organisation"] = oauth.organisation
    application.register_blueprint(pages)


def _asked() -> FlaskOAuth2App:
    asked: FlaskOAuth2App = current_app.extensions["organisation"]
    return asked


def _callback() -> str:
    path = url_for("organisation.answered")
    return f"{here().public_url}{path}" if here().public_url else url_for("organisation.answered", _external=True)


@pages.get("/sign-in/organisation")
@public
def begin() -> Response:
    """Ask the organisation who this is."""
    session.pop(JOINING, None)
    session[CAME_FOR] = local_path(request.args.get("next"))
    return _redirect()


@pages.get("/invitation/<token>/organisation")
@public
def join(token: str) -> Response:
    """Ask the organisation who this is, to take up an invitation."""
    invited(token)
    session[JOINING] = token
    return _redirect()


def _redirect() -> Response:
    try:
        answer: Response = _asked().authorize_redirect(_callback())
    except (RequestException, AuthlibBaseError) as error:
        log.warning("the organisation's sign-in does not answer: %s", error)
        return redirect(url_for("sign_in.form"), 303)
    return answer


@pages.get("/sign-in/organisation/answered")
@public
def answered() -> Response | tuple[str, int]:
    """What the organisation says: sign in the person, or bind the account to the invitation."""
    try:
        claims = _asked().authorize_access_token()["userinfo"]
    except (RequestException, AuthlibBaseError, JoseError, KeyError) as error:
        log.warning("the organisation's sign-in failed: %s", error)
        return _refused("Your organisation did not confirm who you are. Nothing was changed; try again.")
    issuer, subject = str(claims["iss"]), str(claims["sub"])
    token, came_for = session.pop(JOINING, None), session.pop(CAME_FOR, "/")
    if token is not None:
        user = here().sign_in.invited(token)
        if user is None or not here().sign_in.join_organisation(user, issuer, subject):
            return _refused(NOT_INVITED)
    signed = here().sign_in.by_organisation(issuer, subject, client())
    if signed is None:
        return _refused("No user here has this account. Ask the person who administers Holdfast for an invitation.")
    return enter(signed, came_for)


def _refused(message: str) -> tuple[str, int]:
    page = render_template(
        "sign_in.html", failed=None, next="/", name="", organisation=here().organisation, message=message
    )
    return page, 403
