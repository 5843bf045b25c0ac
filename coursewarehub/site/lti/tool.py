"""The site as platforms know it: its addresses, its name, and what it asks for. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

from coursewareauthenticator.lti.documents import Tool
from coursewarehub.model.course import Course
from coursewarehub.model.site import Site
from coursewarehub.wire import paths

SCOPES: Final[tuple[str, ...]] = ()
"""Of the platform's services that are in use; none yet. Platforms are asked for nothing that is not used."""
DESCRIPTION: Final = "Jupyter notebooks in the browser, for courses"


@dataclass(frozen=True)
class Addresses:
    """The site's complete public addresses for platforms; `public` is what people type, with a slash at the end."""

    public: str

    def of(self, name: str) -> str:
        """The address of one of `launch`, `login`, `callback`, `jwks`, `config.json`, `config.xml`, `register/...`."""
        return f"{self.public.rstrip('/')}{paths.LTI}{name}"

    def launch(self, course_id: str | None = None) -> str:
        """Where links lead: to any course, or to one."""
        query = f"?{urlencode({'course': course_id})}" if course_id else ""
        return self.of("launch") + query

    @property
    def callbacks(self) -> tuple[str, ...]:
        """Where logins of LTI 1.3 may end. Some platforms send the content to choose from to the tool's address."""
        return (self.of("callback"), self.of("launch"))


def tool_of(site: Site, addresses: Addresses, course: Course | None = None) -> Tool:
    """The whole site as a tool, or one course of it."""
    of_course = course.description.text(site.language) if course is not None else ""
    return Tool(
        title=(course or site).title.text(site.language),
        description=of_course or DESCRIPTION,
        login_url=addresses.of("login"),
        launch_url=addresses.launch(course.id if course is not None else None),
        jwks_url=addresses.of("jwks"),
    )
