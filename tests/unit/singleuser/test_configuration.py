"""A learner's server is set up from its environment alone, and buries what nobody waits for."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.sites import eventually

from coursewarehub.singleuser.content import CourseContentsManager
from coursewarehub.singleuser.main import configuration
from coursewarehub.singleuser.reaper import Reaper, dead_children


def test_settings_of_every_server() -> None:
    config = configuration({})
    assert config.ServerApp.contents_manager_class is CourseContentsManager
    assert config.ServerApp.allow_root == (os.geteuid() == 0)
    assert config.LabApp.extension_manager == "readonly"
    assert config.LabApp.news_url is None
    assert config.LanguageServerManager.autodetect is False
    for section in ("MappingKernelManager", "TerminalManager"):
        assert section not in config or not config[section]
    assert "shutdown_no_activity_timeout" not in config.ServerApp


def test_jupyterlabs_own_files_are_in_the_home_of_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """JupyterLab works them out at import, which in a forked server was in the parent."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("JUPYTER_CONFIG_DIR", "JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR"):
        monkeypatch.delenv(name, raising=False)
    config = configuration({})
    assert config.LabApp.user_settings_dir == str(tmp_path / ".jupyter" / "lab" / "user-settings")
    assert config.LabApp.workspaces_dir == str(tmp_path / ".jupyter" / "lab" / "workspaces")


REMEMBERED = """
import os, sys
HOME = "/home-" + "of-the-parent"  # not as one word: this text itself is in sys.orig_argv
os.environ["HOME"] = HOME
from coursewarehub.prefork.kinds import warm_up
warm_up("server")
from traitlets.config import Configurable

def below(kind):
    for each in kind.__subclasses__():
        yield each
        yield from below(each)

found = set()
for kind in below(Configurable):
    for name, trait in kind.class_traits().items():
        if HOME in repr(trait.default_value):
            found.add(f"{trait.this_class.__name__}.{name}")
for module in list(sys.modules.values()):
    for name, value in list(getattr(module, '__dict__', {}).items()):
        if module.__name__ in ("os", "posix", "__main__") or value is os.environ:
            continue
        plain = isinstance(value, (str, bytes, list, tuple, dict, os.PathLike))
        if plain and HOME in repr(value)[:100_000]:
            found.add(f"{module.__name__}.{name}")
print(*sorted(found))
"""


def test_what_the_parents_imports_remember_of_its_home() -> None:
    """Whatever else turns up here would be shared by all learners.

    JupyterLab's two are set anew in `configuration`; JupyterHub's servers delete without `send2trash`;
    where a person's own packages would be (`sysconfig`) matters to installers alone, which are processes of their own.
    """
    done = subprocess.run([sys.executable, "-c", REMEMBERED], capture_output=True, text=True, timeout=120, check=True)
    assert [name for name in done.stdout.split() if name != "sysconfig._CONFIG_VARS"] == [
        "LabApp.user_settings_dir",
        "LabApp.workspaces_dir",
        "send2trash.plat_other.HOMETRASH",
        "send2trash.plat_other.HOMETRASH_B",
        "send2trash.plat_other.XDG_DATA_HOME",
    ]


@pytest.mark.parametrize(("seconds", "interval"), [("1", 1), ("30", 6), ("3600", 60)])
def test_idle_server_ends_by_itself(seconds: str, interval: int) -> None:
    config = configuration({"COURSEWARE_IDLE_SECONDS": seconds})
    assert config.ServerApp.shutdown_no_activity_timeout == int(seconds)
    assert config.TerminalManager.cull_inactive_timeout == int(seconds)
    assert dict(config.MappingKernelManager) == {
        "cull_idle_timeout": int(seconds),
        "cull_connected": True,
        "cull_interval": interval,
    }


@pytest.mark.parametrize("never", ["0", ""])
def test_server_that_may_idle_for_ever(never: str) -> None:
    assert "shutdown_no_activity_timeout" not in configuration({"COURSEWARE_IDLE_SECONDS": never}).ServerApp


def test_learners_side_imports_nothing_of_the_site() -> None:
    """What a student's image installs stays small, and nothing of the hub's can leak into a server."""
    script = (
        "import sys\nimport coursewarehub.singleuser.content, coursewarehub.singleuser.reaper\n"
        "ours = ('model', 'state', 'site', 'hub', 'cli', 'prefork', 'i18n', 'services', 'store')\n"
        "print([m for m in sys.modules if m.startswith(tuple(f'coursewarehub.{n}' for n in ours))"
        " or m.split('.')[0] in ('sqlalchemy', 'pydantic', 'docker', 'coursewarespawner', 'coursewareauthenticator')])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=Path.cwd())
    assert done.stdout.strip() == "[]"


# -- orphans ----------------------------------------------------------------------------------------------------


def ended_child(*command: str) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(command or ("true",))
    eventually(lambda: process.pid in dead_children(os.getpid()), 5)
    return process


def test_orphan_is_buried_at_the_second_call() -> None:
    reap, process = Reaper(), ended_child()
    reap()
    assert process.pid in dead_children(os.getpid()), "whoever started it may still ask"
    reap()
    assert process.pid not in dead_children(os.getpid())
    process.wait()


def test_who_asks_in_time_gets_the_status() -> None:
    reap, process = Reaper(), ended_child("sh", "-c", "exit 7")
    reap()
    assert process.wait() == 7
    reap()


def test_the_living_are_left_alone() -> None:
    reap, process = Reaper(), subprocess.Popen(["sleep", "60"])
    try:
        for _ in range(3):
            reap()
        time.sleep(0.05)
        assert process.poll() is None
    finally:
        process.kill()
        assert process.wait() == -9
