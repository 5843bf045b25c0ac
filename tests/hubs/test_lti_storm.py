"""The beginning of a class: two hundred people press the link within a minute, by both versions of LTI."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
from support.learning_platform import Launched, launched_site, running_platform, visitor

pytestmark = pytest.mark.slow

PEOPLE = 200
AT_ONCE = 40
SECONDS = 60


def test_l01_two_hundred_launches_within_a_minute(tmp_path: Path) -> None:
    """Up to the login: what starts then is the storm of starts. All come as fast as they can, which is harder than
    evenly over the minute."""
    ways = [
        {"method": "lti13", "use": "moodle", "contexts": "any"},
        {"method": "lti11", "use": "old", "contexts": "any"},
    ]
    with running_platform() as platform, launched_site(tmp_path / "site", platform, authentication=ways) as alpha:

        def come(number: int) -> tuple[requests.Response, requests.Session]:
            session, user = visitor(), f"person-{number}"
            if number % 2:
                return alpha.launch13(session, user), session
            return alpha.launch11(session, platform.form(alpha.lti("launch"), user)), session

        begin = time.monotonic()
        with ThreadPoolExecutor(AT_ONCE) as browsers:
            arrived = list(browsers.map(come, range(PEOPLE)))
        took = time.monotonic() - begin
        assert [page.status_code for page, _ in arrived] == [303] * PEOPLE
        assert all(page.headers["Location"].startswith("/courses/alpha/hub/") for page, _ in arrived)
        assert took < SECONDS, f"{took:.1f} s"
        names = everybody(alpha)
        assert len(names) == PEOPLE and all(groups == ["student"] for groups in names.values())
        # Each browser is somebody else's, and stays so.
        seen = {alpha.who(session) for _, session in arrived[:: PEOPLE // 20]}
        assert len(seen) == 20 and seen <= names.keys()
        assert platform.asked <= 2, "the key set is fetched once for all of them"
        log = (Path(alpha.site.folder.root) / "state" / "logs" / "hub-alpha.log").read_text()
        assert "Traceback" not in log and " 500 " not in log and " 503 " not in log


def everybody(alpha: Launched) -> dict[str, list[str]]:
    """All users of the hub with their groups, page by page."""
    token = {"Authorization": f"token {alpha.site.token('alpha')}"}
    found: dict[str, list[str]] = {}
    while True:
        url = f"{alpha.url}hub/api/users?offset={len(found)}&limit=100"
        users = requests.get(url, headers=token, timeout=30).json()
        if not users:
            return found
        found |= {user["name"]: user["groups"] for user in users}
