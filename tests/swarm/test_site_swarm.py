"""The site on a real Swarm of three machines: a student's day in Chromium, and the faults a Swarm has.

Each case's test carries its id. After each of them hub, Docker and edge must agree (I1), nothing may be left over (I3)
and every session that was not on a failed machine must still have its value (I2).
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import signal
import time
from pathlib import Path

import pytest
import requests
from support.browsers import chromium, log_in, run_first_cell
from support.deployed import LABEL, DeployedSite
from support.faults import cut, frozen, missing
from support.invariants import (
    assert_i1_three_views_agree,
    assert_i8_loop_never_blocked,
    owners,
    running,
)
from support.netns import processes_below
from support.sites import PASSWORD, eventually
from support.workload import enter, hub_api, lost, reason_of_failure, stop_server, work

from coursewarehub.model.names import object_name

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("whole"), pytest.mark.timeout(900)]


# -- a student's day --------------------------------------------------------------------------------------------


@pytest.mark.everyday
def test_a_student_computes_saves_stops_and_finds_the_files_on_another_node(site: DeployedSite, tmp_path: Path) -> None:
    with chromium() as browser:
        page = browser.new_page()
        page.goto(site.url)
        page.get_by_role("link", name=re.compile("Enter")).first.click()
        log_in(page, "zoe", PASSWORD)
        page.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=90_000)
        run_first_cell(page)
        page.wait_for_selector("text=six times seven is 42", timeout=60_000)
        page.keyboard.press("Control+s")
        page.wait_for_timeout(1000)
        first = site.node_of("zoe")
        stop_server(site, "zoe")
        site.cli("node", "drain", first, "--notice", "0", timeout=180)
        try:
            page.goto(f"{site.course_url('alpha')}hub/spawn")
            page.wait_for_selector("text=six times seven is 42", timeout=90_000)
            second = site.node_of("zoe")
        finally:
            site.cli("node", "resume", first, timeout=180)
        assert first != second
        page.close()


def test_one_course_file_runs_unchanged_and_a_student_of_one_course_is_a_stranger_in_the_other(
    site: DeployedSite,
) -> None:
    sam = enter(site, "sam")
    other = f"{site.course_url('beta')}user/sam/"
    assert not sam.session.get(f"{other}api/status", timeout=30).ok or "login" in sam.session.get(other).url
    beta = enter(site, "sam", "beta")
    sam.api("PUT", "contents/mine.txt", json={"type": "file", "format": "text", "content": "alpha"})
    assert beta.api("GET", "contents/mine.txt").status_code == 404
    stop_server(site, "sam", "beta")


def test_b05_a_sample_of_unusual_names_starts(site: DeployedSite) -> None:
    """Names that are long, not Latin, or alike but for one character; how all are told apart is a unit test."""
    kana = "あいうえおかきくけこさしすせそたちつてとなにぬねのはひふへほ"
    mail = f"{'a' * 40}.{{}}@mail.example.ac.jp"
    names = [kana, kana[1:], f"{kana[1:]}゛", mail.format("101"), mail.format("102"), "o'neill & søn", "名前 太郎"]
    for name in names:
        student = enter(site, name)
        model = {"type": "file", "format": "text", "content": name}
        assert student.api("PUT", "contents/mine.txt", json=model).status_code in (200, 201)
    services = [service["Spec"]["Name"] for service in site.services()]
    assert len(set(services)) == len(names)
    assert all(re.fullmatch("[a-z0-9-]{1,63}", name) for name in services)
    assert owners(site) == set(names)
    homes = {home_of(site, name) for name in names}
    assert {(home / "mine.txt").read_text() for home in homes} == set(names)


def test_the_network_of_an_archived_course_goes_and_comes_back(site: DeployedSite) -> None:
    """From every node: what one of them kept, nobody could remove, and the next course would meet it."""
    before = courses_networks(site)
    for _ in range(2):
        site.add_course("short")
        eventually(lambda: course_state(site, "short") is not None, 30, every=0.5)
        assert lost(work(site, ["net"], "short")) == []
        assert courses_networks(site) != before
        archive(site, "short")
        eventually(lambda: courses_networks(site) == before, 30, every=0.5)


def courses_networks(site: DeployedSite) -> set[str]:
    """Names of the courses' networks that any machine knows, its own leftovers among them."""
    wanted = {"label": {f"{LABEL}.kind=network": True}}
    lists = site.bed.each(lambda engine: engine.api("GET", "/networks", filters=wanted))
    managed = {network["Name"] for network in lists[0]}
    # Without a label a worker knows only that it is an overlay.
    everywhere = site.bed.each(lambda engine: engine.api("GET", "/networks", filters={"driver": {"overlay": True}}))
    return managed | {network["Name"] for found in everywhere for network in found if network["Attachable"]}


# -- hub, proxy, site -------------------------------------------------------------------------------------------


@pytest.mark.everyday
@pytest.mark.parametrize("students", [4, pytest.param(20, marks=pytest.mark.long)])
def test_f01_hub_killed_sessions_adopted(site: DeployedSite, students: int) -> None:
    sessions = work(site, [f"f01-{i}" for i in range(students)])
    pid = site.hub("alpha")["pid"]
    begin = time.monotonic()
    site.in_container("python", "-c", f"import os; os.kill({pid}, 9)")
    eventually(lambda: requests.get(f"{site.course_url('alpha')}hub/login", timeout=20).status_code == 200, 15)
    assert time.monotonic() - begin < 15
    assert lost(sessions) == []
    assert assert_i1_three_views_agree(site) == {session.name for session in sessions}


@pytest.mark.parametrize("seed", [1, 4, *(pytest.param(seed, marks=pytest.mark.long) for seed in (2, 3, 5))])
def test_f02_hub_killed_while_servers_start(site: DeployedSite, seed: int) -> None:
    names = [f"f02-{seed}-{i}" for i in range(6)]
    hub_api(site, "POST", "users", json={"usernames": names})
    token = {"Authorization": f"token {site.token('alpha')}"}
    for name in names:
        with contextlib.suppress(requests.Timeout):
            url = f"{site.course_url('alpha')}hub/api/users/{name}/server"
            requests.post(url, headers=token, timeout=0.2)
    eventually(lambda: len(running(site)) >= seed, 60)
    site.in_container("python", "-c", f"import os; os.kill({site.hub('alpha')['pid']}, 9)")
    # Whatever was begun is running and owned, or gone, and nobody is kept from starting again.
    assert_i1_three_views_agree(site, seconds=150)
    assert not lost(work(site, names[:2]))


def test_f09_front_door_killed(site: DeployedSite) -> None:
    sessions = work(site, [f"f09-{i}" for i in range(3)])
    pid = site.status()["processes"]["edge"]["pid"]
    begin = time.monotonic()
    site.in_container("python", "-c", f"import os; os.kill({pid}, 9)")

    def back() -> bool:
        with contextlib.suppress(requests.ConnectionError):
            return all(s.student.api("GET", "status").status_code == 200 for s in sessions)
        return False

    eventually(back, 10)
    assert time.monotonic() - begin < 10
    assert lost(sessions) == []


def test_f10_site_container_replaced_routes_come_back(site: DeployedSite) -> None:
    """The proxy is in the site's container; a new, empty container is the proxy recreated empty."""
    sessions = work(site, [f"f10-{i}" for i in range(3)])
    old = site.site_container()
    site.bed.docker("rm", "--force", old)

    def back() -> bool:
        with contextlib.suppress(requests.RequestException):
            return all(s.student.api("GET", "status").status_code == 200 for s in sessions)
        return False

    begin = time.monotonic()
    eventually(back, 60, every=0.2)
    print(f"routes back after {time.monotonic() - begin:.1f} s")
    assert site.site_container() != old
    assert lost(sessions) == []


# -- Docker does not answer ---------------------------------------------------------------------------------------


def test_f03_hub_restarted_while_docker_is_frozen(site: DeployedSite) -> None:
    sessions = work(site, [f"f03-{i}" for i in range(4)])
    # No container can be entered while the engine is frozen.
    hub = pid_on_host(site, site.hub("alpha")["pid"])
    with frozen(site.bed["n1"]):
        os.kill(hub, signal.SIGKILL)
        time.sleep(20)
        assert lost(sessions) == []
        assert engine_state(site) == "checking"
    eventually(lambda: engine_state(site) == "answering", 60, every=1)
    assert lost(sessions) == []
    assert assert_i1_three_views_agree(site) == {session.name for session in sessions}


def engine_state(site: DeployedSite) -> str:
    """How the engine is, says the site; empty while the site itself is not there."""
    return str((site.status().get("engine") or {}).get("state", ""))


def pid_on_host(site: DeployedSite, pid: int) -> int:
    """The pid on this machine of a process of the site's container."""
    for one in processes_below(f"{site.bed.manager.cgroup}/{site.site_container()}"):
        with contextlib.suppress(OSError):
            numbers = re.search(r"^NSpid:(.*)$", Path(f"/proc/{one}/status").read_text(), re.MULTILINE)
            if numbers and numbers[1].split()[-1] == str(pid):
                return one
    raise AssertionError(f"no process {pid} of the site's container on this machine")


@pytest.mark.parametrize("seconds", [30, *(pytest.param(each, marks=pytest.mark.long) for each in (60, 300))])
def test_f04_two_of_three_managers_cut_off(site: DeployedSite, seconds: int) -> None:
    """Without a leader Docker answers 500 to everything: nobody may be lost by that (stock: 12 of 12)."""
    site.bed.managers(3)
    try:
        sessions = work(site, [f"f04-{i}" for i in range(6)])
        near = [s for s in sessions if site.node_of(s.name) == "n1"]
        with cut(site.bed, "n2", "n3"):
            eventually(lambda: engine_state(site) in ("checking", "degraded"), 60, every=1)
            begin = time.monotonic()
            reason = reason_of_failure(site, "f04-late", seconds=30)
            assert time.monotonic() - begin < 20 and reason
            page = requests.get(f"{site.course_url('alpha')}hub/login", timeout=20)
            assert 'id="engine-' in page.text, "the page does not say how the engine is"
            assert lost(near) == []
            time.sleep(seconds)
            assert owners(site) >= {s.name for s in sessions}
        eventually(lambda: engine_state(site) == "answering", 90, every=1)
        eventually(lambda: lost(sessions) == [], 60, every=2)
        assert assert_i1_three_views_agree(site) == {s.name for s in sessions}
    finally:
        site.bed.heal()
        eventually(lambda: manager_again(site), 90, every=1)


def manager_again(site: DeployedSite) -> bool:
    with contextlib.suppress(AssertionError, RuntimeError, OSError):
        site.bed.managers(1)
        return True
    return False


# -- machines -----------------------------------------------------------------------------------------------------


@pytest.mark.everyday
def test_f06_worker_cut_off(site: DeployedSite) -> None:
    """Those on the others do not notice; those on it are told within 30 s; two never write to one home (D11)."""
    sessions = work(site, [f"f06-{i}" for i in range(6)])
    where = {s.name: site.node_of(s.name) for s in sessions}
    away = [s for s in sessions if where[s.name] == "n2"]
    here = [s for s in sessions if where[s.name] != "n2"]
    assert away and here, where
    writer = away[0]
    home = home_of(site, writer.name)
    writer.kernel.run(
        "import threading, time, os\n"
        "def beat():\n"
        "    while True:\n"
        "        open('beat.txt', 'a').write(f'{os.uname().nodename} {time.time()}\\n'); time.sleep(.2)\n"
        "threading.Thread(target=beat, daemon=True).start()"
    )
    with cut(site.bed, "n2"):
        begin = time.monotonic()
        eventually(lambda: not ({s.name for s in away} & owners(site)), 40, every=0.5)
        told = time.monotonic() - begin
        print(f"reported down after {told:.1f} s")
        assert told < 30
        assert lost(here) == []
        # The student starts again at once; the new server waits until the old one has surely stopped writing.
        again = enter(site, writer.name, seconds=120)
        again.start_kernel().run(
            "import time, os\n"
            "for _ in range(20):\n"
            "    open('beat.txt', 'a').write(f'{os.uname().nodename} {time.time()}\\n'); time.sleep(.2)"
        )
        while time.monotonic() - begin < 75:
            time.sleep(1)
    eventually(lambda: site.bed.state("n2") == "ready", 60, every=1)
    assert site.node_of(writer.name) != "n2"
    time.sleep(10)
    beats = [line.split() for line in (home / "beat.txt").read_text().splitlines()]
    hosts = [host for host, _ in beats]
    changes = sum(1 for one, other in itertools.pairwise(hosts) if one != other)
    assert len(set(hosts)) == 2 and changes == 1, "two servers wrote to one home in turn"
    assert lost(here) == []


def home_of(site: DeployedSite, name: str, course: str = "alpha") -> Path:
    mounts = site.service_of(name, course)["Spec"]["TaskTemplate"]["ContainerSpec"]["Mounts"]  # type: ignore[index]
    found = [mount["Source"] for mount in mounts if mount["Target"] == "/home/learner"]
    return Path(found[0])


def test_f08_node_drained_then_its_docker_restarted(site: DeployedSite) -> None:
    sessions = work(site, [f"f08-{i}" for i in range(6)])
    on_n2 = [s for s in sessions if site.node_of(s.name) == "n2"]
    others = [s for s in sessions if s not in on_n2]
    assert on_n2 and others
    for session in sessions:
        assert session.save(f"work of {session.name}").status_code in (200, 201)
    drained = site.cli("node", "drain", "n2", "--notice", "3", timeout=180)
    assert "n2" in drained.stdout
    assert {s.name for s in others} == owners(site)
    for session in on_n2:
        assert (home_of_stopped(site, session.name) / "saved.txt").read_text() == f"work of {session.name}"
    assert lost(others) == []
    site.cli("node", "resume", "n2", timeout=180)
    # Raw: Docker restarted under running servers. They end; their students are told and start again.
    site.wait_ready()
    raw = [s for s in others if site.node_of(s.name) == "n3"] or others[:1]
    node = site.node_of(raw[0].name)
    if node == "n1":
        pytest.fail("the workload was not spread")
    site.bed[node].restart()
    eventually(lambda: not ({s.name for s in raw} & owners(site)), 60, every=1)
    assert not lost(work(site, [raw[0].name]))


def home_of_stopped(site: DeployedSite, name: str, course: str = "alpha") -> Path:
    return Path(site.bed.storage) / "homes" / course / object_name("home", name)


# -- starts that cannot work ----------------------------------------------------------------------------------------


def test_f21_image_missing_everywhere(site: DeployedSite) -> None:
    site.add_course("noimage", image=f"{site.bed.registry.address}/no/such:1")
    try:
        eventually(lambda: course_state(site, "noimage") is not None, 20, every=0.5)
        reason = reason_of_failure(site, "f21", "noimage")
        assert "image" in reason.lower() and "no/such" in reason, reason
        eventually(lambda: running(site, "noimage") == [], 30)
    finally:
        archive(site, "noimage")


def test_f21_command_ends_at_once(site: DeployedSite) -> None:
    """An image whose program ends: the plain Debian has no Jupyter in it."""
    site.add_course("broken", image=f"{site.bed.registry.address}/debian:bookworm-slim")
    try:
        eventually(lambda: course_state(site, "broken") is not None, 20, every=0.5)
        reason = reason_of_failure(site, "f21", "broken", seconds=45)
        assert reason
        eventually(lambda: running(site, "broken") == [], 30)
    finally:
        archive(site, "broken")


@pytest.mark.everyday
def test_f21_home_missing_on_one_node(site: DeployedSite) -> None:
    """Whoever is sent to the node without the shared folder starts elsewhere, and does not notice."""
    with missing(site.bed["n3"], site.bed.storage):
        sessions = work(site, [f"f21-{i}" for i in range(5)], at_once=2)
        assert {site.node_of(s.name) for s in sessions} == {"n1", "n2"}
        assert lost(sessions) == []
    log = (site.folder.root / "state" / "logs" / "hub-alpha.log").read_text()
    assert re.search(r"Machine n3 refused .* is missing on the machine n3", log), "the operator is not told"


def course_state(site: DeployedSite, course: str) -> str | None:
    found = {each["id"]: each["hub"]["state"] for each in site.status()["courses"]}
    return found.get(course)


def archive(site: DeployedSite, course: str) -> None:
    (site.folder.root / "courses.d" / f"{course}.yaml").unlink()
    eventually(lambda: course_state(site, course) is None, 30, every=0.5)


def test_f23_more_memory_than_any_machine_has(site: DeployedSite) -> None:
    site.add_course("huge", resources={"memory": "900G", "memory_guarantee": "900G"})
    try:
        eventually(lambda: course_state(site, "huge") is not None, 20, every=0.5)
        reason = reason_of_failure(site, "f23", "huge")
        assert "memory" in reason.lower(), reason
        eventually(lambda: running(site, "huge") == [], 30)
    finally:
        archive(site, "huge")


def test_f25_shut_down_is_not_started_again(site: DeployedSite) -> None:
    (session,) = work(site, ["f25"])
    assert session.student.api("POST", "shutdown").status_code == 200
    eventually(lambda: "f25" not in owners(site), 30, every=0.5)
    time.sleep(10)
    assert running(site) == []


def test_f25_process_one_killed(site: DeployedSite) -> None:
    (session,) = work(site, ["f25k"])
    with contextlib.suppress(Exception):
        session.kernel.run("import os, signal; os.kill(1, signal.SIGTERM); os.kill(os.getppid(), signal.SIGKILL)")
    eventually(lambda: "f25k" not in owners(site), 30, every=0.5)
    time.sleep(10)
    assert running(site) == []


@pytest.mark.everyday
def test_f26_services_removed_behind_the_hubs_back(site: DeployedSite) -> None:
    sessions = work(site, [f"f26-{i}" for i in range(4)])
    gone = sessions[:2]
    taken = site.service_of(sessions[0].name)
    assert taken is not None
    name = taken["Spec"]["Name"]
    for session in gone:
        service = site.service_of(session.name)
        assert service is not None
        site.bed.docker("service", "rm", service["ID"])
    # A foreign service of the very name that the hub will want.
    base = f"{site.bed.registry.address}/debian:bookworm-slim"
    eventually(lambda: not site.bed.docker("service", "ls", "--quiet", "--filter", f"name={name}"), 20)
    site.bed.docker(
        "service", "create", "--quiet", "--detach", "--name", name, "--endpoint-mode", "dnsrr", base, "sleep", "1000"
    )
    try:
        eventually(lambda: not ({s.name for s in gone} & owners(site)), 60, every=1)
        assert reason_of_failure(site, sessions[0].name)
        found = site.bed.docker("service", "ls", "--quiet", "--filter", f"name={name}")
        assert found, "the foreign service was removed"
    finally:
        site.bed.docker("service", "rm", name)
    assert lost(sessions[2:]) == []


# -- memory ---------------------------------------------------------------------------------------------------------


def test_f24_kernel_past_its_memory(site: DeployedSite) -> None:
    (session,) = work(site, ["f24"])
    other = session.student.start_kernel()
    other.run("y = 'kept'")
    with contextlib.suppress(Exception):
        session.kernel.run("block = bytearray(2 * 1024**3); block[::4096] = b'x' * len(block[::4096])", 20)

    def told() -> bool:
        notices = session.student.session.get(f"{session.student.user_url}courseware/notices", timeout=10)
        return notices.status_code == 200 and "memory" in notices.text.lower()

    eventually(told, 30, every=0.5)
    assert other.run("print(y)") == "kept\n"
    assert session.student.api("GET", "status").status_code == 200
    assert owners(site) == {"f24"}


def test_i8_the_hubs_loop_was_never_held_up(site: DeployedSite) -> None:
    sessions = work(site, [f"i8-{i}" for i in range(6)])
    assert lost(sessions) == []
    assert_i8_loop_never_blocked(site)
