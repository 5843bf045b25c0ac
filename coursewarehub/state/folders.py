"""Where things are in a site folder. Pure: computes paths, makes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from coursewarehub.model import Site


@dataclass(frozen=True)
class CourseFolders:
    """The places of one course."""

    site: SiteFolders
    course_id: str

    @property
    def state(self) -> Path:
        """The hub's own folder."""
        return self.site.state / "courses" / self.course_id

    @property
    def database(self) -> Path:
        """The hub's SQLite database."""
        return self.state / "hub.sqlite"

    @property
    def cookie_secret(self) -> Path:
        """The hub's cookie secret."""
        return self.state / "cookie_secret"

    @property
    def effective(self) -> Path:
        """Site and course as the hub is to read them: the last valid configuration, as JSON."""
        return self.state / "effective.json"

    @property
    def content(self) -> Path:
        """Published material; `current` in it is what learners see. With a storage, their own accounts read it."""
        if self.site.storage is not None:
            return self.site.storage / "published" / self.course_id
        return self.state / "content"

    @property
    def checkout(self) -> Path:
        """What git fetched; with a storage it is not where learners' servers can look."""
        return self.state / "checkout" if self.site.storage is not None else self.content / "checkout"

    @property
    def homes(self) -> Path:
        """Learners' home folders."""
        return (self.site.storage or self.site.root) / "homes" / self.course_id

    @property
    def shared(self) -> Path:
        """The folder that the course's staff share with everybody in it; only with a storage."""
        return (self.site.storage or self.site.root) / "shared" / self.course_id

    @property
    def log(self) -> Path:
        """The hub's log."""
        return self.site.logs / f"hub-{self.course_id}.log"

    @property
    def server_logs(self) -> Path:
        """Logs of learners' servers."""
        return self.site.logs / "servers" / self.course_id

    @property
    def routes(self) -> Path:
        """The hub's file of routes in the folder that the edge watches."""
        return self.site.routes / f"course-{self.course_id}.yaml"


@dataclass(frozen=True)
class SiteFolders:
    """The places of one site.

    `storage` is the folder with what learners' containers mount (homes, shared folders, published material); None
    when servers are local processes, which read the material below the state folder.
    """

    root: Path
    storage: Path | None = None

    @classmethod
    def of(cls, root: Path, site: Site) -> SiteFolders:
        """The places of a site as it is configured."""
        spawner = site.spawner
        return cls(root, None if spawner.kind == "local" else spawner.storage_folder(root))

    @property
    def state(self) -> Path:
        """Everything the site keeps for itself (0700)."""
        return self.root / "state"

    @property
    def secrets(self) -> Path:
        """Secrets generated once (each 0600)."""
        return self.state / "secrets"

    @property
    def lti_keys(self) -> Path:
        """The tool's keys, with which all hubs sign what platforms are sent (each 0600)."""
        return self.secrets / "lti-keys"

    @property
    def lti_seal(self) -> Path:
        """The secret that seals launches on their way, one for all hubs, since a launch may end in another's."""
        return self.secrets / "lti-seal"

    @property
    def lti_links(self) -> Path:
        """Links by which a platform registers itself, once."""
        return self.state / "lti-links"

    @property
    def identity(self) -> Path:
        """The id that tells this site's containers apart from another's."""
        return self.state / "site-id"

    @property
    def run(self) -> Path:
        """Sockets and process records; worthless after a reboot."""
        return self.state / "run"

    @property
    def logs(self) -> Path:
        """Log files."""
        return self.state / "logs"

    @property
    def edge(self) -> Path:
        """The edge's configuration."""
        return self.state / "edge"

    @property
    def routes(self) -> Path:
        """The folder that the edge watches."""
        return self.edge / "routes"

    @property
    def networks(self) -> Path:
        """Which course has which network."""
        return self.state / "networks.json"

    @property
    def engine_state(self) -> Path:
        """What the site last found of the engine that runs the containers, for the hubs' pages."""
        return self.run / "engine.json"

    @property
    def templates(self) -> Path:
        """Compiled templates of the hubs' pages."""
        return self.state / "templates"

    @property
    def control_socket(self) -> Path:
        """The site process's own socket, for `coursewarehub status`."""
        return self.run / "site.socket"

    @property
    def lock(self) -> Path:
        """Held by the one site process of this folder."""
        return self.run / "site.lock"

    def course_secrets(self, course_id: str) -> Path:
        """Secrets of one course."""
        return self.secrets / "courses" / course_id

    def parent(self, kind: str) -> Path:
        """The folder of a prefork parent: `hub` or `server`."""
        return self.run / f"{kind}-parent"

    def course(self, course_id: str) -> CourseFolders:
        """The places of a course."""
        return CourseFolders(self, course_id)


def extra_files(root: Path) -> list[Path]:
    """The operator's own JupyterHub settings, in the order in which they are loaded; editors' hidden files are none."""
    return sorted(file for file in (root / "hub.d").glob("*.py") if not file.name.startswith("."))
