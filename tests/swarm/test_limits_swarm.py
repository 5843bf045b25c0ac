"""What a student can take, fill and see from a notebook on the real Swarm, and what the neighbour notices of it.

Both are on one machine: the machine has nothing else to keep them apart than their containers.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.deployed import DeployedSite
from support.faults import small_disk
from support.invariants import assert_i1_three_views_agree
from support.netns import run
from support.probes import BOMB, POSTURE, WRITABLE, fill, litter
from support.sites import eventually
from support.workload import Session, lost, reason_of_failure, stop_server, work

from coursewarehub.model.names import object_name

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("whole"), pytest.mark.timeout(600)]

ALPHA = {"placement": {"constraints": ["node.hostname==n2"]}}
MIB = 1024**2
MEMORY, TEMPORARY, PROCESSES = 512 * MIB, 64 * MIB, 512  # of a server of `alpha`


@contextmanager
def neighbours(site: DeployedSite, case: str) -> Iterator[tuple[Session, Session]]:
    """Mallory and Bob on one machine; whatever Mallory does, Bob keeps value and work, and both their servers."""
    mallory, bob = work(site, [f"{case}-mallory", f"{case}-bob"])
    before = {session.name: site.container_of(session.name) for session in (mallory, bob)}
    yield mallory, bob
    assert lost([bob]) == []
    assert {name: site.container_of(name) for name in before} == before
    for session in (mallory, bob):
        assert session.save(f"work of {session.name}").status_code in (200, 201)
    assert assert_i1_three_views_agree(site) == set(before)


# -- A20: processes ---------------------------------------------------------------------------------------------------

CELLS = 40


def round_trips(session: Session) -> list[float]:
    """How long so many small cells take, in seconds, in order of length."""
    times = []
    for _ in range(CELLS):
        begin = time.monotonic()
        session.kernel.run("sum(range(100_000))")
        times.append(time.monotonic() - begin)
    return sorted(times)


def test_a20_fork_bomb(site: DeployedSite) -> None:
    """It has as many processes as the course allows and one processor; the neighbour's cells are as quick as before.

    What is compared is the median, of cells in the same minute: on a busy machine the slowest of 40 says little.
    """
    with neighbours(site, "a20") as (mallory, bob):
        engine, container = site.machine_of(mallory.name)
        group = engine.group(container, "pids")
        usual = int((group / "pids.current").read_text())
        round_trips(bob)
        quiet = round_trips(bob)
        mallory.kernel.run(
            "import subprocess, sys, time\n"
            f"bomb = subprocess.Popen([sys.executable, '-SEc', {BOMB!r}, '12'], stderr=subprocess.DEVNULL)"
        )
        eventually(lambda: int((group / "pids.current").read_text()) > PROCESSES * 0.9, 20)
        loud = round_trips(bob)
        most = int((group / "pids.current").read_text())
        assert PROCESSES * 0.9 < most <= PROCESSES == int((group / "pids.max").read_text()), most
        eventually(lambda: int((group / "pids.current").read_text()) <= usual + 5, 60, every=0.5)
        again = round_trips(bob)
        for name, times in (("before", quiet), ("meanwhile", loud), ("after", again)):
            print(f"A20: {name} median {statistics.median(times) * 1000:.0f} ms, p95 {times[37] * 1000:.0f} ms")
        assert statistics.median(loud) < 2 * max(map(statistics.median, (quiet, again))) + 0.02
        assert (
            mallory.kernel.run("print(subprocess.run(['echo', 'well'], capture_output=True).stdout)") == "b'well\\n'\n"
        )
    assert site.bed.state("n2") == "ready"


# -- A21: memory ------------------------------------------------------------------------------------------------------


def too_much_memory(mallory: Session) -> None:
    """Ten times the limit: the kernel that asked for it ends, and no other."""
    other = mallory.student.start_kernel()
    with pytest.raises(AssertionError, match="died"):
        other.run(f"block = bytearray({10 * MEMORY}); block[::4096] = b'x' * len(block[::4096])")
    assert lost([mallory]) == []


def a_flood_of_pages(mallory: Session) -> None:
    """Files are read and written through memory, which is given back: a large one needs no more than there is."""
    assert mallory.finds(fill("/home/learner/flood", 2 * MEMORY // MIB)) == [2 * MEMORY, None]
    assert lost([mallory]) == []


def many_kernels(mallory: Session) -> None:
    """More kernels than fit: some of them end, the first one perhaps among them."""
    for _ in range(16):
        with contextlib.suppress(AssertionError, OSError):
            mallory.student.start_kernel()
    time.sleep(5)
    for kernel in mallory.student.api("GET", "kernels").json():
        if kernel["id"] != mallory.kernel.id:
            mallory.student.api("DELETE", f"kernels/{kernel['id']}")


def empty_files(mallory: Session) -> None:
    """In a temporary folder they take no room, and memory all the same: the kernel ends before there are a million."""
    with pytest.raises(AssertionError, match="died"):
        mallory.student.start_kernel().run(litter("/dev/shm", 1_000_000))


@pytest.mark.parametrize("attack", [too_much_memory, a_flood_of_pages, many_kernels, empty_files])
def test_a21_memory(site: DeployedSite, attack: Callable[[Session], None]) -> None:
    with neighbours(site, "a21") as (mallory, bob):
        engine, container = site.machine_of(mallory.name)
        attack(mallory)
        most, limit = engine.memory(container)
        print(f"A21 {attack.__name__}: {most / MIB:.0f} of {limit / MIB:.0f} MiB")
        assert 0.9 * MEMORY < most <= limit + MIB == MEMORY + MIB, most
        engine, container = site.machine_of(bob.name)
        assert engine.memory(container)[0] < 0.9 * MEMORY


# -- A22: disks -------------------------------------------------------------------------------------------------------


def test_a22_nothing_grows_but_the_home_and_memory(site: DeployedSite) -> None:
    """The container's layer is read only; what can be written besides the home has a size, and is memory."""
    with neighbours(site, "a22") as (mallory, _):
        assert mallory.finds("print(__import__('os').statvfs('/').f_flag & 1)") == os.ST_RDONLY
        sizes = {"/tmp": TEMPORARY, "/var/tmp": 64 * MIB, "/run": 16 * MIB, "/dev/shm": 64 * MIB}
        places = set(mallory.finds(WRITABLE))
        # An engine with an older runc leaves `/run` to root, as the image has it.
        assert places | {"/run"} == {"/home/learner", "/dev/mqueue", *sizes}, places
        for place in sizes.keys() & places:
            written, error = mallory.finds(fill(f"{place}/big", 128))
            assert error == "ENOSPC" and 0 < written <= sizes[place], (place, written, error)
        engine, container = site.machine_of(mallory.name)
        assert engine.memory(container)[0] <= MEMORY + MIB


def test_a22_a_full_home_is_ones_own_trouble(site: DeployedSite) -> None:
    """How much fits into a home, and how many files, is for the storage to say; here a small disk stands for a quota.

    This kernel has no quotas. Without one the storage is everybody's, and `doctor` tells when it runs short.
    """
    name = "a22-home-mallory"
    home = Path(site.bed.storage) / "homes" / "alpha" / object_name("home", name)
    work(site, [name])
    stop_server(site, name)
    owner = home.stat()
    with small_disk(home, 32):
        os.chown(home, owner.st_uid, owner.st_gid)
        with neighbours(site, "a22-home") as (mallory, bob):
            written, error = mallory.finds(fill("big", 64))
            assert error == "ENOSPC" and 0 < written <= 32 * MIB
            mallory.kernel.run(
                "import os\n"
                "with open('big', 'wb') as file:\n"
                "    os.posix_fallocate(file.fileno(), 0, os.statvfs('.').f_bfree * 4096)"
            )
            refused = mallory.save("x" * 100_000)
            print(f"A22: saving into a full home: {refused.status_code} {refused.text[:200]}")
            assert not refused.ok
            assert bob.save("x" * 100_000).ok
            mallory.kernel.run("os.unlink('big')")
        stop_server(site, name)
    told = site.cli("doctor", check=False).stdout
    assert f"homes can be made in {site.bed.storage}" in told, told


def test_a22_log_of_the_container(site: DeployedSite) -> None:
    """50 MB to the container's standard output: the node keeps three files of ten megabytes at most."""
    with neighbours(site, "a22-log") as (mallory, _):
        engine, container = site.machine_of(mallory.name)
        mallory.kernel.run(
            "with open('/proc/1/fd/1', 'wb', buffering=0) as file:\n"
            "    for _ in range(50 * 1024): file.write(b'x' * 1023 + b'\\n')"
        )
        sizes = [file.stat().st_size for file in engine.logs(container)]
        print(f"A22: logs of {[f'{size / MIB:.1f}' for size in sizes]} MiB")
        assert len(sizes) == 3 and sum(sizes) < 31 * MIB, sizes


# -- A25: posture -----------------------------------------------------------------------------------------------------

REFUSED = {"EPERM", "EACCES", "ENOSYS"}


def test_a25_posture_from_inside(site: DeployedSite) -> None:
    """What `docs/explanation/containers.md` promises of a service, seen by the student in it.

    No API of Docker says anything of a service's seccomp profile, masked paths or devices: they are the engine's own,
    and not to forbid new privileges before API 1.44 (the bed's is 1.41, so the nodes' `daemon.json` does, and `doctor`
    looks). This kernel has no AppArmor. `ptrace` of one's own processes is allowed, as debuggers need it; there are
    no others in sight. The same image in a container of no special kind shows what the snippet would have found.
    """
    (sam,) = work(site, ["sam"])
    engine, container = site.machine_of(sam.name)
    seen = sam.finds(POSTURE)
    uid = int(engine.inspect("container", container)["Config"]["User"].partition(":")[0])
    assert uid >= 100_000 and seen["uid"] == [uid] * 3 and seen["groups"] == [uid] and seen["owners"] == [uid]
    assert {seen[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
    assert (seen["NoNewPrivs"], seen["Seccomp"]) == ("1", "2")
    assert seen["limits"] == {"CORE": [0, 0], "NOFILE": [4096, 4096]}
    assert {name: error for name, error in seen["calls"].items() if error not in REFUSED} == {}
    assert seen["writable"] == seen["trigger"] == seen["blocks"] == seen["gpus"] == seen["sockets"] == []
    assert not any(seen["shown"].values()), seen["shown"]

    def elsewhere(user: int, loose: str) -> dict[str, Any]:
        options = ("--rm", "--network", "none", "--user", str(user), "--security-opt", f"{loose}=unconfined")
        found: dict[str, Any] = json.loads(
            engine.docker("run", *options, site.images["singleuser"], "python3", "-c", POSTURE)
        )
        return found

    free, root = elsewhere(uid, "seccomp"), elsewhere(0, "systempaths")
    assert free["Seccomp"] == "0" and free["CapBnd"] != "0" * 16
    assert {name for name, error in free["calls"].items() if error == 0} >= {"unshare user", "keyctl", "add_key"}
    assert [path for path in root["writable"] if path.startswith("/proc/sys/")] and any(root["shown"].values())
    assert {name for name, error in root["calls"].items() if error == 0} >= {"chroot", "mknod", "setuid"}


def test_a25_programs_of_root_run_as_the_student(site: DeployedSite) -> None:
    """A program that belongs to root and says that it is to run as root: on the node it does, in the container not."""
    (sam,) = work(site, ["sam"])
    home = Path(site.bed.storage) / "homes" / "alpha" / object_name("home", "sam")
    ask = "import subprocess; print(subprocess.run(['./as-root', '-u'], capture_output=True, text=True).stdout.strip())"
    sam.kernel.run("import shutil; shutil.copy('/usr/bin/id', 'as-root')")
    file = home / "as-root"
    uid = file.stat().st_uid
    os.chown(file, 0, 0)
    file.chmod(0o4755)
    try:
        assert sam.kernel.run(ask) == f"{uid}\n"
        assert run("setpriv", f"--reuid={uid}", "--clear-groups", file, "-u") == "0"
    finally:
        file.unlink()
    doctor = site.cli("doctor", check=False).stdout
    assert re.search("new privileges.* every node", doctor), doctor


def test_a25_graphics_processors_only_where_a_course_asks(site: DeployedSite) -> None:
    """The bed has none: a course that asks for one is told so, and the others' services do not ask."""
    work(site, ["sam"])
    service = site.service_of("sam")
    assert (
        service is not None and "GenericResources" not in service["Spec"]["TaskTemplate"]["Resources"]["Reservations"]
    )
    site.open_course("graphics", resources={"gpus": 1})
    try:
        reason = reason_of_failure(site, "sam", "graphics", seconds=60)
        print(f"A25: {reason}")
        assert "machine" in reason and "network" not in reason, reason
        assert not [each for each in site.services() if each["Spec"]["Labels"]["coursewarehub.course"] == "graphics"]
    finally:
        site.remove_course("graphics")
