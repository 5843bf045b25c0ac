"""Dynamic registration: what a platform says of itself, what it is told of us, and what it answers. Pure.

References: LTI Dynamic Registration 1.0 §3.3 (discovery), §3.4 (configuration), §3.5 (registration); OpenID Connect
Discovery 1.0 §4; Canvas' documentation of registration for its placements and its privacy level.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from coursewareauthenticator.lti.documents import Tool
from coursewareauthenticator.lti.launch import is_web_address, shown
from coursewarehub.i18n import N_

TOOL: Final = "https://purl.imsglobal.org/spec/lti-tool-configuration"
PLATFORM: Final = "https://purl.imsglobal.org/spec/lti-platform-configuration"
PRIVACY: Final = "https://canvas.instructure.com/lti/privacy_level"
CLAIMS: Final = ("sub", "iss", "name", "given_name", "family_name", "email")
"""What is asked for of a person: without it platforms share no names."""
CLOSE: Final = "org.imsglobal.lti.close"
"""The message that tells the platform's page that registration has ended (§3.7)."""
_LONGEST: Final = 2048
_PLACEMENTS: Final = {
    "LtiResourceLinkRequest": ("course_navigation",),
    "LtiDeepLinkingRequest": ("link_selection", "assignment_selection"),
}
# Canvas in the cloud: one issuer for all institutions, and a host of its own for what it publishes.
_SAME_OPERATOR: Final = (
    frozenset({"canvas.instructure.com", "sso.canvaslms.com"}),
    frozenset({"canvas.beta.instructure.com", "sso.beta.canvaslms.com"}),
    frozenset({"canvas.test.instructure.com", "sso.test.canvaslms.com"}),
)


class RegistrationRefused(Exception):
    """What a platform sent cannot be used; `template` is one sentence with `%(name)s` for each of `values`."""

    def __init__(self, template: str, **values: object) -> None:
        self.template = template
        self.values = {name: shown(value) for name, value in values.items()}
        super().__init__(template % self.values)


@dataclass(frozen=True)
class Platform:
    """What a platform's configuration says of it. `audience` is for requests of tokens; None means `token_url`.

    `placements` are those that it has, by message type; `family` is what kind of software it says to be.
    """

    issuer: str
    auth_url: str
    jwks_url: str
    token_url: str
    registration_url: str
    audience: str | None
    family: str
    messages: Mapping[str, frozenset[str]]


def read_configuration(document: Mapping[str, Any], url: str, *, secure: bool = True) -> Platform:
    """What the configuration at `url` says. Raises RegistrationRefused; nothing is taken from one that is not whole.

    The issuer must be of the host that publishes it (§3.4): nobody may speak for another platform. With `secure`, all
    of it must be https; without, a platform that has no https itself may do without.
    """
    issuer = _address(document, "issuer", secure_as="https:" if secure else "")
    if not _same_host(issuer, url):
        raise RegistrationRefused(
            N_("The platform at %(url)s says that it is %(issuer)s, which is of another host: it is not registered."),
            url=urlsplit(url).netloc,
            issuer=issuer,
        )
    names = ("authorization_endpoint", "jwks_uri", "token_endpoint", "registration_endpoint")
    auth, jwks, token, registration = (_address(document, name, secure_as=issuer) for name in names)
    lti = document.get(PLATFORM)
    of_lti = lti if isinstance(lti, dict) else {}
    audience, family = document.get("authorization_server"), of_lti.get("product_family_code")
    return Platform(
        issuer=issuer,
        auth_url=auth,
        jwks_url=jwks,
        token_url=token,
        registration_url=registration,
        audience=audience if isinstance(audience, str) and 0 < len(audience) <= _LONGEST else None,
        family=family if isinstance(family, str) else "",
        messages=_messages(of_lti.get("messages_supported")),
    )


def _address(document: Mapping[str, Any], name: str, secure_as: str = "") -> str:
    value = document.get(name)
    if not isinstance(value, str) or not is_web_address(value) or len(value) > _LONGEST:
        raise RegistrationRefused(
            N_("`%(field)s` in the platform’s configuration is missing or no complete web address."), field=name
        )
    if secure_as.startswith("https:") and not value.startswith("https:"):
        raise RegistrationRefused(
            N_("`%(field)s` in the platform’s configuration does not begin with https://."), field=name
        )
    return value


def _same_host(issuer: str, url: str) -> bool:
    if issuer.startswith("http:") and url.startswith("https:"):
        return False
    hosts = {_host(issuer), _host(url)}
    return len(hosts) == 1 or any(hosts <= operator for operator in _SAME_OPERATOR)


def _host(url: str) -> str:
    """Host and port of an address, in lower case, without the scheme's own port."""
    parts = urlsplit(url)
    return parts.netloc.lower().removesuffix({"http": ":80", "https": ":443"}.get(parts.scheme, ""))


def _messages(found: Any) -> dict[str, frozenset[str]]:
    """Placements by message type; a platform that has no placements has none of them."""
    known: dict[str, frozenset[str]] = {}
    for one in found[:100] if isinstance(found, list) else ():
        if isinstance(one, dict) and isinstance(one.get("type"), str):
            placements = one.get("placements")
            texts = placements[:200] if isinstance(placements, list) else ()
            known[one["type"]] = frozenset(text for text in texts if isinstance(text, str))
    return known


def registration(
    tool: Tool, callbacks: Sequence[str], platform: Platform, scopes: Iterable[str] = ()
) -> dict[str, Any]:
    """What the platform is told: an OpenID client, and the tool that it is (§3.5).

    `callbacks` are where launches may end, `scopes` those of services that are in use. Placements and privacy level
    are for Canvas, which has them.
    """
    is_canvas = platform.family == "canvas"
    settings: dict[str, Any] = {
        "domain": urlsplit(tool.launch_url).netloc,
        "target_link_uri": tool.launch_url,
        "description": tool.description,
        "claims": list(CLAIMS),
        "messages": [_message(kind, tool, platform) for kind in _PLACEMENTS],
    }
    if is_canvas:
        settings[PRIVACY] = "public"
    return {
        "application_type": "web",
        "response_types": ["id_token"],
        "grant_types": ["implicit", "client_credentials"],
        "initiate_login_uri": tool.login_url,
        "redirect_uris": list(callbacks),
        "client_name": tool.title,
        "jwks_uri": tool.jwks_url,
        "token_endpoint_auth_method": "private_key_jwt",
        "scope": " ".join(scopes),
        TOOL: settings,
    }


def _message(kind: str, tool: Tool, platform: Platform) -> dict[str, Any]:
    message: dict[str, Any] = {"type": kind, "target_link_uri": tool.launch_url, "label": tool.title}
    placements = [name for name in _PLACEMENTS[kind] if name in platform.messages.get(kind, ())]
    return message | ({"placements": placements} if placements else {})


@dataclass(frozen=True)
class Registered:
    """The platform's answer: our client id, and the deployment if it has made one."""

    client_id: str
    deployment: str | None = None


def read_registration(document: Mapping[str, Any]) -> Registered:
    """What the platform answers. Raises RegistrationRefused when it gives no client id."""
    client_id = document.get("client_id")
    if not isinstance(client_id, str) or not 0 < len(client_id) <= 255 or not client_id.isprintable():
        raise RegistrationRefused(
            N_("`%(field)s` in the platform’s answer is missing or no text: it has not registered us."),
            field="client_id",
        )
    settings = document.get(TOOL)
    deployment = settings.get("deployment_id") if isinstance(settings, dict) else None
    good = isinstance(deployment, str) and 0 < len(deployment) <= 255 and deployment.isprintable()
    return Registered(client_id, deployment if good else None)


def refused(document: Mapping[str, Any], status: int) -> RegistrationRefused:
    """The platform's refusal, in its own words where it has some (RFC 7591 §3.2.2; Moodle's and Canvas' forms)."""
    texts = [document.get(name) for name in ("error_description", "error", "message", "errors")]
    if isinstance(texts[-1], list) and texts[-1] and isinstance(texts[-1][0], dict):
        texts.append(texts[-1][0].get("message"))
    words = next((text for text in texts if isinstance(text, str) and text), None)
    if words is None:
        return RegistrationRefused(N_("The platform has refused the registration (HTTP %(status)s)."), status=status)
    if "token_already_used" in words:
        return RegistrationRefused(
            N_("The platform’s own token has been used already: start the registration there once more.")
        )
    return RegistrationRefused(
        N_("The platform has refused the registration (HTTP %(status)s): %(words)s"), status=status, words=words
    )
