"""Learning platforms as ways to log in, for `CoursewareLogin.methods`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from coursewareauthenticator.lti.desk import Desk
from coursewareauthenticator.lti.handlers import handlers_of


class LtiMethod:
    """One platform. All platforms of a course share one desk, so the first one brings its addresses."""

    def __init__(self, name: str, desk: Desk, *, brings_handlers: bool) -> None:
        self._name = name
        self._desk = desk
        self._brings_handlers = brings_handlers

    def __repr__(self) -> str:
        return f"LtiMethod({self._name!r})"

    def __deepcopy__(self, _: object) -> LtiMethod:
        """traitlets copies what is configured; there is one desk."""
        return self

    @property
    def name(self) -> str:
        """What this way to log in is called in the course."""
        return self._name

    def handlers(self) -> Sequence[tuple[str, type[Any]]]:
        """Where launches arrive."""
        return handlers_of(self._desk) if self._brings_handlers else ()


def lti_methods(desk: Desk) -> list[LtiMethod]:
    """A method for each platform of the desk."""
    platforms = desk.setup.platforms.all
    return [LtiMethod(each.name, desk, brings_handlers=index == 0) for index, each in enumerate(platforms)]
