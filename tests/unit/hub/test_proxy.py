"""Names become routes that lead to their server and nowhere else."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from ruamel.yaml import YAML

from coursewarehub.hub.proxy import CourseProxy, RoutesFile, rule


@pytest.mark.parametrize(
    ("routespec", "expected"),
    [
        ("/", "PathPrefix(`/`)"),
        ("/courses/a/", "PathPrefix(`/courses/a/`) || Path(`/courses/a`)"),
        ("/courses/a/user/sam/", "PathPrefix(`/courses/a/user/sam/`) || Path(`/courses/a/user/sam`)"),
        ("/u/a%20b/", "PathPrefix(`/u/a b/`) || Path(`/u/a b`)"),
        ("/u/%C3%A9/", "PathPrefix(`/u/é/`) || Path(`/u/é`)"),
        ("/u/a%2Bb@c.org/", "PathPrefix(`/u/a%2Bb@c.org/`) || Path(`/u/a%2Bb@c.org`)"),
        ("/u/o%27brien/", "PathPrefix(`/u/o%27brien/`) || Path(`/u/o%27brien`)"),
        ("/u/100%25/", "PathPrefix(`/u/100%25/`) || Path(`/u/100%25`)"),
        ("/u/a%3Fb%23c%3Bd%2Ce/", "PathPrefix(`/u/a%3Fb%23c%3Bd%2Ce/`) || Path(`/u/a%3Fb%23c%3Bd%2Ce`)"),
        ("/u/a%5Cb%22%7C%7B%7D/", 'PathPrefix(`/u/a\\b"|{}/`) || Path(`/u/a\\b"|{}`)'),
        # A slash in a name is not one in the path.
        ("/u/a%2Fb/", "PathPrefix(`/u/a%2Fb/`) || Path(`/u/a%2Fb`)"),
    ],
)
def test_rule(routespec: str, expected: str) -> None:
    assert rule(routespec) == expected


@pytest.mark.parametrize("name", ["a`b", "x`) || pathregexp(`.*", "`", "a%60b"])
def test_backquote_would_become_part_of_the_rule(name: str) -> None:
    with pytest.raises(ValueError, match="backquote"):
        rule(f"/courses/a/user/{quote(name.replace('%60', '`'), safe='')}/")


def test_no_character_ends_the_quotation() -> None:
    for code in (*range(32, 127), 0xE9, 0x3042, 0x1F600, 0xFF40, 0x2018, 0x02CB):
        char = chr(code)
        if char in "`/":
            continue
        made = rule(f"/u/x{quote(char, safe='@~')}y/")
        assert re.fullmatch(r"PathPrefix\(`[^`]*`\) \|\| Path\(`[^`]*`\)", made), made


@pytest.fixture
def knowing(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The questions put to the edge, which knows a route at every third."""
    asked: list[str] = []

    async def knows(_proxy: CourseProxy, router: str) -> bool:
        asked.append(router)
        return len(asked) % 3 == 0

    monkeypatch.setattr(CourseProxy, "_edge_knows", knows)
    return asked


def a_proxy(folder: Path) -> CourseProxy:
    """Made in a running event loop, as in a hub."""
    return CourseProxy(
        should_start=False,
        enable_setup_dynamic_config=False,
        dynamic_config_file=str(folder / "routes.yaml"),
        traefik_api_url="http://127.0.0.1:1",
        traefik_entrypoint="web",
    )


def test_route_is_written_once_and_confirmed_after_that(tmp_path: Path, knowing: list[str]) -> None:
    spec, data = "/courses/a/user/o%27brien/", {"user": "o'brien", "server_name": ""}
    file = tmp_path / "routes.yaml"

    async def add() -> dict[str, Any]:
        proxy = a_proxy(tmp_path)
        proxy._start_future = asyncio.get_running_loop().create_future()
        proxy._start_future.set_result(None)
        await proxy.add_route(spec, "http://127.0.0.1:9", data)
        first = file.stat()
        await proxy.add_route(spec, "http://127.0.0.1:9", data)
        assert (file.stat().st_ino, file.stat().st_mtime_ns) == (first.st_ino, first.st_mtime_ns)
        await proxy.add_route(spec, "http://127.0.0.1:10", data)
        assert "127.0.0.1:10" in file.read_text()
        route: dict[str, Any] = await proxy.get_route(spec)
        return route

    assert asyncio.run(add()) == {"routespec": spec, "target": "http://127.0.0.1:10", "data": data}
    assert len(knowing) == 9 and len(set(knowing)) == 1
    assert "PathPrefix(`/courses/a/user/o%27brien/`)" in file.read_text()


@pytest.mark.parametrize("name", ["sam", "é あ 😀", 'a\\b"|{}', "a\x7fb\x85c\u2028d\ufeffe"])
def test_the_file_of_routes_is_json_and_yaml(tmp_path: Path, name: str) -> None:
    file = RoutesFile(str(tmp_path / "routes.yaml"))
    routes = {"http": {"routers": {"x": {"rule": rule(f"/u/{quote(name, safe='')}/")}}}, "data": {"user": name}}
    file.atomic_dump(routes)
    text = (tmp_path / "routes.yaml").read_text()
    assert json.loads(text) == YAML(typ="safe").load(text) == file.load() == routes


def test_a_file_of_routes_in_yaml_is_read(tmp_path: Path) -> None:
    (tmp_path / "routes.yaml").write_text("http:\n  routers:\n    x: {rule: Path(`/a`)}\n")
    assert RoutesFile(str(tmp_path / "routes.yaml")).load() == {"http": {"routers": {"x": {"rule": "Path(`/a`)"}}}}


def test_the_proxy_writes_such_a_file(tmp_path: Path) -> None:
    async def handler() -> Any:
        return a_proxy(tmp_path).dynamic_config_handler

    assert isinstance(asyncio.run(handler()), RoutesFile)


def test_route_with_a_backquote_is_not_written(tmp_path: Path, knowing: list[str]) -> None:
    async def add() -> None:
        proxy = a_proxy(tmp_path)
        proxy._start_future = asyncio.get_running_loop().create_future()
        proxy._start_future.set_result(None)
        await proxy.add_route("/courses/a/user/x%60y/", "http://127.0.0.1:9", {})

    with pytest.raises(ValueError, match="backquote"):
        asyncio.run(add())
    assert not (tmp_path / "routes.yaml").exists() and not knowing


def test_edge_that_does_not_take_a_route_up_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(_proxy: CourseProxy, _router: str) -> bool:
        return False

    monkeypatch.setattr(CourseProxy, "_edge_knows", never)

    async def wait() -> None:
        proxy = a_proxy(tmp_path)
        proxy.check_route_timeout = 0
        await proxy._wait_for_route("/u/sam/")

    with pytest.raises(TimeoutError, match="did not take up the route /u/sam/"):
        asyncio.run(wait())


def test_edge_that_is_away_counts_as_not_knowing(tmp_path: Path) -> None:
    async def ask() -> bool:
        return await a_proxy(tmp_path)._edge_knows("x@file")

    assert asyncio.run(ask()) is False
