"""Who somebody is in a course, and what the container of their server is: the hub's answers to its spawner."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

from coursewarehub.engine.states import Reason as Obstacle
from coursewarehub.hub.engine_state import EngineState
from coursewarehub.i18n import N_
from coursewarehub.model import Course, Reason, Role, Site, decide
from coursewarehub.model.networks import CourseNetwork
from coursewarehub.state.folders import SiteFolders
from coursewarehub.state.identity import site_id
from coursewarespawner.plan import ContainerPlan, Member, Surroundings, plan_container

NO_NETWORK: Final = N_("All networks of this site are taken, so this course has none.")
NOT_FENCED: Final = N_("The network rules that keep learners apart are not in force.")

_NETWORK_SECONDS: Final = 15.0
_LOOK_SECONDS: Final = 0.1


def member_of(course: Course) -> Callable[[str, Sequence[str]], Member]:
    """The function that says who a user is: the role by the course's list, else by the hub's group of its name."""

    def member(name: str, groups: Sequence[str]) -> Member:
        listed = decide(course, name, now=datetime.now().astimezone())
        by_group = next((role for role in Role if role in groups), None)
        role = listed.role if listed.reason is not Reason.STRANGER else by_group or listed.role
        return Member(name, role or by_group, tuple(groups))

    return member


def planner(
    site: Site, course: Course, folders: SiteFolders, network: CourseNetwork
) -> Callable[[Member], ContainerPlan]:
    """The function that says what the container of a member's server is."""
    surroundings = Surroundings(
        site_id=site_id(folders),
        storage=folders.storage or folders.root,
        network=network,
        content=folders.course(course.id).content if course.content else None,
    )

    def plan(member: Member) -> ContainerPlan:
        return plan_container(site, course, member, surroundings)

    return plan


def obstacle_in(file: Path, network: CourseNetwork | None) -> Callable[[], Awaitable[Obstacle | None]]:
    """The function that says why no server may start now; it reads what the site process wrote into `file`.

    The network of a course that is new may still be being made: that is waited for, but not for ever, and then the
    engine says what is wrong.
    """
    state = EngineState(file)

    async def obstacle() -> Obstacle | None:
        if network is None:
            return Obstacle(NO_NETWORK)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_NETWORK_SECONDS):
                while not state.has(network.name):
                    await asyncio.sleep(_LOOK_SECONDS)
        return None if state.fenced else Obstacle(NOT_FENCED)

    return obstacle
