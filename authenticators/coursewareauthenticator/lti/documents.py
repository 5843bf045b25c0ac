"""What a platform can be given to register the tool: settings of LTI 1.3 as JSON, of LTI 1.1 as a cartridge. Pure.

References: the LTI 1.3 configuration format of Canvas; IMS Common Cartridge 1.3, basic LTI link.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit
from xml.sax.saxutils import escape

from coursewareauthenticator.lti.launch import is_web_address

_NAMESPACES: Final = (
    ("xmlns", "http://www.imsglobal.org/xsd/imslticc_v1p3"),
    ("xmlns:blti", "http://www.imsglobal.org/xsd/imsbasiclti_v1p0"),
    ("xmlns:lticm", "http://www.imsglobal.org/xsd/imslticm_v1p0"),
    ("xmlns:lticp", "http://www.imsglobal.org/xsd/imslticp_v1p0"),
)


@dataclass(frozen=True)
class Tool:
    """The tool as platforms know it: its names and its public addresses. Raises ValueError for a relative address."""

    title: str
    description: str
    login_url: str
    launch_url: str
    jwks_url: str

    def __post_init__(self) -> None:
        for url in (self.login_url, self.launch_url, self.jwks_url):
            if not is_web_address(url):
                raise ValueError(f"{url} is not a complete web address")


def configuration(tool: Tool, scopes: Sequence[str] = ()) -> dict[str, Any]:
    """The tool's settings for LTI 1.3. `scopes` are those of the services that are in use, and no others."""
    choosing = {"message_type": "LtiDeepLinkingRequest", "target_link_uri": tool.launch_url, "enabled": True}
    placements = [{"placement": name} | choosing for name in ("link_selection", "assignment_selection")]
    return {
        "title": tool.title,
        "description": tool.description,
        "oidc_initiation_url": tool.login_url,
        "target_link_uri": tool.launch_url,
        "redirect_uris": [tool.launch_url],
        "public_jwk_url": tool.jwks_url,
        "scopes": list(scopes),
        "extensions": [
            {
                "domain": urlsplit(tool.launch_url).netloc,
                "platform": "canvas.instructure.com",
                "privacy_level": "public",
                "settings": {"text": tool.title, "placements": placements},
            }
        ],
        "custom_fields": {},
    }


def cartridge(tool: Tool) -> str:
    """The tool's settings for LTI 1.1 as XML; the key and the secret are given by other ways."""
    names = " ".join(f'{name}="{value}"' for name, value in _NAMESPACES)
    elements = {
        "title": tool.title,
        "description": tool.description,
        "launch_url": tool.launch_url,
        "secure_launch_url": tool.launch_url if tool.launch_url.startswith("https:") else "",
    }
    inner = "".join(f"<blti:{name}>{escape(text)}</blti:{name}>" for name, text in elements.items() if text)
    name = f"<lticp:code>coursewarehub</lticp:code><lticp:name>{escape(tool.title)}</lticp:name>"
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<cartridge_basiclti_link {names}>{inner}<blti:vendor>{name}</blti:vendor></cartridge_basiclti_link>"
    )
