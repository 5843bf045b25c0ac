"""A hub imports the login methods that its course has, and no others: they are large and it starts often."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import sys
import coursewarehub.hub.warm
from coursewarehub.hub.main import CourseHub
CourseHub()
print(*sorted({"ldap3", "oauthenticator", "jwt", "docker", "argon2", "smtplib"} & set(sys.modules)))
"""


def test_a_hub_imports_no_login_method_that_it_may_not_need() -> None:
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", SCRIPT], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
