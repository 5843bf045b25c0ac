"""What breaks and comes back: hub, edge, site, parents. Servers and kernels live through all of it."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import requests
from support.sites import RunningSite, alive, eventually
from support.students import Student

pytestmark = pytest.mark.slow
MakeSite = Callable[..., RunningSite]


def seconds_until_login_page(site: RunningSite, course: str = "alpha") -> float:
    begin = time.monotonic()

    def answers() -> bool:
        try:
            return requests.get(site.course_url(course) + "hub/login", timeout=10).status_code == 200
        except requests.ConnectionError:
            return False

    eventually(answers, 20, every=0.02)
    return time.monotonic() - begin


def test_f01_hub_killed_servers_adopted(make_site: MakeSite) -> None:
    site = make_site()
    site.start()
    students = [Student(site, "alpha", name).enter() for name in ("sam", "kim", "lou")]
    kernels = [student.start_kernel() for student in students]
    for number, kernel in enumerate(kernels):
        kernel.run(f"x = {number}")
    pid = site.hub("alpha")["pid"]

    os.kill(pid, signal.SIGKILL)
    assert seconds_until_login_page(site) < 5
    assert site.hub("alpha")["pid"] != pid
    assert [kernel.run("print(x)") for kernel in kernels] == ["0\n", "1\n", "2\n"]

    token = {"Authorization": f"token {site.token('alpha')}"}
    users = requests.get(site.course_url("alpha") + "hub/api/users", headers=token, timeout=10).json()
    assert {u["name"] for u in users if u["server"]} == {"sam", "kim", "lou"}
    # The adopted server still accepts its student's login, and the hub can stop it.
    assert students[0].session.get(students[0].user_url + "lab", timeout=10).status_code == 200
    stopped = requests.delete(site.course_url("alpha") + "hub/api/users/sam/server", headers=token, timeout=30)
    assert stopped.status_code in (202, 204)


def test_f02_hub_killed_while_servers_start(make_site: MakeSite) -> None:
    """After the restart every started server is known and running, or gone; nothing runs unowned."""
    site = make_site()
    site.start()
    base, token = site.course_url("alpha") + "hub/api", {"Authorization": f"token {site.token('alpha')}"}
    names = [f"u{i}" for i in range(6)]
    requests.post(f"{base}/users", json={"usernames": names}, headers=token, timeout=30).raise_for_status()
    for name in names:
        # A short time-out: the answer is not needed, the start goes on.
        with contextlib.suppress(requests.Timeout):
            requests.post(f"{base}/users/{name}/server", headers=token, timeout=0.05)
    time.sleep(0.3)
    os.kill(site.hub("alpha")["pid"], signal.SIGKILL)
    seconds_until_login_page(site)

    def consistent() -> bool:
        users = requests.get(f"{base}/users", headers=token, timeout=10).json()
        if any(u["pending"] for u in users):
            return False
        owned = {u["name"] for u in users if u["server"]}
        running = {p.parent.name for p in (site.folder.root / "homes" / "alpha").glob("*/.local")}
        servers = [pid for pid in site.pids() if _is_server(pid)]
        return len(servers) == len(owned) <= len(running) + len(names)

    eventually(consistent, 60, every=0.5)


def _is_server(pid: int) -> bool:
    with open(f"/proc/{pid}/comm") as comm:
        return comm.read().startswith("jupyter-")


def test_f09_edge_killed(make_site: MakeSite) -> None:
    site = make_site(courses=("alpha", "beta"))
    site.start()
    student = Student(site, "alpha", "sam").enter()
    kernel = student.start_kernel()
    kernel.run("x = 41")
    edge = site.status()["processes"]["edge"]["pid"]

    os.kill(edge, signal.SIGKILL)
    assert seconds_until_login_page(site) < 5
    for url in (site.url, site.course_url("beta") + "hub/login", student.user_url + "lab"):
        assert student.session.get(url, timeout=20).status_code == 200, url
    kernel.connect()
    assert kernel.run("print(x + 1)") == "42\n"
    assert site.status()["processes"]["edge"]["pid"] != edge


def test_site_killed_everything_adopted(make_site: MakeSite) -> None:
    site = make_site(courses=("alpha", "beta"))
    site.start()
    student = Student(site, "alpha", "sam").enter()
    kernel = student.start_kernel()
    kernel.run("x = 'kept'")
    before = site.status()

    site.kill()
    # Without the site process the class goes on: the student works, others log in.
    assert kernel.run("print(x)") == "kept\n"
    assert Student(site, "alpha", "kim").login().status_code == 200

    site.start()
    after = site.status()
    assert after["processes"]["edge"]["pid"] == before["processes"]["edge"]["pid"]
    assert site.hub("alpha")["state"] == "running"
    assert site.hub("alpha")["pid"] == {c["id"]: c["hub"]["pid"] for c in before["courses"]}["alpha"]
    assert kernel.run("print(x)") == "kept\n"
    assert Student(site, "beta", "sam").login().status_code == 200

    # An adopted hub is supervised like any other: killed, it comes back on the same port.
    os.kill(site.hub("alpha")["pid"], signal.SIGKILL)
    assert seconds_until_login_page(site) < 5
    assert kernel.run("print(x)") == "kept\n"

    everything = site.pids()
    assert len(everything) >= 6
    assert site.stop() == 0
    eventually(lambda: not [pid for pid in everything if alive(pid)], 10)
    assert not site.pids()


@pytest.mark.parametrize("kind", ["hub_parent", "server_parent"])
def test_parent_killed(make_site: MakeSite, kind: str) -> None:
    site = make_site()
    site.start()
    kernel = Student(site, "alpha", "sam").enter().start_kernel()
    kernel.run("x = 7")
    parent = site.status()["processes"][kind]["pid"]
    hub = site.hub("alpha")["pid"]

    os.kill(parent, signal.SIGKILL)
    eventually(lambda: site.status()["processes"][kind]["pid"] not in (None, parent), 20)
    assert kernel.run("print(x)") == "7\n"
    assert site.hub("alpha")["pid"] == hub
    Student(site, "alpha", "kim").enter()

    everything = site.pids()
    assert site.stop() == 0
    eventually(lambda: not [pid for pid in everything if alive(pid)], 10)


def test_stop_ends_everything_and_only_that(make_site: MakeSite) -> None:
    one, other = make_site("one"), make_site("other")
    one.start()
    other.start()
    kernel = Student(other, "alpha", "sam").enter().start_kernel()
    kernel.run("x = 1")
    student = Student(one, "alpha", "sam").enter()
    # A process that the student detached from the terminal goes with the server.
    detached = "import subprocess; print(subprocess.Popen(['setsid','sleep','500']).pid)"
    pid = int(student.start_kernel().run(detached))
    assert alive(pid)
    everything = one.pids()

    assert one.stop() == 0
    eventually(lambda: not [p for p in {*everything, pid} if alive(p)], 10)
    assert kernel.run("print(x)") == "1\n"

    one.start()
    assert Student(one, "alpha", "sam").enter().api("GET", "contents/start.ipynb").status_code == 200


def test_server_that_was_shut_down_is_noticed(make_site: MakeSite) -> None:
    """F25: the student shuts the server down from within; the hub shows it stopped and starts it on request."""
    site = make_site()
    site.start()
    student = Student(site, "alpha", "sam").enter()
    assert student.api("POST", "shutdown").status_code == 200
    token = {"Authorization": f"token {site.token('alpha')}"}

    def stopped() -> bool:
        user = requests.get(site.course_url("alpha") + "hub/api/users/sam", headers=token, timeout=10).json()
        return user["server"] is None

    eventually(stopped, 35, every=0.5)
    again = Student(site, "alpha", "sam").enter()
    assert again.api("GET", "status").status_code == 200


def test_settings_layout_and_deleted_files_of_a_student_are_nobody_elses(make_site: MakeSite) -> None:
    """What JupyterLab keeps outside notebooks is in the learner's own home, not in that of the account."""
    site = make_site()
    site.start()
    sam, kim = (Student(site, "alpha", name).enter() for name in ("sam", "kim"))
    theme = "@jupyterlab/apputils-extension:themes"
    dark = {"raw": '{"theme": "JupyterLab Dark"}'}
    assert lab_api(sam, "PUT", f"settings/{theme}", json=dark).status_code == 204
    workspace = {"data": {"layout": "of sam"}, "metadata": {"id": "default"}}
    assert lab_api(sam, "PUT", "workspaces/default", json=workspace).status_code == 204
    file = {"type": "file", "format": "text", "content": "not for others"}
    assert sam.api("PUT", "contents/gone.txt", json=file).status_code == 201
    assert sam.api("DELETE", "contents/gone.txt").status_code == 204

    assert "Dark" in lab_api(sam, "GET", f"settings/{theme}").json()["raw"]
    assert "Dark" not in lab_api(kim, "GET", f"settings/{theme}").json()["raw"]
    assert lab_api(kim, "GET", "workspaces/default").json()["data"] == {}
    homes = site.folder.root / "homes" / "alpha"
    kept = {path.relative_to(homes).parts[0] for path in homes.rglob("*.jupyterlab-settings")}
    assert len(kept) == 1
    (own,) = kept
    assert list((homes / own / ".jupyter" / "lab" / "workspaces").iterdir())
    # A deleted file is gone, not in a trash that others see.
    assert not [*homes.rglob("gone.txt"), *(Path.home() / ".local/share/Trash").rglob("gone.txt")]


def lab_api(student: Student, method: str, path: str, **options: object) -> requests.Response:
    """A request to JupyterLab's own API."""
    return student.api(method, f"../lab/api/{path}", **options)
