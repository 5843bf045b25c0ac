"""Open edX's own code as a platform: reads orders, one JSON a line, and answers each with one line.

Runs in a virtual environment of its own (`support.openedx`), which has `lti-consumer-xblock` and nothing of ours.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from django.conf import settings

settings.configure(
    CACHES={"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}},
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth"],
    LMS_BASE="lms.example.org",
    PLATFORM_NAME="Open edX",
    SECRET_KEY="x",
    USE_TZ=True,
)

import django  # noqa: E402

django.setup()

from cryptography.hazmat.primitives.asymmetric import rsa  # noqa: E402
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat  # noqa: E402
from lti_consumer.data import Lti1p3LaunchData  # noqa: E402
from lti_consumer.lti_1p1.consumer import LtiConsumer1p1  # noqa: E402
from lti_consumer.lti_1p3.consumer import LtiAdvantageConsumer  # noqa: E402

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
    Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()
)
COURSE = "course-v1:Org+CS1+2026"


def consumer_13(order: dict[str, Any]) -> LtiAdvantageConsumer:
    """The consumer of one block."""
    made = LtiAdvantageConsumer(
        iss=order["issuer"],
        lti_oidc_url=order["login_url"],
        lti_launch_url=order["launch_url"],
        client_id=order["client_id"],
        deployment_id="1",
        rsa_key=KEY.decode(),
        rsa_key_id="edx",
        redirect_uris=order["redirect_uris"],
        tool_keyset_url=order.get("jwks_url"),
    )
    made.enable_ags(lineitems_url="https://lms.example.org/items", lineitem_url="https://lms.example.org/items/1")
    if order.get("deep_linking"):
        made.enable_deep_linking(order["launch_url"], "https://lms.example.org/deep")
    return made


def preflight(order: dict[str, Any]) -> str:
    """The address with which a login begins."""
    data = Lti1p3LaunchData(
        user_id=order["user"],
        user_role=order["role"],
        config_id="1",
        resource_link_id="block-v1:Org+CS1+2026+type@lti",
        message_type="LtiDeepLinkingRequest" if order.get("deep_linking") else "LtiResourceLinkRequest",
    )
    return str(consumer_13(order).prepare_preflight_url(data))


def launch_13(order: dict[str, Any]) -> dict[str, Any]:
    """The form that ends a login, for the query with which the tool came."""
    made = consumer_13(order)
    made.set_user_data(user_id=order["user"], role=order["role"], full_name="Ada", email_address="ada@example.org")
    made.set_resource_link_claim("block-v1:Org+CS1+2026+type@lti")
    made.set_launch_presentation_claim("iframe")
    made.set_context_claim(COURSE, context_title="Computing", context_label=COURSE)
    made.set_custom_parameters(order.get("custom", {}))
    if order.get("deep_linking"):
        made.set_dl_content_launch_parameters(url=order["launch_url"])
    return dict(made.generate_launch_request(order["query"]))


def launch_11(order: dict[str, Any]) -> dict[str, Any]:
    """A signed form of LTI 1.1."""
    made = LtiConsumer1p1(order["launch_url"], order["key"], order["secret"])
    made.set_user_data(
        user_id=order["user"],
        roles=order["role"],
        result_sourcedid=f"{COURSE}:block:{order['user']}",
        person_sourcedid="ada",
        person_contact_email_primary="ada@example.org",
    )
    made.set_context_data(COURSE, "Computing", "Org")
    made.set_outcome_service_url("https://lms.example.org/outcome")
    made.set_custom_parameters(order.get("custom", {}))
    return dict(made.generate_launch_request("block-v1:Org+CS1+2026+type@lti"))


def key_set(order: dict[str, Any]) -> dict[str, Any]:
    """The platform's public keys."""
    return dict(consumer_13(order).get_public_keyset())


def deep_linked(order: dict[str, Any]) -> list[Any]:
    """What Open edX makes of a tool's answer."""
    return list(consumer_13(order).check_and_decode_deep_linking_token(order["token"]))


DO = {each.__name__: each for each in (preflight, launch_13, launch_11, key_set, deep_linked)}

if __name__ == "__main__":
    for line in sys.stdin:
        received = json.loads(line)
        print(json.dumps(DO[received["do"]](received)), flush=True)
