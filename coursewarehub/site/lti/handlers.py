"""Which address below `/lti/` is what."""

from __future__ import annotations

from coursewarehub.site.lti.endpoints import Callback, Connect, KeySet, Launch, Login, Lti, Settings
from coursewarehub.site.lti.register import Register
from coursewarehub.site.portal import Rule
from coursewarehub.wire import paths


def handlers(lti: Lti) -> list[Rule]:
    """For the site's web application."""
    given = {"lti": lti}
    return [
        (rf"{paths.LTI}launch", Launch, given),
        (rf"{paths.LTI}login", Login, given),
        (rf"{paths.LTI}callback", Callback, given),
        (rf"{paths.LTI}connect", Connect, given),
        (rf"{paths.LTI}jwks", KeySet, given),
        (rf"{paths.LTI}config\.(json|xml)", Settings, given),
        (rf"{paths.LTI}register(?:/([A-Za-z0-9_-]*))?", Register, given),
    ]
