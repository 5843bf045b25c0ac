"""Course files come, change and go while the site runs; nobody else is touched."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
import requests
from support.sites import RunningSite, alive, eventually
from support.students import Student

pytestmark = pytest.mark.slow
MakeSite = Callable[..., RunningSite]

COUNT = """
import threading, time
ticks = []
def count():
    while True:
        ticks.append(time.monotonic()); time.sleep(0.1)
threading.Thread(target=count, daemon=True).start()
"""
LONGEST_GAP = "print(max(b - a for a, b in zip(ticks, ticks[1:])), len(ticks))"


def test_third_course_appears_while_a_kernel_counts(make_site: MakeSite) -> None:
    site = make_site(courses=("alpha", "beta"))
    site.start()
    student = Student(site, "alpha", "sam").enter()
    kernel = student.start_kernel()
    kernel.run(COUNT)
    before = site.hub("alpha")["pid"]
    assert requests.get(site.course_url("gamma"), timeout=10).status_code == 404

    begin = time.monotonic()
    site.folder.add_course("gamma", title="Third course")
    eventually(lambda: requests.get(site.course_url("gamma"), timeout=10).status_code == 200, 10)
    assert time.monotonic() - begin < 10
    assert "Third course" in requests.get(site.url, timeout=10).text
    Student(site, "gamma", "sam").enter()

    assert site.hub("alpha")["pid"] == before
    gap, ticks = kernel.run(LONGEST_GAP).split()
    assert int(ticks) > 20 and float(gap) < 2


def test_changed_course_restarts_its_hub_alone_and_keeps_its_servers(make_site: MakeSite) -> None:
    site = make_site(courses=("alpha", "beta"))
    site.start()
    student = Student(site, "alpha", "sam").enter()
    kernel = student.start_kernel()
    kernel.run("x = 5")
    Student(site, "beta", "sam").login()
    alpha, beta = site.hub("alpha")["pid"], site.hub("beta")["pid"]

    site.folder.add_course("alpha", title="A new title")
    eventually(lambda: "A new title" in requests.get(site.course_url("alpha"), timeout=10).text, 10)
    eventually(lambda: site.hub("alpha")["pid"] not in (None, alpha), 10)
    assert site.hub("beta")["pid"] == beta
    assert kernel.run("print(x)") == "5\n"
    assert student.session.get(student.user_url + "lab", timeout=10).status_code == 200


def test_broken_file_is_shown_and_the_course_runs_on(make_site: MakeSite) -> None:
    site = make_site(courses=("alpha", "beta"))
    site.start()
    student = Student(site, "alpha", "sam").enter()
    file = site.folder.root / "courses.d" / "alpha.yaml"
    whole = file.read_text()
    file.write_text(whole.replace('"title"', '"tilte"'))
    problems = eventually(lambda: site.status()["problems"], 10)
    assert any(p.startswith("courses.d/alpha.yaml:") and "title" in p for p in problems), problems
    assert student.api("GET", "status").status_code == 200
    assert requests.get(site.course_url("alpha"), timeout=10).status_code == 200
    assert requests.get(site.course_url("beta"), timeout=10).status_code == 200

    file.write_text(whole)
    eventually(lambda: not site.status()["problems"], 10)


def test_new_course_with_a_mistake_is_out_of_order_until_mended(make_site: MakeSite) -> None:
    site = make_site()
    site.start()
    file = site.folder.root / "courses.d" / "gamma.yaml"
    file.write_text("id: gamma\ntitle: [\n")
    problems = eventually(lambda: site.status()["problems"], 10)
    assert problems[0].startswith("courses.d/gamma.yaml:")
    eventually(lambda: requests.get(site.course_url("gamma"), timeout=10).status_code == 503, 5)
    site.folder.add_course("gamma")
    eventually(lambda: requests.get(site.course_url("gamma"), timeout=10).status_code == 200, 10)


def test_archived_course_ends_and_its_work_stays(make_site: MakeSite) -> None:
    site = make_site(courses=("alpha", "beta"))
    site.start()
    student = Student(site, "alpha", "sam").enter()
    other = Student(site, "beta", "sam").enter()
    pid = site.hub("alpha")["pid"]
    kernel = other.start_kernel()
    kernel.run("x = 1")

    site.cli("course", "archive", "alpha")
    eventually(lambda: requests.get(site.course_url("alpha"), timeout=10).status_code == 410, 10)
    eventually(lambda: not alive(pid), 20)
    assert requests.get(student.user_url, timeout=10).status_code == 410
    assert kernel.run("print(x)") == "1\n"
    assert list((site.folder.root / "homes" / "alpha").glob("*/start.ipynb"))

    site.cli("course", "open", "alpha")
    eventually(lambda: requests.get(site.course_url("alpha"), timeout=10).status_code == 200, 10)
    assert Student(site, "alpha", "sam").enter().api("GET", "contents/start.ipynb").status_code == 200


def test_site_file_broken_while_running_changes_nothing(make_site: MakeSite) -> None:
    site = make_site()
    site.start()
    file = site.folder.root / "site.yaml"
    whole = file.read_text()
    file.write_text("mode: [")
    problems = eventually(lambda: site.status()["problems"], 10)
    assert problems[0].startswith("site.yaml:")
    assert requests.get(site.course_url("alpha"), timeout=10).status_code == 200
    file.write_text(whole)
    eventually(lambda: not site.status()["problems"], 10)


def test_removed_member_is_logged_out_within_a_minute(make_site: MakeSite) -> None:
    site = make_site(courses=())
    closed = {"method": "dummy", "password": "file:password"}
    site.folder.add_course("alpha", authentication=closed, members={"students": ["sam", "kim"]})
    site.start()
    sam, kim = Student(site, "alpha", "sam"), Student(site, "alpha", "kim")
    assert Student(site, "alpha", "eve").login().status_code == 403
    for student in (sam, kim):
        assert student.login().status_code == 200

    site.folder.add_course("alpha", authentication=closed, members={"students": ["kim"]})

    def thrown_out() -> bool:
        page = sam.session.get(f"{sam.base}hub/home", timeout=10)
        return page.url.split("?")[0].endswith("/hub/login")

    eventually(thrown_out, 75, every=1)
    assert kim.session.get(f"{kim.base}hub/home", timeout=10).url.endswith("/hub/home")
