"""`coursewarehub deploy swarm` and `coursewarehub node` on a real Swarm, with an image that stands in for the hub's.

The stand-in answers at the front door's port with the password that it reads, takes down which servers it is asked to
stop, and plays the agent: what is tested here is deploying, not the site.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.engines import BASE, Engine
from support.sites import PASSWORD, SiteFolder, eventually
from support.swarm import NAMES, SwarmBed

from coursewarehub.model import load_site
from coursewarehub.site import status
from coursewarehub.state.folders import SiteFolders
from coursewarehub.state.identity import site_id
from coursewarehub.wire import labels
from coursewarehub.wire.control import NodeNotice

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SITE_PROGRAM = r"""#!/usr/bin/perl
use IO::Socket::INET;
my ($root) = "@ARGV" =~ /--site (\S+)/;
sub content { open my $file, '<', $_[0] or return ''; local $/; return <$file> }
my ($port) = content("$root/site.yaml") =~ /"port": (\d+)/;
my $socket = IO::Socket::INET->new(LocalPort => $port, Listen => 20, ReuseAddr => 1) or die;
$SIG{TERM} = sub { exit 0 };
while (my $client = $socket->accept) {
    my $asked = <$client>;
    my ($stopped) = $asked =~ /^DELETE (\S+)/;
    if ($stopped) { open my $log, '>>', "$root/stopped"; print $log "$stopped\n"; close $log }
    my $body = $stopped ? '' : 'password=' . content("$root/password");
    my $status = $stopped ? '204 No Content' : '200 OK';
    print $client "HTTP/1.0 $status\r\nContent-Length: " . length($body) . "\r\n\r\n$body";
    close $client;
}
"""
AGENT_PROGRAM = """#!/bin/sh
[ "$3" = --check ] && exit 0
exec sleep 1000000
"""


def stand_in(engine: Engine) -> str:
    """The image that stands in for the hub's, in the bed's registry; its name there."""
    container = engine.docker("create", BASE, "true")
    for name, text in (("coursewarehub", SITE_PROGRAM), ("python", AGENT_PROGRAM)):
        program = engine.folder / name
        program.write_text(text)
        program.chmod(0o755)
        engine.docker("cp", str(program), f"{container}:/usr/local/bin/{name}")
    engine.docker("commit", container, "coursewarehub/stand-in:1")
    engine.docker("rm", container)
    return engine.publish("coursewarehub/stand-in:1")


class Site:
    """A site folder on the machines' common disk, and the command line as on one of them."""

    def __init__(self, bed: SwarmBed, image: str, root: Path) -> None:
        self.bed = bed
        self.image = image
        self.root = root
        spawner = {"kind": "swarm", "storage": str(bed.storage)}
        self.folder = SiteFolder(root, "0.0.0.0", spawner=spawner)
        self.folder.add_course("demo", authentication={"method": "dummy", "password": "file:password"})
        self.id = site_id(SiteFolders(root))

    def run(self, *arguments: str, on: str = "n1") -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "coursewarehub", *arguments, "--site", str(self.root)]
        inside = self.bed[on].inside(*command)
        return subprocess.run(
            inside, capture_output=True, text=True, timeout=240, check=False, stdin=subprocess.DEVNULL
        )

    def deploy(self, *arguments: str, image: str | None = None, **options: Any) -> subprocess.CompletedProcess[str]:
        return self.run("deploy", "swarm", "--hub-image", image or self.image, *arguments, **options)

    def done(self, *arguments: str, **options: Any) -> list[str]:
        """Deploy; the lines it printed."""
        found = self.deploy("--yes", *arguments, **options)
        assert found.returncode == 0, found
        return found.stdout.splitlines()

    def change(self, **edge: Any) -> None:
        site = json.loads((self.root / "site.yaml").read_text())
        site["edge"] |= edge
        (self.root / "site.yaml").write_text(json.dumps(site))

    def objects(self, kind: str) -> dict[str, dict[str, Any]]:
        """Services or secrets of the site, by what they are."""
        found = self.bed.manager.api("GET", f"/{kind}", filters={"label": {f"{labels.SITE}={self.id}": True}})
        name = labels.KIND if kind == "services" else labels.FILE
        return {item["Spec"]["Labels"][name]: item for item in found}

    def says(self, port: int | None = None) -> str:
        """What the front door answers."""
        url = f"http://{self.bed.manager.address}:{port or self.folder.port}/"
        with urllib.request.urlopen(url, timeout=5) as answer:
            return str(answer.read().decode())


@pytest.fixture(scope="session")
def image(open_swarm: SwarmBed) -> str:
    return stand_in(open_swarm.manager)


@pytest.fixture
def site(swarm: SwarmBed, image: str, tmp_path: Path) -> Site:
    return Site(swarm, image, tmp_path / "site")


def test_from_nothing_to_a_site_and_then_nothing_to_do(site: Site) -> None:
    shown = site.deploy("--dry-run")
    assert shown.returncode == 0, shown
    assert shown.stdout.splitlines() == [
        "+ secret file:password",
        "+ service site",
        "+ service agent",
        "nothing was changed (--dry-run)",
    ]
    assert site.objects("services") == site.objects("secrets") == {}

    lines = site.done()
    assert lines[3:] == [
        "secret file:password: created",
        "service site: created",
        "service agent: created",
        f"CoursewareHub is ready: http://{site.bed.manager.address}:{site.folder.port}/",
    ]
    assert f"password={PASSWORD}" in site.says()
    assert site.objects("services").keys() == {"site", "agent"}
    agent = site.objects("services")["agent"]["Spec"]["Name"]
    eventually(lambda: site.bed.running_on(agent) == list(NAMES), 60)

    before = site.objects("services")
    assert site.done()[0] == "nothing to do"
    assert site.deploy("--dry-run").stdout == "nothing to do\n"
    assert site.objects("services") == before


def test_it_runs_what_the_registry_has_by_digest(site: Site) -> None:
    site.done()
    found = site.objects("services")["site"]["Spec"]["TaskTemplate"]["ContainerSpec"]["Image"]
    assert found.startswith(f"{site.image}@sha256:")


def test_a_change_is_shown_and_made(site: Site) -> None:
    site.done()
    old = site.folder.port
    new = SiteFolder(site.root.parent / "other").port
    site.change(port=new)
    lines = site.done()
    assert lines[:3] == [
        "~ service site",
        f"    EndpointSpec.Ports[0].TargetPort: {old} -> {new}",
        f"    EndpointSpec.Ports[0].PublishedPort: {old} -> {new}",
    ]
    assert lines[-1] == f"CoursewareHub is ready: http://{site.bed.manager.address}:{new}/"
    assert PASSWORD in site.says(new)
    with pytest.raises(OSError, match="refused"):
        site.says(old)


def test_what_somebody_changed_by_hand_is_put_right(site: Site) -> None:
    site.done()
    name = site.objects("services")["site"]["Spec"]["Name"]
    site.bed.docker("service", "update", "--detach", "--replicas", "0", name)
    assert "    Replicas: 0 -> 1" in site.done()
    eventually(lambda: site.bed.running_on(name) == ["n1"], 30)


def test_a_secret_with_new_content_reaches_the_site_and_no_terminal(site: Site) -> None:
    site.done()
    (old,) = site.objects("secrets").values()
    (site.root / "password").write_text("something else entirely\n")
    found = site.deploy("--yes")
    assert found.returncode == 0, found
    assert found.stdout.splitlines()[0] == "~ secret file:password"
    assert "something else" not in found.stdout + found.stderr
    assert PASSWORD not in found.stdout + found.stderr
    (new,) = site.objects("secrets").values()
    assert new["ID"] != old["ID"]
    assert "something else entirely" in site.says()
    shown = json.dumps(site.bed.manager.api("GET", "/services"))
    assert "something else" not in shown


def test_a_secret_that_is_needed_no_longer_is_removed(site: Site) -> None:
    site.done()
    site.folder.add_course("demo", authentication={"method": "dummy"})
    assert "secret file:password: removed" in site.done()
    assert site.objects("secrets") == {}


def test_nobody_to_ask_changes_nothing(site: Site) -> None:
    found = site.deploy()
    assert found.returncode == 1
    assert found.stderr == "coursewarehub: Nobody can be asked whether to do this; say `--yes`.\n"
    assert site.objects("services") == {}


def test_an_image_that_is_nowhere_ends_in_a_sentence(site: Site) -> None:
    found = site.deploy("--yes", image=f"{site.bed.registry.address}/coursewarehub/none:1")
    assert found.returncode == 1
    assert "no registry knows the image" in found.stdout
    assert len(found.stderr.splitlines()) == 1, found.stderr
    assert found.stderr.startswith("coursewarehub: The site does not come up: No such image")
    assert site.done()[-1].startswith("CoursewareHub is ready: ")


def test_a_worker_is_no_place_to_deploy_from(site: Site) -> None:
    for arguments in (["deploy", "swarm", "--yes"], ["node", "list"]):
        found = site.run(*arguments, on="n2")
        assert found.returncode == 1
        assert found.stderr == (
            "coursewarehub: The engine at unix:///var/run/docker.sock is a worker; "
            "run this on a manager of the swarm.\n"
        )


def test_a_site_that_runs_here_already_is_not_deployed(site: Site) -> None:
    with control_socket(site, []):
        found = site.deploy("--yes")
    assert found.returncode == 1
    assert (
        found.stderr == "coursewarehub: The site runs on this machine by `coursewarehub up`; end that, then deploy.\n"
    )


# --- nodes -------------------------------------------------------------------------------------


def server(site: Site, user: str, node: str) -> str:
    """A service that looks like a learner's server, on a node; its name."""
    own = {labels.SITE: site.id, labels.KIND: "server", labels.COURSE: "demo", labels.USER: user, labels.SERVER: ""}
    given = [word for name, value in own.items() for word in ("--label", f"{name}={value}")]
    site.bed.docker(
        *("service", "create", "--quiet", "--detach", "--endpoint-mode", "dnsrr", "--restart-condition", "none"),
        *("--name", f"server-{user}", "--constraint", f"node.hostname=={node}", "--stop-grace-period", "1s"),
        *(*given, f"{site.bed.registry.address}/{BASE}", "sleep", "100000"),
    )
    eventually(lambda: site.bed.running_on(f"server-{user}") == [node], 60)
    return f"server-{user}"


@contextmanager
def control_socket(site: Site, heard: list[NodeNotice]) -> Iterator[None]:
    """What the site process answers on its socket, as long as this lasts."""
    ready, over = threading.Event(), threading.Event()

    async def notify(notice: NodeNotice) -> int:
        heard.append(notice)
        return 1

    async def serve() -> None:
        socket = SiteFolders(site.root).control_socket
        socket.parent.mkdir(parents=True, exist_ok=True)
        answering = status.serve(socket, lambda: {"ready": True}, notify)
        ready.set()
        await asyncio.to_thread(over.wait)
        answering.stop()
        socket.unlink()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    try:
        assert ready.wait(10)
        yield
    finally:
        over.set()
        thread.join()


@contextmanager
def obeying_hub(site: Site) -> Iterator[list[str]]:
    """Removes the services that the stand-in was asked to stop, as a hub does; yields what it was asked."""
    asked: list[str] = []
    over = threading.Event()

    def obey() -> None:
        file = site.root / "stopped"
        while not over.wait(0.1):
            paths = file.read_text().splitlines() if file.exists() else []
            for path in paths[len(asked) :]:
                asked.append(path)
                site.bed.docker("service", "rm", f"server-{path.split('/')[6]}")

    thread = threading.Thread(target=obey)
    thread.start()
    try:
        yield asked
    finally:
        over.set()
        thread.join()


def listed(site: Site) -> dict[str, dict[str, Any]]:
    found = site.run("node", "list", "--json")
    assert found.returncode == 0, found
    return {node["name"]: node for node in json.loads(found.stdout)}


def mark_ready(site: Site, node: str) -> str:
    """Give a node the label that the site gives it when it is ready; its name."""
    loaded = load_site(site.root)
    label = labels.ready(site.id, getattr(loaded.site.spawner, "image", ""))
    site.bed.docker("node", "update", "--label-add", f"{label}=true", node)
    return label


def test_nodes_are_listed_with_what_they_are_ready_for(site: Site) -> None:
    server(site, "ada", "n2")
    mark_ready(site, "n2")
    nodes = listed(site)
    assert list(nodes) == list(NAMES)
    assert [(node["role"], node["servers"], node["ready"]) for node in nodes.values()] == [
        ("manager", 0, []),
        ("worker", 1, ["demo"]),
        ("worker", 0, []),
    ]
    assert nodes["n1"]["leader"] and nodes["n1"]["memory"] > 2**30 and nodes["n1"]["cores"] >= 1
    assert nodes["n3"]["reasons"] == ["not ready for demo: the image, the storage or the agent is missing there"]
    shown = site.run("node", "list").stdout.splitlines()
    assert shown[0].split() == ["node", "role", "state", "takes", "cores", "memory", "servers", "ready", "for"]
    assert shown[-3].split()[-2:] == ["1", "demo"]


def test_f08_drain_tells_stops_through_the_hub_and_empties(site: Site) -> None:
    site.done()
    agent = site.objects("services")["agent"]["Spec"]["Name"]
    eventually(lambda: site.bed.running_on(agent) == list(NAMES), 60)
    server(site, "ada", "n2")
    server(site, "bob", "n3")
    heard: list[NodeNotice] = []
    with control_socket(site, heard), obeying_hub(site) as asked:
        found = site.run("node", "drain", "n2", "--notice", "2", "--message", "Back at noon.")
    assert found.returncode == 0, found
    assert found.stdout.splitlines() == [
        "n2: no new servers start there",
        "n2: 1 of 1 servers show the notice; waiting 2 s",
        "n2: stopping 1 server",
        "n2 is drained: nothing of the site runs there",
    ]
    assert heard == [NodeNotice("n2", {"en": "Back at noon."}, 2)]
    assert asked == ["/courses/demo/hub/api/users/ada/server"]
    assert site.bed.running_on("server-bob") == ["n3"]
    assert site.bed.running_on(agent) == ["n1", "n3"]
    assert listed(site)["n2"]["availability"] == "drain"

    again = site.run("node", "drain", "n2", "--notice", "60")
    assert (again.returncode, again.stdout) == (0, "n2 is drained already\n")

    back = site.run("node", "resume", "n2")
    assert (back.returncode, back.stdout) == (0, "n2 takes servers again, as soon as the site finds it ready\n")
    assert site.bed.nodes()["n2"]["Spec"]["Labels"] == {}
    eventually(lambda: site.bed.running_on(agent) == list(NAMES), 60)
    assert site.run("node", "resume", "n2").stdout == "n2 takes servers already\n"


def test_f08_drain_without_anybody_to_ask_still_empties(site: Site) -> None:
    server(site, "ada", "n3")
    found = site.run("node", "drain", "n3", "--notice", "1")
    assert found.returncode == 0, found
    lines = found.stdout.splitlines()
    assert lines[1] == "! the site cannot be asked to tell them: it does not run, or not on this machine"
    assert lines[2] == "n3: 0 of 1 servers show the notice; waiting 1 s"
    assert lines[4].startswith("! the hub of demo does not answer; its servers end with the node")
    assert lines[-1] == "n3 is drained: nothing of the site runs there"
    assert site.bed.running_on("server-ada") == []


def test_the_node_of_the_site_keeps_it(site: Site) -> None:
    site.done()
    server(site, "ada", "n1")
    with control_socket(site, []), obeying_hub(site):
        found = site.run("node", "drain", "n1", "--notice", "0")
    assert found.returncode == 0, found
    assert found.stdout.splitlines()[-1] == ("n1 takes no servers; it keeps the site, whose folder is on no other node")
    assert PASSWORD in site.says()
    assert listed(site)["n1"]["reasons"] == ["takes no new servers (paused; `coursewarehub node resume` ends that)"]
    assert site.run("node", "resume", "n1").returncode == 0
    assert site.bed.nodes()["n1"]["Spec"]["Availability"] == "active"


def test_a_node_that_is_none(site: Site) -> None:
    for verb in ("drain", "resume"):
        found = site.run("node", verb, "n9")
        assert found.returncode == 1
        assert found.stderr == "coursewarehub: There is no node `n9`; there are n1, n2, n3.\n"
