"""A prefork parent and the processes it starts: what they get, what they do not, and what becomes of them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import stat
import subprocess
import sys
from typing import Any

import pytest
from support.parents import TINY, TinyParent
from support.sites import alive, eventually

from coursewarehub.prefork.client import StartRefused, clean_environment
from coursewarehub.state import sockets
from coursewarehub.wire.prefork import Event, ProcessLimits

REPORT = """
import json, os, random, resource, socket, sys, threading
report = {
    "environment": dict(os.environ), "cwd": os.getcwd(), "session": os.getsid(0) == os.getpid(),
    "descriptors": sorted(int(d) for d in os.listdir("/proc/self/fd")), "umask": os.umask(0o077),
    "random": random.random(), "threads": threading.active_count(), "argv": sys.argv,
    "limits": {n: resource.getrlimit(getattr(resource, "RLIMIT_" + n))[0] for n in ("DATA", "NOFILE", "CORE")},
    "cores": len(os.sched_getaffinity(0)), "comm": open("/proc/self/comm").read().strip(),
    "port": listening.getsockname()[1] if listening else None,
}
print(json.dumps(report), flush=True)
tell("ready")
import time
time.sleep(600)
"""


async def reported(parent: TinyParent, name: str, **changes: Any) -> dict[str, Any]:
    await parent.begin(name, REPORT, **changes)
    report: dict[str, Any] = json.loads(parent.log(name).splitlines()[0])
    return report


def test_child_has_its_own_everything(parent: TinyParent) -> None:
    parent.start(COURSEWARE_SECRET="planted", AWS_SECRET_ACCESS_KEY="planted")
    report = asyncio.run(
        reported(
            parent,
            "jupyter-sam",
            environment={"MINE": "1"},
            directory="/",
            listen=True,
            limits=ProcessLimits(data_bytes=1 << 30, open_files=300, cores=1),
        )
    )
    do = report["environment"].pop("DO")
    assert do == REPORT
    assert report["environment"] == {"PATH": os.environ["PATH"], "MINE": "1"}
    assert report["cwd"] == "/" and report["session"] and report["umask"] == 0o077
    assert report["comm"] == "jupyter-sam" and report["argv"] == ["jupyter-sam"]
    assert report["limits"] == {"DATA": 1 << 30, "NOFILE": 300, "CORE": 0}
    assert report["cores"] == 1 and report["threads"] == 1
    # Input, output, errors, the status pipe, the listening socket, and the folder it was listed through.
    assert len(report["descriptors"]) == 6, report["descriptors"]
    socket.create_connection(("127.0.0.1", report["port"]), timeout=5).close()
    assert stat.S_IMODE((parent.folder / "jupyter-sam.log").stat().st_mode) == 0o600


def test_children_do_not_share_their_random_numbers(parent: TinyParent) -> None:
    parent.start()

    async def two() -> set[float]:
        return {(await reported(parent, name))["random"] for name in ("a", "b")}

    assert len(asyncio.run(two())) == 2


def test_environment_of_a_parent_is_clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("COURSEWARE_SITE", "AWS_SECRET_ACCESS_KEY", "JUPYTERHUB_API_TOKEN", "HOME", "PYTHONSTARTUP"):
        monkeypatch.setenv(name, "planted")
    monkeypatch.setenv("LANG", "C.UTF-8")
    allowed = {"PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "LD_LIBRARY_PATH", "VIRTUAL_ENV", "PYTHONPATH"}
    clean = clean_environment()
    assert set(clean) <= allowed and clean["LANG"] == "C.UTF-8"


def test_exit_status_and_signal_are_told(parent: TinyParent) -> None:
    parent.start()

    async def ends() -> list[tuple[Event, int | None]]:
        left = await parent.begin("a", "tell('ready')\nleave(7)")
        killed = await parent.begin("b")
        os.kill(killed.record.pid, signal.SIGKILL)
        failed = await parent.client.start(parent.request("c", "undefined_name"))
        slept = await parent.begin("d", "tell('ready')\ntell('sleeping')\nleave(0)")
        return [await each.event() for each in (left, killed, failed, slept, slept)]

    assert asyncio.run(ends()) == [
        (Event.EXITED, 7),
        (Event.EXITED, -9),
        (Event.EXITED, 1),
        (Event.SLEEPING, None),
        (Event.EXITED, 0),
    ]
    assert "NameError" in parent.log("c")
    eventually(lambda: not parent.names(), 5)


def test_name_is_taken_while_its_process_runs_and_free_afterwards(parent: TinyParent) -> None:
    parent.start()

    async def again() -> None:
        first = await parent.begin("a")
        with pytest.raises(StartRefused, match="running already"):
            await parent.client.start(parent.request("a"))
        os.kill(first.record.pid, signal.SIGTERM)
        assert (await first.event())[0] is Event.EXITED
        second = await parent.begin("a")
        assert second.record.pid != first.record.pid

    asyncio.run(again())


def test_closing_the_connection_leaves_the_process(parent: TinyParent) -> None:
    parent.start()

    async def start_and_go() -> int:
        started = await parent.begin("a")
        started.close()
        return started.record.pid

    pid = asyncio.run(start_and_go())
    assert parent.names() == {"a"} and alive(pid)


def test_socket_given_is_kept_until_released(parent: TinyParent) -> None:
    parent.start()
    with socket.create_server(("127.0.0.1", 0)) as given:
        port = given.getsockname()[1]

        async def start() -> None:
            started = await parent.client.start(parent.request("hub"), given.dup())
            parent.seen.add(started.record.pid)
            assert started.record.port == port
            os.kill(started.record.pid, signal.SIGKILL)
            while (await started.event())[0] is not Event.EXITED:
                pass

        asyncio.run(start())
    # Nobody of ours has it open any more; the parent still does.
    held = asyncio.run(parent.client.held_socket("hub"))
    assert held is not None and held.getsockname()[1] == port
    held.close()
    assert asyncio.run(parent.client.held_socket("other")) is None
    asyncio.run(parent.client.release_socket("hub"))
    assert asyncio.run(parent.client.held_socket("hub")) is None
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=1)


def test_shutdown_ends_everything_also_what_was_detached(parent: TinyParent) -> None:
    parent.start()
    detach = (
        "import subprocess\np = subprocess.Popen(['setsid', 'sleep', '600'])\nprint(p.pid, flush=True)\ntell('ready')"
        "\nimport signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_DFL)\ntime.sleep(600)"
    )
    started = asyncio.run(parent.begin("a", detach))
    detached = int(parent.log("a").split()[0])
    parent.seen.add(detached)
    assert alive(detached)
    asyncio.run(parent.client.shut_down())
    assert parent.process is not None and parent.process.wait(timeout=10) == 0
    assert not alive(started.record.pid) and not alive(detached)
    assert not (parent.folder / "socket").exists()
    assert not list((parent.folder / "records").iterdir())


def test_what_a_dead_process_leaves_is_ended(parent: TinyParent) -> None:
    parent.start()
    detach = (
        "import subprocess\np = subprocess.Popen(['setsid', 'sleep', '600'])\n"
        "print(p.pid, flush=True)\ntell('ready')\nleave(0)"
    )
    asyncio.run(parent.begin("a", detach))
    detached = int(parent.log("a").split()[0])
    parent.seen.add(detached)
    eventually(lambda: not alive(detached), 5)


def test_parent_started_anew_knows_the_processes_again(parent: TinyParent) -> None:
    parent.start()
    first = asyncio.run(parent.begin("a"))
    gone = asyncio.run(parent.begin("b"))
    parent.kill()
    os.kill(gone.record.pid, signal.SIGKILL)
    eventually(lambda: not alive(gone.record.pid), 5)
    (parent.folder / "records" / "garbage").write_text("{")
    parent.start()
    assert asyncio.run(parent.client.processes()) == [first.record]
    os.kill(first.record.pid, signal.SIGKILL)
    eventually(lambda: not parent.names(), 5)
    assert not list((parent.folder / "records").iterdir())


def test_only_one_parent_serves_a_folder(parent: TinyParent) -> None:
    parent.start()
    second = subprocess.run(
        [sys.executable, str(TINY), str(parent.folder)], capture_output=True, timeout=20, check=False
    )
    assert second.returncode != 0
    asyncio.run(parent.begin("a"))
    assert asyncio.run(parent.client.pid()) == parent.pid


def test_socket_is_for_the_own_account_only(parent: TinyParent) -> None:
    parent.start()
    assert stat.S_IMODE((parent.folder / "socket").stat().st_mode) == 0o600
    assert stat.S_IMODE((parent.folder / "records").stat().st_mode) == 0o700


def memory_of(pid: int) -> bytes:
    """What a process has in its writable memory."""
    found = []
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for line in maps:
            addresses, access, *_ = line.split()
            begin, end = (int(each, 16) for each in addresses.split("-"))
            if access.startswith("rw") and "[v" not in line:
                memory.seek(begin)
                found.append(memory.read(end - begin))
    return b"".join(found)


def test_no_secret_stays_in_the_parents_memory(parent: TinyParent) -> None:
    """A server forked later would inherit the tokens of those before it."""
    parent.start()
    token = "".join(["plan", "ted-", "0123456789"])
    first = asyncio.run(parent.begin("a", environment={"TOKEN": token}))
    second = asyncio.run(parent.begin("b"))
    assert token.encode() in memory_of(first.record.pid), "so that a test without eyes is noticed"
    assert token.encode() not in memory_of(parent.pid)
    assert token.encode() not in memory_of(second.record.pid)


def test_request_without_its_environment_is_refused(parent: TinyParent) -> None:
    parent.start()
    answer = ask(parent, parent.request("a").encode())
    assert answer["event"] == Event.REFUSED and "environment" in answer["reason"]
    assert parent.names() == set()


def test_refused_requests_leave_no_descriptors_open(parent: TinyParent) -> None:
    parent.start()
    asyncio.run(parent.begin("a"))

    async def refuse() -> None:
        for _ in range(5):
            with pytest.raises(StartRefused), socket.create_server(("127.0.0.1", 0)) as given:
                await parent.client.start(parent.request("a"), given)

    def opened() -> int:
        return len(os.listdir(f"/proc/{parent.pid}/fd"))

    asyncio.run(refuse())
    before = opened()
    asyncio.run(refuse())
    eventually(lambda: opened() <= before, 5)


def ask(parent: TinyParent, line: bytes) -> dict[str, Any]:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        connection.connect(sockets.address(parent.folder / "socket"))
        connection.sendall(line)
        with connection.makefile("rb") as answers:
            answer: dict[str, Any] = json.loads(answers.readline() or b"{}")
    return answer


@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b"nonsense\n",
        b"[]\n",
        b'{"operation": "dance"}\n',
        b'{"operation": []}\n',
        b'{"operation": {}}\n',
        b'{"operation": "start"}\n',
        b'{"operation": "socket"}\n',
        b'{"operation": "start", "name": "a", "environment": [], "directory": "/", "log_file": "/x",'
        b' "listen": false, "limits": {}}\n',
        b"\xff\n",
        b"[" * 100_000 + b"\n",
    ],
)
def test_malformed_line_is_refused_and_the_parent_serves_on(parent: TinyParent, line: bytes) -> None:
    parent.start()
    assert ask(parent, line)["event"] == Event.REFUSED
    assert ask(parent, b'{"operation": "list"}\n') == {"processes": []}


def test_endless_line_ends_the_connection_not_the_parent(parent: TinyParent) -> None:
    parent.start()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        connection.connect(sockets.address(parent.folder / "socket"))
        with pytest.raises(OSError):
            while True:
                connection.sendall(b"x" * 65536)
    assert ask(parent, b'{"operation": "list"}\n') == {"processes": []}


def test_child_that_ends_before_the_parent_has_noted_it(parent: TinyParent) -> None:
    """On a busy machine a child may be over before the parent runs again."""
    parent.start(pause=0.3)

    async def start() -> None:
        started = await parent.client.start(parent.request("a", "leave(3)"))
        assert await asyncio.wait_for(started.event(), 5) == (Event.EXITED, 3)

    asyncio.run(start())
    assert parent.process is not None and parent.process.poll() is None, parent.log()
    assert parent.names() == set()


def test_forked_copy_of_a_process_does_not_hang_the_parent(parent: TinyParent) -> None:
    """A copy (fork without exec) keeps the status pipe open after its original has ended."""
    parent.start()
    copy = "import os, time\ntell('ready')\nif os.fork() == 0:\n    time.sleep(600)\nos._exit(0)"

    async def start() -> None:
        started = await parent.begin("a", copy)
        assert (await asyncio.wait_for(started.event(), 5))[0] is Event.EXITED
        assert await asyncio.wait_for(parent.client.processes(), 5) == []

    try:
        asyncio.run(start())
    finally:
        for pid in _children(parent.pid):
            os.kill(pid, signal.SIGKILL)


def test_parent_out_of_descriptors_refuses_and_serves_on(parent: TinyParent) -> None:
    parent.start(open_files=30)
    connections = []
    try:
        for _ in range(60):
            connection = socket.socket(socket.AF_UNIX)
            connections.append(connection)
            connection.settimeout(1)
            try:
                connection.connect(sockets.address(parent.folder / "socket"))
            except OSError:
                break
    finally:
        for connection in connections:
            connection.close()
    assert parent.process is not None
    eventually(lambda: ask(parent, b'{"operation": "list"}\n') == {"processes": []}, 5)
    assert parent.process.poll() is None, parent.log()


def _children(pid: int) -> list[int]:
    found = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False)
    return [int(each) for each in found.stdout.split()]
