"""Login at identity providers, on oauthenticator: authorization code flow with state, nonce and PKCE.

`OAuthMethod` does the steps that differ from stock oauthenticator, which logs whole answers, keeps one state cookie for
all windows and takes an ID token as it comes. What differs between providers is data, and one function for GitHub.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Final

import jwt
from jupyterhub.handlers.login import LoginHandler
from oauthenticator.generic import GenericOAuthenticator
from oauthenticator.oauth2 import (
    OAuthCallbackHandler,
    OAuthLoginHandler,
    _deserialize_state,
    _serialize_state,
)
from pydantic import SecretStr
from tornado.httpclient import AsyncHTTPClient, HTTPClientError
from tornado.web import HTTPError

from coursewareauthenticator import linking
from coursewareauthenticator.claims import Rules, arrival_of
from coursewareauthenticator.login import ARRIVAL, CoursewareLogin
from coursewareauthenticator.methods import (
    BROKEN_SERVICE,
    REFUSED,
    SLOW_SERVICE,
    UNFINISHED,
    LoginFailedError,
)
from coursewarehub.model.access import Arrival

SECONDS: Final = 8.0
"""Longest that a provider may take for all its answers of one login."""

MOST_AT_ONCE: Final = 100
"""Requests to one provider at once. The client is the method's own: a silent provider fills no queue of the hub's."""

STATE_DAYS: Final = 15 / (24 * 60)
ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA")
_KEYS_AGE: Final = 60.0
"""Seconds before keys are fetched again because a token names one that is not among them."""


@dataclass(frozen=True)
class Service:
    """An identity provider: where it is, how the site is known there, what its claims mean.

    With `issuer`, addresses come from its discovery document and the ID token is verified. Without, `authenticator` (a
    class of oauthenticator) knows the addresses, and `claims` asks for what the rules need. `callback` is the address
    to come back to, where it is not taken from the request.
    """

    name: str
    client_id: str
    client_secret: SecretStr
    rules: Rules
    scopes: tuple[str, ...]
    issuer: str = ""
    authorize: Mapping[str, str] = field(default_factory=dict)
    authenticator: type[Any] = GenericOAuthenticator
    settings: Mapping[str, Any] = field(default_factory=dict)
    claims: Callable[[Any, Mapping[str, Any]], Awaitable[dict[str, Any]]] | None = None
    callback: str = ""


class OAuthMethod:
    """A button of the login page, and what happens from there until somebody has come back."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self._client: Any = None
        self._found: dict[str, Any] = {}
        self._keys: dict[str, Any] = {}
        self._keys_time = float("-inf")

    def __repr__(self) -> str:
        return f"OAuthMethod({self.service.name!r})"

    def __deepcopy__(self, _: object) -> OAuthMethod:
        """traitlets copies what is configured; keys and addresses are found once."""
        return self

    @property
    def name(self) -> str:
        """What this way to log in is called in the course."""
        return self.service.name

    @property
    def client(self) -> Any:
        """oauthenticator's class, set up; `ready` must have been awaited where it is used."""
        if self._client is None:
            self._client = _client(self.service)
        return self._client

    def handlers(self) -> Sequence[tuple[str, type[Any]]]:
        """The page that sends people away, and the one to which they come back."""
        return [
            (f"/login/{self.name}", type("Begin", (BeginHandler,), {"method": self})),
            (f"/login/{self.name}/callback", type("Return", (ReturnHandler,), {"method": self})),
        ]

    async def ready(self) -> None:
        """Find the provider's addresses, once. LoginFailedError."""
        issuer = self.service.issuer
        if not issuer or self._found:
            return
        found = await _in_time(self.client.httpfetch(f"{issuer}/.well-known/openid-configuration"))
        if not isinstance(found, dict) or str(found.get("issuer", "")).rstrip("/") != issuer:
            raise LoginFailedError(BROKEN_SERVICE, f"{issuer} does not call itself by that name", 502)
        scheme = "http" if issuer.startswith("http:") else "https"
        for key in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
            if not str(found.get(key, "")).startswith(("https:", f"{scheme}:")):
                raise LoginFailedError(BROKEN_SERVICE, f"{issuer} names no usable `{key}`", 502)
        methods = found.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
        self.client.authorize_url = found["authorization_endpoint"]
        self.client.token_url = found["token_endpoint"]
        self.client.userdata_url = str(found.get("userinfo_endpoint") or "")
        self.client.basic_auth = "client_secret_basic" in methods
        self._found = found

    async def arrive(self, handler: Any, nonce: str) -> Arrival:
        """Exchange the code for who has come. LoginFailedError."""
        arrival: Arrival = await _in_time(self._arrive(handler, nonce))
        return arrival

    async def _arrive(self, handler: Any, nonce: str) -> Arrival:
        params = self.client.build_access_tokens_request_params(handler)
        token = await self.client.get_token_info(handler, params)
        if self.service.claims is not None:
            claims = await self.service.claims(self.client, token)
        else:
            claims = await self._openid_claims(token, nonce)
        return arrival_of(self.name, self.service.rules, claims)

    async def _openid_claims(self, token: Mapping[str, Any], nonce: str) -> dict[str, Any]:
        """What the ID token says, and the provider's user information about the same person."""
        said = await self._verified(str(token.get("id_token") or ""), nonce)
        if not self.client.userdata_url:
            return said
        info = await self.client.token_to_user({"token_type": "Bearer", **token})
        if not isinstance(info, dict) or info.get("sub") != said["sub"]:
            raise LoginFailedError(BROKEN_SERVICE, "user information is about somebody else", 502)
        return {**said, **info}

    async def _verified(self, id_token: str, nonce: str) -> dict[str, Any]:
        """The claims of an ID token: signed by the provider, for this site, for this login."""
        try:
            header = jwt.get_unverified_header(id_token)
            key = await self._key(str(header.get("kid", "")))
            claims: dict[str, Any] = jwt.decode(
                id_token,
                key,
                algorithms=list(ALGORITHMS),
                audience=self.service.client_id,
                issuer=self._found["issuer"],
                leeway=30,
                options={"require": ["exp", "iat", "sub", "aud", "iss"]},
            )
        except jwt.PyJWTError as error:
            raise LoginFailedError(BROKEN_SERVICE, f"the ID token is not valid: {type(error).__name__}", 502) from None
        if not secrets.compare_digest(str(claims.get("nonce", "")).encode(), nonce.encode()):
            raise LoginFailedError(UNFINISHED, "the ID token was made for another login", 400)
        return claims

    async def _key(self, kid: str) -> Any:
        """The provider's key of this id; without an id the only key there is."""
        if self._chosen(kid) is None and monotonic() - self._keys_time > _KEYS_AGE:
            answer = await self.client.httpfetch(self._found["jwks_uri"])
            self._keys = {key.key_id or "": key.key for key in jwt.PyJWKSet.from_dict(answer).keys}
            self._keys_time = monotonic()
        key = self._chosen(kid)
        if key is None:
            raise LoginFailedError(BROKEN_SERVICE, "the ID token is signed by an unknown key", 502)
        return key

    def _chosen(self, kid: str) -> Any:
        if not kid and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        return self._keys.get(kid)


async def _in_time(steps: Awaitable[Any]) -> Any:
    """What the provider answers, or LoginFailedError in time; nothing it said goes to the person or the log."""
    try:
        return await asyncio.wait_for(steps, SECONDS)
    except (TimeoutError, HTTPClientError) as error:
        late = isinstance(error, TimeoutError) or (error.code == 599 and "imeout" in str(error))
        raise LoginFailedError(SLOW_SERVICE if late else BROKEN_SERVICE, f"{type(error).__name__}", 503) from None
    except HTTPError as error:
        raise LoginFailedError(BROKEN_SERVICE, f"oauthenticator answered {error.status_code}", 502) from None
    except OSError as error:
        raise LoginFailedError(BROKEN_SERVICE, f"{type(error).__name__}", 503) from None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise LoginFailedError(BROKEN_SERVICE, f"{type(error).__name__}", 502) from None


class _OwnCallback:
    """Comes back to an address of the provider's own, so that answers of two providers cannot be mixed up."""

    service: Service

    def get_callback_url(self, handler: Any = None) -> str:
        """The configured address, else where the browser thinks that this hub is."""
        if self.service.callback:
            return self.service.callback
        request = handler.request
        return f"{request.protocol}://{request.host}{handler.hub.base_url}login/{self.service.name}/callback"


def _client(service: Service) -> Any:
    """oauthenticator's class for a service, set up."""
    kind = type("Client", (_OwnCallback, service.authenticator), {"service": service})
    return kind(
        client_id=service.client_id,
        client_secret=service.client_secret.get_secret_value(),
        scope=list(service.scopes),
        enable_pkce=True,
        extra_authorize_params=dict(service.authorize),
        http_client=AsyncHTTPClient(force_instance=True, max_clients=MOST_AT_ONCE),
        # A redirect would carry the site's secret elsewhere.
        http_request_kwargs={"connect_timeout": 4, "request_timeout": SECONDS, "follow_redirects": False},
        **service.settings,
    )


def _state_cookie(name: str, state_id: str) -> str:
    """One cookie a login: two windows do not spoil each other's."""
    return f"courseware-{name}-{state_id[:16]}"


class _OnLoginPage(LoginHandler):
    """Says what went wrong on the login page."""

    asked_once = True
    """Of the address: whoever chooses another language goes on from the login page."""

    method: OAuthMethod

    async def fail(self, error: LoginFailedError) -> None:
        """The login page with the sentence."""
        self.log.error("Login by %s failed: %s", self.method.name, error.detail or error.sentence)
        login = self.settings["authenticator"]
        if isinstance(login, CoursewareLogin):
            await login.failed(self, self.method.name, error.sentence)
        await self._fail(error.status, error.sentence)

    async def _fail(self, status: int, sentence: str) -> None:
        self.set_status(status)
        self.finish(await self._render(login_error=sentence, username=""))


class BeginHandler(OAuthLoginHandler, _OnLoginPage):
    """Sends somebody to the provider; remembers state, nonce and code verifier in a signed cookie of their browser."""

    _nonce = ""
    _inner: Any = None

    @property
    def authenticator(self) -> Any:
        """oauthenticator's class while its steps run, else the hub's."""
        return self._inner or self.settings["authenticator"]

    async def get(self) -> None:
        """oauthenticator's steps, once the provider's addresses are known."""
        try:
            await self.method.ready()
        except LoginFailedError as error:
            await self.fail(error)
            return
        self._nonce = secrets.token_urlsafe(24)
        self._inner = self.method.client
        super().get()

    def set_state_cookie(self, state_cookie_value: str) -> None:
        """With the nonce, and under a name of this login's own."""
        state = {**_deserialize_state(state_cookie_value), "nonce": self._nonce}
        name = _state_cookie(self.method.name, str(state["state_id"]))
        self._set_cookie(name, _serialize_state(state), expires_days=STATE_DAYS, path=self.hub.base_url)

    def authorize_redirect(self, **options: Any) -> None:
        """With the nonce."""
        options["extra_params"] = {**options.get("extra_params", {}), "nonce": self._nonce}
        super().authorize_redirect(**options)


class ReturnHandler(OAuthCallbackHandler, _OnLoginPage):
    """Somebody has come back from the provider."""

    _state_cookie: str | None = None

    def get_state_cookie(self) -> str:
        """The state of the login that the address names; it works once."""
        if self._state_cookie is None:
            state_id = str(_state(self.get_argument("state", "")).get("state_id", ""))
            name = _state_cookie(self.method.name, "".join(filter(str.isalnum, state_id)))
            self._state_cookie = (self.get_secure_cookie(name) or b"").decode("utf-8", "replace")
            self.clear_cookie(name, path=self.hub.base_url)
        return str(self._state_cookie)

    async def get(self) -> None:
        """Check, find out who it is, let them in."""
        try:
            arrival = await self._arrival()
            if linking.take(self, arrival):
                return
            user = await self.login_user({ARRIVAL: arrival})
        except LoginFailedError as error:
            await self.fail(error)
        except HTTPError as error:
            await self._fail(error.status_code, str(error.log_message))
        else:
            self.redirect(self.get_next_url(user))

    async def _arrival(self) -> Arrival:
        await self.method.ready()
        try:
            self.check_state()
        except (HTTPError, ValueError, AttributeError):
            raise LoginFailedError(UNFINISHED, "the state is missing or another's", 400) from None
        issuer = self.method.service.issuer
        if issuer and self.get_argument("iss", issuer).rstrip("/") != issuer:
            raise LoginFailedError(UNFINISHED, "the answer is another provider's", 400)
        if self.get_argument("error", ""):
            raise LoginFailedError(REFUSED, "the provider answered with an error", 403)
        if not self.get_argument("code", ""):
            raise LoginFailedError(UNFINISHED, "the answer has no code", 400)
        return await self.method.arrive(self, str(_state(self.get_state_cookie()).get("nonce", "")))


def _state(text: str) -> dict[str, Any]:
    """A state as a mapping, whatever was sent."""
    try:
        state = _deserialize_state(text)
    except (ValueError, json.JSONDecodeError):
        return {}
    return state if isinstance(state, dict) else {}
