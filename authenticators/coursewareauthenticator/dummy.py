"""The workshop login: one password for the whole course.

For demos and workshops. Whoever knows the password can enter under any listed name, an instructor's included,
so production sites refuse it unless the course says `workshop: true`.
"""

from __future__ import annotations

import hmac
from typing import Any

from traitlets import Unicode

from coursewareauthenticator.base import CoursewareAuthenticator


class CoursewareDummyAuthenticator(CoursewareAuthenticator):
    """One shared password; who may enter as what is up to `decide`."""

    password = Unicode(help="The course's password. Nobody can log in while it is empty.").tag(config=True)

    async def authenticate(self, handler: Any, data: dict[str, str]) -> dict[str, Any] | None:
        """Compare in constant time, then decide."""
        del handler
        given = data.get("password", "").encode()
        if not self.password or not hmac.compare_digest(given, self.password.encode()):
            self.log.warning("Wrong password for %r", data.get("username", "")[:64])
            return None
        return self.admit(data.get("username", ""))
