"""`coursewarehub up` that cannot start says why in one sentence, with the right exit code, and leaves nothing."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.sites import RunningSite, SiteFolder

from .conftest import Outcome

MakeSite = Callable[..., RunningSite]


@pytest.fixture
def folder(tmp_path: Path) -> SiteFolder:
    made = SiteFolder(tmp_path / "site")
    made.add_course("alpha")
    return made


def up(folder: SiteFolder, *arguments: str) -> Outcome:
    """Run it to its end; it must end by itself."""
    command = [sys.executable, "-m", "coursewarehub", "up", "--site", str(folder.root), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert not RunningSite(folder).pids(), "it left processes behind"
    return Outcome(done.returncode, done.stdout, done.stderr)


def test_broken_site_file(folder: SiteFolder) -> None:
    (folder.root / "site.yaml").write_text("mode: development\nedg: {}\n")
    up(folder).assert_refused(2, "site.yaml:2: ")


def test_missing_folder(tmp_path: Path) -> None:
    folder = SiteFolder(tmp_path / "site")
    folder.root = tmp_path / "nowhere"
    up(folder).assert_refused(2, "there is no such site folder")
    assert not folder.root.exists()


@pytest.mark.parametrize("port", ["0", "65536", "-1"])
def test_impossible_port(folder: SiteFolder, port: str) -> None:
    up(folder, f"--port={port}").assert_refused(2, "--port: must be a whole number from 1 to 65535")


def test_taken_port_of_the_command_line(folder: SiteFolder) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        up(folder, "--port", str(port)).assert_refused(2, f"--host, --port: cannot listen on 127.0.0.1 port {port}: ")


def test_taken_port_of_the_file(folder: SiteFolder) -> None:
    with socket.create_server(("127.0.0.1", folder.port)):
        up(folder).assert_refused(
            2, f"site.yaml:4: cannot listen on 127.0.0.1 port {folder.port}: Address already in use"
        )


@pytest.mark.parametrize("host", ["192.0.2.1", "no.such.host.invalid", "not a host"])
def test_address_that_is_not_ours(folder: SiteFolder, host: str) -> None:
    folder.add_course("alpha", authentication={"method": "dummy", "password": "file:password"})
    up(folder, "--host", host).assert_refused(2, f"cannot listen on {host} port {folder.port}: ")


def test_exposed_secret(folder: SiteFolder) -> None:
    file = folder.root / "state" / "secrets" / "edge-api"
    file.parent.mkdir(parents=True)
    file.write_text("x")
    file.chmod(0o644)
    up(folder).assert_refused(2, f"{file}: can be read by others (run `chmod 600 {file}`)")


def test_state_that_is_no_folder(folder: SiteFolder) -> None:
    (folder.root / "state").write_text("")
    up(folder).assert_refused(1, "state: ")


@pytest.mark.parametrize("name", ["hub.d", "courses.d"])
def test_mistake_of_one_folder_does_not_end_in_a_traceback(folder: SiteFolder, name: str) -> None:
    """What is not a folder at all, or holds what cannot be read."""
    (folder.root / "state").write_text("")  # so that it ends by itself whatever it makes of the rest
    if name == "hub.d":
        (folder.root / "hub.d").mkdir()
        (folder.root / "hub.d" / "1.py").symlink_to("nowhere")
    else:
        (folder.root / "courses.d" / "alpha.yaml").unlink()
        (folder.root / "courses.d").rmdir()
        (folder.root / "courses.d").write_text("")
    assert "Traceback" not in up(folder).err


def test_demo_in_a_folder_of_something_else(tmp_path: Path) -> None:
    folder = SiteFolder(tmp_path / "site")
    (folder.root / "site.yaml").unlink()
    (folder.root / "thesis.txt").write_text("mine")
    outcome = up(folder, "--demo")
    assert outcome.code == 2 and len(outcome.err.splitlines()) == 1 and "Traceback" not in outcome.err, outcome
    assert (folder.root / "thesis.txt").read_text() == "mine"


def test_strangers_at_a_public_address(folder: SiteFolder) -> None:
    up(folder, "--host", "0.0.0.0").assert_refused(2, "lets strangers run programs on this machine")


@pytest.mark.slow
def test_second_site_process_of_a_folder_is_refused_and_the_first_goes_on(make_site: MakeSite) -> None:
    site = make_site()
    site.start()
    before: dict[str, Any] = site.status()
    done = site.cli("up", check=False)
    Outcome(done.returncode, done.stdout, done.stderr).assert_refused(
        1, f"the site {site.folder.root} is running already"
    )
    done = site.cli("up", "--port", "1", check=False)
    assert done.returncode == 1 and "running already" in done.stderr
    assert site.status()["processes"]["edge"]["pid"] == before["processes"]["edge"]["pid"]
    assert site.status()["ready"]


@pytest.mark.slow
@pytest.mark.parametrize("pause", [0.3, 0.8, 1.3])
def test_interrupted_while_starting_it_ends_with_nothing_left(folder: SiteFolder, pause: float) -> None:
    site = RunningSite(folder)
    command = [sys.executable, "-m", "coursewarehub", "up", "--site", str(folder.root)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(pause)
        process.terminate()
        _, said = process.communicate(timeout=30)
        assert "Traceback" not in said
        assert not site.pids()
    finally:
        for pid in site.pids():
            os.kill(pid, signal.SIGKILL)
