"""A site deployed on the Swarm of a test bed, handled as its operator does it: on the manager, by the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from coursewarehub.hub.engine_state import EngineState
from coursewarehub.state.folders import SiteFolders
from support.engines import Engine
from support.sites import RunningSite, SiteFolder, eventually
from support.swarm import SwarmBed

LABEL = "coursewarehub"


class DeployedSite(RunningSite):
    """`coursewarehub deploy swarm` of a site folder that lies on the host of the bed."""

    def __init__(self, bed: SwarmBed, root: Path, images: dict[str, str], **spawner: Any) -> None:
        self.bed = bed
        self.images = images
        settings = {
            "kind": "swarm",
            "storage": str(bed.storage),
            "image": images["singleuser"],
            **spawner,
        }
        super().__init__(SiteFolder(root, host=bed.manager.address, spawner=settings), bed.manager.inside)

    def add_course(self, course_id: str, **changes: Any) -> None:
        resources = {"memory": "512M", "cpu": 1, "temporary": "64M", **changes.pop("resources", {})}
        self.folder.add_course(course_id, resources=resources, **changes)

    def open_course(self, course_id: str, **changes: Any) -> None:
        """Add a course to the running site, and wait until it is there, and its network."""
        self.add_course(course_id, **changes)
        own = {"label": {f"{LABEL}.course={course_id}": True}}
        eventually(lambda: course_id in self._course_ids(), 20, every=0.5)
        eventually(lambda: self.bed.manager.api("GET", "/networks", filters=own), 20, every=0.5)

    def remove_course(self, course_id: str) -> None:
        """Take a course out of the running site."""
        (self.folder.root / "courses.d" / f"{course_id}.yaml").unlink()
        eventually(lambda: course_id not in self._course_ids(), 30, every=0.5)

    def _course_ids(self) -> set[str]:
        return {course["id"] for course in self.status()["courses"]}

    def deploy(self) -> str:
        """Deploy it; what the command printed."""
        return self.cli("deploy", "swarm", "--yes", "--hub-image", self.images["hub"], timeout=300).stdout

    def wait_ready(self, nodes: int = 3, seconds: float = 120) -> None:
        """Until that many nodes are ready for learners' servers, and the hubs know that servers may start."""
        told = EngineState(SiteFolders(self.folder.root).engine_state)

        def ready() -> bool:
            engine = self.status().get("engine") or {}
            return told.fenced and sum(bool(node["ready"]) for node in engine.get("nodes", [])) >= nodes

        eventually(ready, seconds, every=1)

    # What runs

    def services(self) -> list[dict[str, Any]]:
        """The learners' servers as Docker knows them."""
        wanted = {"label": {f"{LABEL}.kind=server": True}}
        found: list[dict[str, Any]] = self.bed.manager.api("GET", "/services", filters=wanted)
        return found

    def service_of(self, user: str, course_id: str = "alpha") -> dict[str, Any] | None:
        """The service of one student's server."""
        for service in self.services():
            labels = service["Spec"]["Labels"]
            if labels[f"{LABEL}.user"] == user and labels[f"{LABEL}.course"] == course_id:
                return service
        return None

    def node_of(self, user: str, course_id: str = "alpha") -> str:
        """Name of the machine on which a student's server runs."""
        service = self.service_of(user, course_id)
        assert service is not None, f"{user} has no server"
        names = {node["ID"]: name for name, node in self.bed.nodes().items()}
        return names[self.bed.tasks(service["ID"])[0]["NodeID"]]

    def container_of(self, user: str, course_id: str = "alpha") -> tuple[str, str]:
        """Machine and container id of a student's server."""
        service = self.service_of(user, course_id)
        assert service is not None, f"{user} has no server"
        task = self.bed.tasks(service["ID"])[0]
        names = {node["ID"]: name for name, node in self.bed.nodes().items()}
        return names[task["NodeID"]], task["Status"]["ContainerStatus"]["ContainerID"]

    def machine_of(self, user: str, course_id: str = "alpha") -> tuple[Engine, str]:
        """Engine and container of a student's server."""
        node, container = self.container_of(user, course_id)
        return self.bed[node], container

    def site_container(self) -> str:
        """Id of the container in which the site runs."""
        wanted = {"label": {f"{LABEL}.kind=site": True}}
        found = self.bed.manager.api("GET", "/containers/json", filters=wanted)
        assert len(found) == 1, found
        return str(found[0]["Id"])

    def in_container(self, *command: str) -> str:
        """Run a command in the site's container."""
        return self.bed.docker("exec", self.site_container(), *command)
