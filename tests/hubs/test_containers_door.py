"""What learners' containers reach at the front door, asked of the real Traefik from addresses of two networks.

Loopback addresses stand for the networks of two courses: each connection comes from one of them.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from support.models import a_site
from support.sites import free_pair, free_port

from coursewarehub.model.networks import CourseNetwork
from coursewarehub.site.edge import CourseDoor, Edge, EdgePorts, site_routes
from coursewarehub.state.folders import SiteFolders

pytestmark = pytest.mark.slow


class Hub(BaseHTTPRequestHandler):
    """Says what it was asked, and by whom it was told."""

    def do_GET(self) -> None:
        port = self.server.server_address[1]
        told = {name.lower(): value for name, value in self.headers.items()}
        body = json.dumps({"port": port, "path": self.path, "headers": told}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


def network(third: int) -> CourseNetwork:
    return CourseNetwork(f"n{third}", f"127.0.{third}.0/24", "", "", "")


class Door:
    """A running Traefik in front of two hubs."""

    def __init__(self, root: Path) -> None:
        self.hubs = {course: ThreadingHTTPServer(("127.0.0.1", 0), Hub) for course in ("alpha", "beta")}
        for hub in self.hubs.values():
            threading.Thread(target=hub.serve_forever, daemon=True).start()
        self.servers, self.web = free_pair(), free_port()
        spawner = {"kind": "docker", "port": self.servers}
        site = a_site(edge={"port": self.web, "public_url": "http://x.example.org"}, spawner=spawner)
        folders = SiteFolders(root)
        for folder in (folders.routes, folders.run, folders.logs):
            folder.mkdir(parents=True)
        ports = EdgePorts(api=free_port(), portal=free_port())
        doors = {
            course: CourseDoor(hub.server_address[1], network(number))
            for number, (course, hub) in enumerate(self.hubs.items(), start=1)
        }
        routes = site_routes(site, root, ports, doors, "secret")
        (folders.routes / "site.yaml").write_text(json.dumps(routes))
        self.edge = Edge(site, folders, ports)
        asyncio.run(self.edge.start())

    def ask(self, source: str, path: str, **headers: str) -> tuple[int, dict[str, Any]]:
        """Status, and what the hub was told (nothing when no hub was asked)."""
        connection = http.client.HTTPConnection("127.0.0.1", self.servers, 10, source_address=(source, 0))
        connection.putrequest("GET", path, skip_host=False)
        for name, value in headers.items():
            connection.putheader(name.replace("_", "-"), value)
        connection.endheaders()
        answer = connection.getresponse()
        said = answer.read()
        connection.close()
        return answer.status, json.loads(said) if answer.status == 200 else {}

    def close(self) -> None:
        asyncio.run(self.edge.stop())
        for hub in self.hubs.values():
            hub.shutdown()
            hub.server_close()


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    made = Door(tmp_path_factory.mktemp("door"))
    yield made
    made.close()


ALPHA, BETA, ELSEWHERE = "127.0.1.7", "127.0.2.7", "127.0.0.1"


@pytest.mark.parametrize("path", ["/hub/api", "/hub/api/", "/hub/api/user?x=1", "/hub/api/oauth2/token"])
@pytest.mark.parametrize(("course", "source"), [("alpha", ALPHA), ("beta", BETA)])
def test_own_hubs_api(door: Door, course: str, source: str, path: str) -> None:
    status, told = door.ask(source, f"/courses/{course}{path}")
    assert status == 200
    assert told["port"] == door.hubs[course].server_address[1] and told["path"] == f"/courses/{course}{path}"


REFUSED = (
    "/",
    "/api/overview",
    "/api/rawdata",
    "/courses/alpha/",
    "/courses/alpha/hub/login",
    "/courses/alpha/hub/apix",
    "/courses/alpha/hub/api/../login",
    "/courses/alpha/hub/api/%2e%2e/login",
    "/courses/alpha/hub/api/..%2flogin",
    "/courses/alpha/hub/api/../../../beta/hub/api/users",
    "/courses/alpha/hub//login",
    "/courses/alpha/user/kim/lab",
    "//courses/alpha/hub/login",
    "/dashboard/",
    "/assets/courseware.css",
)


@pytest.mark.parametrize("path", REFUSED)
def test_nothing_else(door: Door, path: str) -> None:
    """No other page, no other course, however it is spelt."""
    assert door.ask(ALPHA, path)[0] in (301, 400, 404)


@pytest.mark.parametrize(
    ("source", "course"), [(ALPHA, "beta"), (BETA, "alpha"), (ELSEWHERE, "alpha"), (ELSEWHERE, "beta")]
)
@pytest.mark.parametrize(
    "header", ["", "X_Forwarded_For", "X_Real_Ip", "Forwarded", "CF_Connecting_IP", "True_Client_IP"]
)
def test_other_courses_and_strangers_reach_no_hub(door: Door, source: str, course: str, header: str) -> None:
    """Nor do they by saying that they are somebody else."""
    claimed = {"alpha": ALPHA, "beta": BETA}[course]
    value = f"for={claimed}" if header == "Forwarded" else claimed
    status, _ = door.ask(source, f"/courses/{course}/hub/api", **({header: value} if header else {}))
    assert status == 404


def test_what_a_container_says_of_its_connection_does_not_reach_the_hub(door: Door) -> None:
    claims = {
        "X_Forwarded_For": "192.0.2.1",
        "X_Forwarded_Host": "evil.example.org",
        "X_Forwarded_Proto": "https",
        "X_Real_Ip": "192.0.2.1",
        "X_Scheme": "https",
        "Forwarded": "for=192.0.2.1;host=evil.example.org;proto=https",
    }
    _, told = door.ask(ALPHA, "/courses/alpha/hub/api", **claims)
    assert told["headers"]["x-forwarded-for"] == ALPHA
    assert told["headers"]["x-forwarded-proto"] == "http"
    assert not {"x-scheme", "forwarded"} & told["headers"].keys()
    assert "evil" not in str(told) and "192.0.2.1" not in str(told)
