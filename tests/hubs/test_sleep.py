"""Hubs sleep when nobody is there, and the request that wakes one is never lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest
import requests
from support.sites import PASSWORD, RunningSite, eventually
from support.students import Student

pytestmark = pytest.mark.slow
MakeSite = Callable[..., RunningSite]


def asleep(site: RunningSite, course: str = "alpha") -> bool:
    return bool(site.hub(course)["state"] == "sleeping" and site.hub(course)["pid"] is None)


def test_hub_sleeps_and_a_get_wakes_it(make_site: MakeSite) -> None:
    site = make_site(hubs={"sleep_after": "2s"})
    site.start()
    assert asleep(site)
    assert requests.get(site.course_url("alpha"), timeout=20).status_code == 200
    assert site.hub("alpha")["state"] == "running"
    eventually(lambda: asleep(site), 15, every=0.2)
    assert requests.get(site.course_url("alpha"), timeout=20).status_code == 200


def test_post_to_a_sleeping_hub_is_answered_by_it(make_site: MakeSite) -> None:
    """An LTI launch is a POST: here a login form sent hours after it was opened."""
    site = make_site(hubs={"sleep_after": "1s"})
    site.start()
    student = Student(site, "alpha", "sam")
    page = student.session.get(f"{student.base}hub/login", timeout=20)
    assert page.status_code == 200
    form = {"username": "sam", "password": PASSWORD, "_xsrf": student.cookie("_xsrf", page.url)}
    eventually(lambda: asleep(site), 15, every=0.2)

    answer = student.session.post(page.url, data=form, timeout=20, allow_redirects=False)
    assert answer.status_code == 302
    assert "jupyterhub-hub-login" in {cookie.name for cookie in student.session.cookies}


def test_requests_during_falling_asleep_are_all_answered(make_site: MakeSite) -> None:
    """Posts at every moment of the cycle asleep, waking, awake, falling asleep: each gets the hub's answer."""
    site = make_site(hubs={"sleep_after": "1s"})
    site.start()
    url = site.course_url("alpha") + "hub/api/users/sam/tokens"
    answers: list[int | str] = []
    end = time.monotonic() + 20

    def post_now_and_then(pause: float) -> None:
        while time.monotonic() < end:
            try:
                answers.append(requests.post(url, json={}, timeout=20).status_code)
            except requests.RequestException as error:
                answers.append(repr(error))
            time.sleep(pause)

    # Pauses around the hub's own time: some requests come just as it stops listening.
    threads = [threading.Thread(target=post_now_and_then, args=(1.0 + 0.13 * i,)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) > 20
    assert set(answers) == {403}


def test_hub_with_a_running_server_stays_awake(make_site: MakeSite) -> None:
    site = make_site(hubs={"sleep_after": "1s"})
    site.start()
    Student(site, "alpha", "sam").enter()
    pid = site.hub("alpha")["pid"]
    time.sleep(4)
    assert site.hub("alpha")["pid"] == pid


def test_never_sleeping_hubs_start_with_the_site(make_site: MakeSite) -> None:
    site = make_site(hubs={"sleep_after": "never"})
    site.start()
    eventually(lambda: site.hub("alpha")["state"] == "running", 20)


def test_hub_that_cannot_start_says_so(make_site: MakeSite) -> None:
    """A mistake in hub.d: visitors get a page, `status` the reason, and the mended file brings it back."""
    site = make_site()
    extra = site.folder.root / "hub.d"
    extra.mkdir()
    (extra / "10-mine.py").write_text("c.JupyterHub.nonsense = undefined_name\n")
    site.start()

    def refused() -> bool:
        return requests.get(site.course_url("alpha"), timeout=20).status_code == 503

    eventually(refused, 30, every=0.2)
    page = requests.get(site.course_url("alpha"), timeout=20)
    assert "Traceback" not in page.text and "undefined_name" not in page.text
    hub = site.hub("alpha")
    assert hub["state"] in ("failed", "starting")
    assert "undefined_name" in hub["reason"]

    (extra / "10-mine.py").write_text("c.JupyterHub.template_vars['mine'] = 1\n")
    eventually(lambda: requests.get(site.course_url("alpha"), timeout=20).status_code == 200, 20, every=0.2)
