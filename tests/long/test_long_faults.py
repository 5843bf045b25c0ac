"""The fault cases at their full size, and a class that comes at once. Minutes, not seconds: `make test-long`."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from support.sites import RunningSite, eventually
from support.students import Kernel, Student

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]
MakeSite = Callable[..., RunningSite]


def enter_all(site: RunningSite, names: list[str], at_once: int) -> list[Student]:
    with ThreadPoolExecutor(at_once) as pool:
        return list(pool.map(lambda name: Student(site, "alpha", name).enter(), names))


def running_servers(site: RunningSite) -> int:
    def is_server(pid: int) -> bool:
        with contextlib.suppress(OSError), open(f"/proc/{pid}/comm") as comm:
            return comm.read().startswith("jupyter-")
        return False

    return sum(is_server(pid) for pid in site.pids())


def users(site: RunningSite) -> list[dict[str, object]]:
    token = {"Authorization": f"token {site.token('alpha')}"}
    answer = requests.get(site.course_url("alpha") + "hub/api/users", headers=token, timeout=30)
    found: list[dict[str, object]] = answer.json()
    return found


def test_f01_hub_killed_again_and_again_under_twenty_students(make_site: MakeSite) -> None:
    site = make_site()
    site.start()
    students = enter_all(site, [f"s{i}" for i in range(20)], at_once=4)
    kernels: list[Kernel] = [student.start_kernel() for student in students]
    for number, kernel in enumerate(kernels):
        kernel.run(f"x = {number}")
    for _ in range(5):
        time.sleep(11)  # a hub that dies sooner is started ever more slowly, on purpose
        os.kill(site.hub("alpha")["pid"], signal.SIGKILL)
        begin = time.monotonic()
        eventually(lambda: requests.get(site.course_url("alpha") + "hub/login", timeout=20).status_code == 200, 20)
        assert time.monotonic() - begin < 5
        assert [kernel.run("print(x)") for kernel in kernels] == [f"{i}\n" for i in range(20)]
    eventually(lambda: sum(bool(u["server"]) for u in users(site)) == 20, 60, every=1)
    assert running_servers(site) == 20


@pytest.mark.parametrize("seed", range(5))
def test_f02_hub_killed_at_any_moment_of_twelve_starts(make_site: MakeSite, seed: int) -> None:
    site = make_site()
    site.start()
    base, token = site.course_url("alpha") + "hub/api", {"Authorization": f"token {site.token('alpha')}"}
    names = [f"u{i}" for i in range(12)]
    requests.post(f"{base}/users", json={"usernames": names}, headers=token, timeout=30).raise_for_status()
    for name in names:
        with contextlib.suppress(requests.Timeout):
            requests.post(f"{base}/users/{name}/server", headers=token, timeout=0.05)
    time.sleep(random.Random(seed).uniform(0, 2.5))
    os.kill(site.hub("alpha")["pid"], signal.SIGKILL)

    def consistent() -> bool:
        found = users(site)
        owned = sum(bool(u["server"]) for u in found)
        return not any(u["pending"] for u in found) and running_servers(site) == owned

    eventually(consistent, 90, every=1)
    # Whoever has none gets one now, also where the hub had lost sight of a process.
    for name in names:
        Student(site, "alpha", name).enter()
    assert running_servers(site) == 12


def test_l01_forty_students_come_at_once(make_site: MakeSite) -> None:
    site = make_site()
    site.start()
    begin = time.monotonic()
    students = enter_all(site, [f"s{i:02}" for i in range(40)], at_once=40)
    print(f"40 students in Lab after {time.monotonic() - begin:.1f} s")
    assert all(student.api("GET", "contents/start.ipynb").status_code == 200 for student in students)
    assert running_servers(site) == 40
    log = (site.folder.root / "state" / "logs" / "hub-alpha.log").read_text()
    assert " 429 " not in log and "[E " not in log


def test_edge_and_site_killed_in_turn_under_ten_students(make_site: MakeSite) -> None:
    site = make_site()
    site.start()
    kernels = [student.start_kernel() for student in enter_all(site, [f"s{i}" for i in range(10)], at_once=4)]
    for number, kernel in enumerate(kernels):
        kernel.run(f"x = {number}")
    for turn in range(6):
        if turn % 2:
            site.kill()
            site.start()
        else:
            os.kill(site.status()["processes"]["edge"]["pid"], signal.SIGKILL)

        def back() -> bool:
            with contextlib.suppress(requests.ConnectionError):
                return requests.get(site.course_url("alpha") + "hub/login", timeout=20).status_code == 200
            return False

        eventually(back, 20)
        for number, kernel in enumerate(kernels):
            kernel.connect()
            assert kernel.run("print(x)") == f"{number}\n"
    site.stop()
    assert not site.pids()
