"""What `coursewarehub deploy` and `node` say before they reach an engine, and what they work out themselves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.models import a_course, a_site

from coursewarehub.cli.deploy import public_url, secret_digests, time_zone
from coursewarehub.cli.node import lines
from coursewarehub.deploy.nodes import Node, Row
from coursewarehub.state.folders import SiteFolders


def write(root: Path, **settings: Any) -> None:
    (root / "site.yaml").write_text(json.dumps({"mode": "development", **settings}))


def swarm(root: Path, **settings: Any) -> None:
    (root / "storage").mkdir(exist_ok=True)
    spawner = {"kind": "swarm", "storage": str(root / "storage"), "engine": f"unix://{root}/none.sock"}
    write(root, spawner={**spawner, **settings})


COMMANDS = (["deploy", "swarm", "--yes"], ["node", "list"], ["node", "drain", "n1"], ["node", "resume", "n1"])


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("kind", ["local", "docker"])
def test_other_spawners_are_not_for_a_swarm(root: Path, run: Any, arguments: list[str], kind: str) -> None:
    write(root, spawner={"kind": kind})
    run(*arguments).assert_refused(1, f"`spawner.kind` of site.yaml is `{kind}`; a swarm needs `kind: swarm`.")


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_no_engine_is_one_sentence(root: Path, run: Any, arguments: list[str]) -> None:
    swarm(root)
    run(*arguments).assert_refused(1, f"There is no Docker Engine at unix://{root}/none.sock")


def test_storage_that_is_not_there(root: Path, run: Any) -> None:
    swarm(root, storage="/srv/no-such-folder")
    telling = "The storage /srv/no-such-folder is not on this machine; mount it here and on every node."
    run("deploy", "swarm", "--yes").assert_refused(1, telling)


def test_variables_are_refused(root: Path, run: Any) -> None:
    swarm(root)
    course = {"id": "alpha", "title": "A", "authentication": {"method": "dummy", "password": "env:WORKSHOP"}}
    (root / "courses.d/alpha.yaml").write_text(json.dumps(course))
    telling = "courses.d/alpha.yaml:1: `authentication.password` is `env:WORKSHOP`, a variable that a service"
    run("deploy", "swarm", "--yes").assert_refused(2, telling)


@pytest.mark.parametrize("notice", ["-1", "soon", "86401"])
def test_notices_are_seconds(root: Path, run: Any, notice: str) -> None:
    swarm(root)
    outcome = run("node", "drain", "n1", f"--notice={notice}")
    assert outcome.code == 2
    assert "is not a number of seconds from 0 to 86400" in outcome.err.splitlines()[-1]


# --- what is worked out ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environ", "link", "name"),
    [
        ({"TZ": "Asia/Tokyo"}, None, "Asia/Tokyo"),
        ({"TZ": ":Asia/Tokyo"}, None, "Asia/Tokyo"),
        ({}, "zoneinfo/Europe/Paris", "Europe/Paris"),
        ({"TZ": ""}, "zoneinfo/Europe/Paris", "Europe/Paris"),
        ({}, "somewhere/else", None),
        ({}, None, None),
    ],
)
def test_the_machine_s_time_zone(tmp_path: Path, environ: dict[str, str], link: str | None, name: str | None) -> None:
    localtime = tmp_path / "localtime"
    if link is not None:
        target = tmp_path / link
        target.parent.mkdir(parents=True)
        target.write_text("")
        localtime.symlink_to(target)
    assert time_zone(environ, localtime) == name


def test_digests_tell_secrets_apart_and_nothing_else(tmp_path: Path) -> None:
    def site(name: str, text: str) -> dict[str, str]:
        root = tmp_path / name
        root.mkdir(exist_ok=True)
        (root / "secret").write_text(text)
        (root / "secret").chmod(0o600)
        courses = [
            a_course("one", authentication={"method": "dummy", "password": "file:secret"}),
            a_course("two", authentication={"method": "dummy", "password": "file:missing"}),
            a_course("three", authentication={"method": "dummy", "password": "env:SECRET"}),
        ]
        return secret_digests(SiteFolders(root), a_site(), courses)

    first = site("a", "welcome")
    assert first.keys() == {"file:secret"}
    assert site("a", "welcome\n") == first
    assert site("a", "goodbye") != first
    assert site("b", "welcome") != first


@pytest.mark.parametrize(
    ("edge", "url"),
    [
        ({"host": "0.0.0.0", "port": 8000}, "http://10.0.0.7:8000/"),
        ({"port": 80}, "http://10.0.0.7/"),
        ({"public_url": "https://courses.example.org"}, "https://courses.example.org/"),
    ],
)
def test_what_people_type(edge: dict[str, Any], url: str) -> None:
    assert public_url(a_site(edge=edge), "10.0.0.7") == url


def test_nodes_for_people() -> None:
    node = Node("id", "worker-1", "worker", "ready", "active", 7.5, 16 * 2**30, {}, 1, {})
    shown = lines((Row(node, 3, ("demo", "other"), ()), Row(node, 0, (), ("down: gone",))))
    assert list(shown) == [
        "node      role      state     takes    cores   memory  servers  ready for",
        "worker-1  worker    ready     active    7.5    16.0G        3  demo, other",
        "worker-1  worker    ready     active    7.5    16.0G        0  nothing",
        "          down: gone",
    ]
