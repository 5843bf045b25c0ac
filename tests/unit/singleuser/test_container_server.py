"""A whole learner's server as a container's main program, with real kernels, and a hub that answers as tests want."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from support.learner_server import FakeHub, LearnerServer, descendants
from support.sites import NOTEBOOK, alive, eventually

from coursewarehub.singleuser.subtree import look
from coursewarehub.wire import messages

pytestmark = pytest.mark.slow
LEASE = "6"


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with FakeHub() as hub:
        yield hub


def state(pid: int) -> str:
    process = look(pid)
    return process.state if process is not None else "gone"


# -- lease ------------------------------------------------------------------------------------------------------


def test_pauses_without_the_hub_and_goes_on_with_everything_in_memory(tmp_path: Path, hub: FakeHub) -> None:
    with LearnerServer(tmp_path / "home", hub, COURSEWARE_LEASE_SECONDS=LEASE) as server:
        kernel = server.start_kernel()
        pid = int(kernel.run("import os; treasure = [1, 2, 3]; print(os.getpid())"))
        helper = int(kernel.run("import subprocess; p = subprocess.Popen(['sleep', '600']); print(p.pid)"))
        terminal = server.request("POST", "api/terminals", json={}).json()["name"]
        assert server.process is not None
        root = server.process.pid
        eventually(lambda: len(descendants(root)) >= 3)

        def states() -> set[str]:
            return {state(process) for process in (pid, helper, *descendants(root))} - {"gone"}

        assert server.save("before.txt", "kept").status_code == 201
        assert server.request("GET", "courseware/lease").json()["phase"] == "held"

        hub.mode = "silent"
        silent_since = time.monotonic()
        eventually(lambda: states() == {"T"}, 12)
        assert 4 <= time.monotonic() - silent_since <= 8
        assert state(root) in "SR"

        refused = [
            server.save("during.txt", "lost?"),
            server.request("POST", "api/kernels", json={"name": "python3"}),
            server.request("POST", "api/contents", json={"type": "notebook"}),
            server.request("PATCH", "api/contents/before.txt", json={"path": "moved.txt"}),
            server.request("DELETE", "api/contents/before.txt"),
            server.request("POST", "api/terminals", json={}),
        ]
        assert [answer.status_code for answer in refused] == [503] * 6
        assert {answer.json()["message"] for answer in refused} == {messages.PAUSED["en"]}
        japanese = server.request("DELETE", "api/contents/before.txt", headers={"Accept-Language": "ja,en;q=0.5"})
        assert japanese.json()["message"] == messages.PAUSED["ja"]
        assert server.request("GET", "api/contents/before.txt").json()["content"] == "kept"
        assert server.request("GET", "courseware/lease").json()["phase"] == "paused"
        (notice,) = server.request("GET", "courseware/notices").json()["notices"]
        assert notice["text"] == dict(messages.PAUSED)

        hub.mode = "current"
        eventually(lambda: "T" not in states(), 10)
        assert kernel.run("treasure.append(4); print(treasure)") == "[1, 2, 3, 4]\n"
        assert server.save("after.txt", "kept").status_code == 201
        assert server.request("GET", "courseware/notices").json()["notices"] == []
        assert server.request("GET", f"api/terminals/{terminal}").status_code == 200
        assert sorted(p.name for p in server.home.glob("*.txt")) == ["after.txt", "before.txt"]


def test_never_writes_after_the_lease_whatever_a_kernel_does(tmp_path: Path, hub: FakeHub) -> None:
    """A kernel appends the time to a file as fast as it can: the last entry is not later than the lease allows."""
    with LearnerServer(tmp_path / "home", hub, COURSEWARE_LEASE_SECONDS=LEASE) as server:
        kernel = server.start_kernel()
        kernel.run(
            "import threading, time\n"
            "def write():\n"
            "    while True:\n"
            "        with open('probe', 'a') as f: f.write(f'{time.clock_gettime(time.CLOCK_BOOTTIME)}\\n')\n"
            "        time.sleep(0.001)\n"
            "threading.Thread(target=write, daemon=True).start()"
        )
        hub.mode = "silent"
        asked_last = time.clock_gettime(time.CLOCK_BOOTTIME)
        time.sleep(float(LEASE) + 2)
        lines = (server.home / "probe").read_text().splitlines()
        time.sleep(1)
        assert (server.home / "probe").read_text().splitlines() == lines
        assert float(lines[-1]) <= asked_last + float(LEASE) + 0.3


def test_a_replaced_server_ends_at_once_with_all_it_started(tmp_path: Path, hub: FakeHub) -> None:
    with LearnerServer(tmp_path / "home", hub, COURSEWARE_LEASE_SECONDS=LEASE) as server:
        kernel = server.start_kernel()
        kernel.run("import subprocess; p = subprocess.Popen(['setsid', 'sleep', '600'])")
        assert server.process is not None
        below = descendants(server.process.pid)
        assert len(below) >= 2
        hub.mode = "replaced"
        begin = time.monotonic()
        assert server.wait(5) == 77
        assert time.monotonic() - begin < 2
        eventually(lambda: not any(alive(pid) for pid in below), 2)
        assert "Another server has taken the place of this one" in server.said()


def test_a_hub_without_its_database_ends_nobody(tmp_path: Path, hub: FakeHub) -> None:
    with LearnerServer(tmp_path / "home", hub, COURSEWARE_LEASE_SECONDS=LEASE) as server:
        pid = int(server.start_kernel().run("import os; print(os.getpid())"))
        hub.mode = "no database"
        eventually(lambda: hub.asked["/oauth2/token"] > 1, 5)
        assert state(pid) in "SR"
        eventually(lambda: state(pid) == "T", 8)
        hub.mode = "current"
        eventually(lambda: state(pid) in "SR", 5)


def test_one_connection_for_the_lease(tmp_path: Path, hub: FakeHub) -> None:
    with LearnerServer(tmp_path / "home", hub, COURSEWARE_LEASE_SECONDS="1"):
        eventually(lambda: hub.asked["/user"] > 2)
        connections, asked = hub.connections, hub.asked["/user"]
        eventually(lambda: hub.asked["/user"] >= asked + 10)
        assert hub.connections == connections


def test_without_a_lease_nothing_is_asked(tmp_path: Path, hub: FakeHub) -> None:
    with LearnerServer(tmp_path / "home", hub) as server:
        asked = hub.asked["/user"]
        hub.mode = "silent"
        time.sleep(2)
        assert hub.asked["/user"] == asked
        assert server.request("GET", "courseware/lease").json() == {"phase": "none"}
        assert server.save("a.txt", "a").status_code == 201


def test_a_paused_server_can_be_stopped(tmp_path: Path, hub: FakeHub) -> None:
    with LearnerServer(tmp_path / "home", hub, COURSEWARE_LEASE_SECONDS="2") as server:
        pid = int(server.start_kernel().run("import os; print(os.getpid())"))
        hub.mode = "silent"
        eventually(lambda: state(pid) == "T", 5)
        assert server.process is not None
        server.process.terminate()
        assert server.wait(25) == 0
        assert not alive(pid)


# -- notices ----------------------------------------------------------------------------------------------------


def test_only_a_service_may_show_notices(tmp_path: Path, hub: FakeHub) -> None:
    with LearnerServer(tmp_path / "home", hub) as server:
        notice = {"id": "n", "text": {"en": "Hello", "ja": "こんにちは"}, "seconds": 60, "level": "warning"}

        def post(token: str, body: object = notice) -> requests.Response:
            return server.request("POST", "courseware/notices", token, json=body)

        tokens = ("token-of-the-server", "the-instructor", "another-student", "a-service-without-access", "made-up")
        for token in tokens:
            assert post(token).status_code == 403, token
        assert requests.post(server.url + "courseware/notices", json=notice, timeout=10).status_code == 403
        assert server.request("GET", "courseware/notices").json()["notices"] == []

        assert post("a-service").status_code == 204
        (shown,) = server.request("GET", "courseware/notices", "the-instructor").json()["notices"]
        assert (shown["id"], shown["text"], shown["level"]) == ("n", notice["text"], "warning")
        assert 55 <= shown["seconds"] <= 60
        for token in ("another-student", "made-up"):
            assert server.request("GET", "courseware/notices", token).status_code == 403
        for broken in ("text", [], {"id": "n"}, {**notice, "seconds": -1}, {**notice, "secnods": 5}):
            answer = post("a-service", broken)
            assert answer.status_code == 400 and answer.json()["message"].startswith("This is not a notice: ")
        assert server.request("POST", "courseware/notices", "a-service", data="{").status_code == 400
        assert post("a-service", {**notice, "text": "x" * 100_000}).status_code == 413
        # A page that asks every five seconds is no activity, and nothing for the log.
        before = server.request("GET", "api/status").json()["last_activity"]
        for _ in range(3):
            server.request("GET", "courseware/notices")
        assert server.request("GET", "api/status").json()["last_activity"] == before
        assert "GET /user/sam/courseware/notices" not in re.sub(r".* 403 .*", "", server.said())


def test_the_language_chosen_on_the_courses_pages_is_told(tmp_path: Path, hub: FakeHub) -> None:
    with LearnerServer(tmp_path / "home", hub) as server:
        assert server.request("GET", "courseware/notices").json()["language"] is None
        cookies = {"courseware_lang": "ja"}
        assert server.request("GET", "courseware/notices", cookies=cookies).json()["language"] == "ja"


def test_the_extension_is_given_to_lab_and_notebook(tmp_path: Path, hub: FakeHub) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "a.ipynb").write_text(json.dumps(NOTEBOOK))
    with LearnerServer(home, hub) as server:
        for page in ("lab", "tree", "notebooks/a.ipynb"):
            config = re.search(
                r'<script id="jupyter-config-data" type="application/json">\s*(.+?)\s*</script>',
                server.request("GET", page).text,
                re.DOTALL,
            )
            assert config is not None, page
            names = {extension["name"]: extension for extension in json.loads(config[1])["federated_extensions"]}
            assert names["coursewarehub-notices"]["load"] == "static/remoteEntry.js"
        script = server.request("GET", "lab/extensions/coursewarehub-notices/static/remoteEntry.js")
        assert script.status_code == 200 and "_JUPYTERLAB" in script.text


# -- memory -----------------------------------------------------------------------------------------------------


def test_kernels_and_terminals_go_before_the_server(tmp_path: Path, hub: FakeHub) -> None:
    with LearnerServer(tmp_path / "home", hub) as server:
        kernel = server.start_kernel()
        show = "print(open('/proc/self/oom_score_adj').read())"
        assert kernel.run(show).strip() == "1000"
        server.request("POST", f"api/kernels/{kernel.id}/restart")
        kernel._socket = None
        assert kernel.run(show).strip() == "1000"
        assert (
            kernel.run("import subprocess\nprint(subprocess.getoutput('cat /proc/self/oom_score_adj'))").strip()
            == "1000"
        )
        assert server.process is not None
        assert Path(f"/proc/{server.process.pid}/oom_score_adj").read_text().strip() != "1000"


# -- start and end ----------------------------------------------------------------------------------------------


def test_listens_before_anything_is_imported(tmp_path: Path, hub: FakeHub) -> None:
    server = LearnerServer(tmp_path / "home", hub).launch()
    try:
        begin = time.monotonic()
        eventually(lambda: connects(server.port), 10, every=0.005)
        listening = time.monotonic() - begin
        # The request waits in the queue of the socket, and is the first thing that is answered.
        assert server.request("GET", "api").status_code == 200
        assert listening < (time.monotonic() - begin) / 2
    finally:
        server.__exit__()


def connects(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def test_a_port_that_is_taken_is_one_sentence(tmp_path: Path, hub: FakeHub) -> None:
    server = LearnerServer(tmp_path / "home", hub)
    with socket.create_server(("", server.port)):
        server.launch()
        assert server.wait() == 1
    assert server.said().count("\n") == 1 and "cannot listen at" in server.said()


def test_d03_sigterm_ends_in_time_with_nothing_half_written(tmp_path: Path, hub: FakeHub) -> None:
    """Kernels that do not listen, a shell that does not either: gone within the 30 seconds of grace, status 0."""
    with LearnerServer(tmp_path / "home", hub, COURSEWARE_LEASE_SECONDS=LEASE) as server:
        assert server.process is not None
        kernels = [server.start_kernel() for _ in range(3)]
        pids = [int(k.run("import os; print(os.getpid())")) for k in kernels]
        kernels[0].run(
            "import signal, threading\nfor s in (signal.SIGTERM, signal.SIGINT): signal.signal(s, signal.SIG_IGN)\n"
            "import subprocess; subprocess.Popen(['sh', '-c', \"trap '' TERM HUP INT; sleep 600\"])"
        )
        kernels[0].connect()
        kernels[0].send("while True: pass")
        content = "x" * 3_000_000
        assert server.save("big.txt", content).status_code == 201
        begin = time.monotonic()
        server.process.terminate()
        assert server.wait(30) == 0, server.said()
        assert time.monotonic() - begin < 20
        assert not any(alive(pid) for pid in pids)
        assert (server.home / "big.txt").read_text() == content
        assert list(server.home.glob(".~*")) == []


def test_f25_shut_down_from_the_menu_ends_the_process(tmp_path: Path, hub: FakeHub) -> None:
    with LearnerServer(tmp_path / "home", hub, COURSEWARE_LEASE_SECONDS=LEASE) as server:
        pid = int(server.start_kernel().run("import os; print(os.getpid())"))
        assert server.request("POST", "api/shutdown").status_code == 200
        assert server.wait(15) == 0
        assert not alive(pid)


@pytest.mark.parametrize("delay", [0.1, 0.8, 1.5])
def test_sigterm_while_it_starts(tmp_path: Path, hub: FakeHub, delay: float) -> None:
    server = LearnerServer(tmp_path / "home", hub).launch()
    assert server.process is not None
    eventually(lambda: connects(server.port), 10, every=0.005)
    time.sleep(delay)
    server.process.terminate()
    assert server.wait(15) == 0, server.said()


def test_sigterm_while_the_hub_does_not_answer(tmp_path: Path, hub: FakeHub) -> None:
    hub.close()
    with socket.socket() as nobody:
        nobody.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        nobody.bind(("127.0.0.1", hub.port))  # does not listen: refused, and nobody else's meanwhile
        server = LearnerServer(tmp_path / "home", hub).launch()
        assert server.process is not None
        deadline = time.monotonic() + 60
        while "Failed to connect to my Hub" not in server.said():
            assert server.process.poll() is None and time.monotonic() < deadline, server.said()
            time.sleep(0.05)
        server.process.terminate()
        assert server.wait(20) == 0, server.said()


@pytest.mark.parametrize(
    ("variables", "file", "folder"),
    [({}, 0o640, 0o2750), ({"COURSEWARE_HOMES": "/home/learner/students"}, 0o664, 0o2775)],
    ids=["student", "staff"],
)
def test_who_may_read_what_is_made(
    tmp_path: Path, hub: FakeHub, variables: dict[str, str], file: int, folder: int
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    if os.geteuid() == 0:
        os.chown(home, -1, 4242)
    home.chmod(0o2750)
    with LearnerServer(home, hub, **variables) as server:
        server.save("a.txt", "a")
        server.start_kernel().run("import os; os.mkdir('d'); open('d/b.txt', 'w').write('b')")
    modes = {name: (home / name).stat().st_mode & 0o7777 for name in ("a.txt", "d", "d/b.txt")}
    assert modes == {"a.txt": file, "d": folder, "d/b.txt": file}
    assert {(home / name).stat().st_gid for name in modes} == {home.stat().st_gid}


def test_no_process_of_the_test_is_touched(tmp_path: Path, hub: FakeHub) -> None:
    """A lease that is over stops what is below the server, and nothing beside it."""
    beside = subprocess.Popen(["sleep", "600"])
    try:
        with LearnerServer(tmp_path / "home", hub, COURSEWARE_LEASE_SECONDS="1") as server:
            pid = int(server.start_kernel().run("import os; print(os.getpid())"))
            hub.mode = "silent"
            eventually(lambda: state(pid) == "T", 5)
            assert state(beside.pid) == "S"
    finally:
        beside.send_signal(signal.SIGKILL)
        beside.wait()
