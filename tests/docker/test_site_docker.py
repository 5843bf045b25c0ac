"""A site whose servers are containers of one Docker host: a student's way through it, and what breaks."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator

import pytest
import requests
from support.engines import EngineBed
from support.sites import RunningSite, eventually
from support.students import Student
from support.workload import lost, work

pytestmark = [pytest.mark.slow, pytest.mark.everyday, pytest.mark.timeout(600)]
MakeSite = Callable[..., RunningSite]
KIND = "coursewarehub.kind=server"


@pytest.fixture
def site(make_site: MakeSite, bed: EngineBed, images: dict[str, str]) -> Iterator[RunningSite]:
    """A running site on the bed's machine, with the course `alpha`."""
    settings = {
        "kind": "docker",
        "image": images["singleuser"],
        "storage": str(bed.storage),
    }
    made = make_site(courses=(), machine=bed.engine, spawner=settings)
    made.folder.add_course("alpha", resources={"memory": "512M", "cpu": 1, "temporary": "64M"})
    made.start()
    yield made
    made.stop()


def containers(bed: EngineBed) -> list[str]:
    return bed.engine.docker("ps", "--quiet", "--filter", f"label={KIND}").split()


def test_a_student_computes_saves_stops_and_finds_the_files_again(site: RunningSite, bed: EngineBed) -> None:
    sam = Student(site, "alpha", "sam").enter(60)
    kernel = sam.start_kernel()
    assert kernel.run("print(6 * 7); open('mine.txt', 'w').write('kept')") == "42\n"
    assert sam.api("GET", "contents/course/start.ipynb").json()["writable"] is False
    assert len(containers(bed)) == 1
    token = {"Authorization": f"token {site.token('alpha')}"}
    server = f"{site.course_url('alpha')}hub/api/users/sam/server"
    assert requests.delete(server, headers=token, timeout=60).status_code in (202, 204)
    eventually(lambda: not containers(bed), 60)
    again = Student(site, "alpha", "sam").enter(60)
    assert again.api("GET", "contents/mine.txt").json()["content"] == "kept"
    engine = site.status()["engine"]
    assert (engine["state"], engine["isolation"]["on"]) == ("answering", True), engine


def test_f01_hub_killed_containers_adopted(site: RunningSite) -> None:
    sessions = work(site, [f"s{i}" for i in range(3)])
    os.kill(site.hub("alpha")["pid"], signal.SIGKILL)
    begin = time.monotonic()
    eventually(lambda: requests.get(f"{site.course_url('alpha')}hub/login", timeout=20).status_code == 200, 15)
    assert time.monotonic() - begin < 5
    assert lost(sessions) == []
    token = {"Authorization": f"token {site.token('alpha')}"}
    users = requests.get(f"{site.course_url('alpha')}hub/api/users", headers=token, timeout=20).json()
    assert {user["name"] for user in users if user["server"]} == {"s0", "s1", "s2"}


def test_f02_hub_killed_while_containers_start(site: RunningSite, bed: EngineBed) -> None:
    base, token = f"{site.course_url('alpha')}hub/api", {"Authorization": f"token {site.token('alpha')}"}
    names = [f"u{i}" for i in range(6)]
    requests.post(f"{base}/users", json={"usernames": names}, headers=token, timeout=30).raise_for_status()
    for name in names:
        with contextlib.suppress(requests.Timeout):
            requests.post(f"{base}/users/{name}/server", headers=token, timeout=0.1)
    eventually(lambda: len(containers(bed)) >= 2, 60)
    os.kill(site.hub("alpha")["pid"], signal.SIGKILL)

    def consistent() -> bool:
        with contextlib.suppress(requests.ConnectionError):
            users = requests.get(f"{base}/users", headers=token, timeout=20).json()
            owned = sum(bool(user["server"]) for user in users)
            return not any(user["pending"] for user in users) and len(containers(bed)) == owned
        return False

    eventually(consistent, 180, every=1)


def test_a_site_that_is_stopped_and_started_takes_its_containers_over(site: RunningSite, bed: EngineBed) -> None:
    sessions = work(site, ["s0", "s1"])
    before = containers(bed)
    site.stop()
    assert sorted(containers(bed)) == sorted(before)
    site.start()
    eventually(lambda: lost(sessions) == [], 30, every=1)
    site.folder.add_course("alpha", state="archived")
    eventually(lambda: not containers(bed), 60, every=0.5)
