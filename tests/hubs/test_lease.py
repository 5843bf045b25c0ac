"""What the lease relies on in JupyterHub itself: whom it confirms, whom it refuses, and how it fails."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

import pytest
import requests
from support.sites import RunningSite, eventually
from support.students import Student

from coursewarehub.singleuser.lease import Answer
from coursewarehub.singleuser.question import Question
from coursewarehub.wire import paths

pytestmark = pytest.mark.slow
MakeSite = Callable[..., RunningSite]

DATABASE_AWAY = """
from pathlib import Path
from sqlalchemy import event
from sqlalchemy.engine import Engine
from sqlalchemy.exc import OperationalError

@event.listens_for(Engine, "before_cursor_execute")
def away(*_):
    if Path("away").exists():
        raise OperationalError("the database is away", None, Exception())
"""


def test_a_hub_confirms_refuses_and_fails_as_the_lease_takes_it(make_site: MakeSite) -> None:
    site = make_site()
    (site.folder.root / "hub.d").mkdir()
    (site.folder.root / "hub.d" / "away.py").write_text(DATABASE_AWAY)
    site.start()
    student = Student(site, "alpha", "sam").enter()
    shown = student.start_kernel().run("import json, os; print(json.dumps(dict(os.environ)))")
    environment = json.loads(shown)

    def answer() -> Answer:
        return asyncio.run(Question(environment)())

    assert answer() is Answer.CURRENT

    away = site.folder.root / "state" / "courses" / "alpha" / "away"
    away.touch()
    hub = environment["JUPYTERHUB_API_URL"]
    refused = requests.get(f"{hub}/user", headers={"Authorization": f"token {environment['JUPYTERHUB_API_TOKEN']}"})
    assert refused.status_code == 403, "a hub without its database refuses a good token"
    assert answer() is Answer.UNKNOWN
    away.unlink()
    eventually(lambda: answer() is Answer.CURRENT, 10)

    service = {"Authorization": f"token {site.token('alpha')}"}
    assert requests.delete(f"{hub}/users/sam/server", headers=service, timeout=30).status_code in (202, 204)
    eventually(lambda: answer() is Answer.REPLACED, 20)


def test_only_the_sites_service_shows_notices(make_site: MakeSite) -> None:
    site = make_site()
    site.start()
    sam, ada = Student(site, "alpha", "sam").enter(), Student(site, "alpha", "ada").enter()
    own = sam.start_kernel().run("import os; print(os.environ['JUPYTERHUB_API_TOKEN'])").strip()
    url = sam.user_url + paths.NOTICES
    notice = {"id": "n", "text": "Hello"}

    def post(**headers: str) -> int:
        return requests.post(url, json=notice, headers=headers, timeout=20).status_code

    assert post() == 403
    assert post(Authorization=f"token {own}") == 403
    for person in (sam, ada):
        xsrf = {"X-XSRFToken": person.cookie("_xsrf", sam.user_url), "Referer": sam.user_url}
        assert person.session.post(url, json=notice, headers=xsrf, timeout=20).status_code == 403
    assert post(Authorization=f"token {site.token('alpha')}") == 204
    shown = requests.get(url, headers={"Authorization": f"token {own}"}, timeout=20).json()
    assert [n["text"] for n in shown["notices"]] == [{"en": "Hello"}]
