"""A platform for tests: it signs as other people's software does, never with the code under test."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import urlencode

from oauthlib.oauth1 import SIGNATURE_HMAC_SHA1, SIGNATURE_TYPE_BODY, Client

NOW = 1_800_000_000
LAUNCH_URL = "https://hub.example.org/courses/python/hub/lti/launch"
KEY, SECRET = "moodle", "s3cret & more"
Params = Iterable[tuple[str, str]]

FORM_11 = {
    "lti_message_type": "basic-lti-launch-request",
    "lti_version": "LTI-1p0",
    "resource_link_id": "link-7",
    "resource_link_title": "Week 3",
    "user_id": "42",
    "roles": "Instructor,urn:lti:instrole:ims/lis/Administrator",
    "context_id": "course-1",
    "context_label": "PY",
    "context_title": "Python for all",
    "context_type": "CourseSection",
    "lis_person_name_full": "Ada Lovelace",
    "lis_person_name_given": "Ada",
    "lis_person_name_family": "Lovelace",
    "lis_person_contact_email_primary": "ada@example.org",
    "lis_outcome_service_url": "https://lms.example.org/outcomes",
    "lis_result_sourcedid": '{"data":{"instanceid":"1","userid":"42"},"hash":"ab:cd"}',
    "launch_presentation_return_url": "https://lms.example.org/course/view?id=1",
    "launch_presentation_locale": "ja-JP",
    "custom_notebook": "week3/演習 1.ipynb",
    "custom_blank": "",
    "tool_consumer_instance_guid": "lms.example.org",
}


def signed(
    params: Params,
    *,
    url: str = LAUNCH_URL,
    key: str = KEY,
    secret: str = SECRET,
    timestamp: str = str(NOW),
    nonce: str = "nonce-1",
    method: str = SIGNATURE_HMAC_SHA1,
) -> bytes:
    """The body of a launch, signed by oauthlib."""
    client: Any = Client(
        key,
        client_secret=secret,
        signature_method=method,
        signature_type=SIGNATURE_TYPE_BODY,
        timestamp=timestamp,
        nonce=nonce,
    )
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    _, _, body = client.sign(url, "POST", urlencode(list(params)), headers)
    return body.encode() if isinstance(body, str) else bytes(body)


def form(**changes: str | None) -> list[tuple[str, str]]:
    """A whole launch of LTI 1.1 with some fields changed, or left out when None."""
    return [(name, value) for name, value in (FORM_11 | changes).items() if value is not None]
