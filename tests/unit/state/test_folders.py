"""Each course has places of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.models import a_site

from coursewarehub.state.folders import CourseFolders, SiteFolders, extra_files
from coursewarespawner.plan import homes_folder, shared_folder

PLACES = (
    "state", "database", "cookie_secret", "effective", "content", "checkout", "homes", "shared", "log", "server_logs",
    "routes",
)  # fmt: skip
ON_STORAGE = {"content", "homes", "shared"}


def test_places_of_a_course() -> None:
    site = SiteFolders(Path("/site"))
    assert {place: str(getattr(site.course("alpha"), place)) for place in PLACES} == {
        "state": "/site/state/courses/alpha",
        "database": "/site/state/courses/alpha/hub.sqlite",
        "cookie_secret": "/site/state/courses/alpha/cookie_secret",
        "effective": "/site/state/courses/alpha/effective.json",
        "content": "/site/state/courses/alpha/content",
        "checkout": "/site/state/courses/alpha/content/checkout",
        "homes": "/site/homes/alpha",
        "shared": "/site/shared/alpha",
        "log": "/site/state/logs/hub-alpha.log",
        "server_logs": "/site/state/logs/servers/alpha",
        "routes": "/site/state/edge/routes/course-alpha.yaml",
    }


STORAGE = "/srv/courseware"


@pytest.mark.parametrize(
    ("spawner", "storage"),
    [
        ({"kind": "docker"}, "/site"),
        ({"kind": "docker", "storage": STORAGE}, STORAGE),
        ({"kind": "swarm", "storage": STORAGE}, STORAGE),
    ],
)
def test_places_with_containers(spawner: dict[str, str], storage: str) -> None:
    """What containers mount is on the storage, and of the material only what is published."""
    local, folders = SiteFolders(Path("/site")), SiteFolders.of(Path("/site"), a_site(spawner=spawner))
    assert folders.storage == Path(storage)
    course = folders.course("alpha")
    assert {place: str(getattr(course, place)) for place in ON_STORAGE} == {
        "content": f"{storage}/published/alpha",
        "homes": f"{storage}/homes/alpha",
        "shared": f"{storage}/shared/alpha",
    }
    assert course.checkout == course.state / "checkout"
    for place in set(PLACES) - ON_STORAGE - {"checkout"}:
        assert getattr(course, place) == getattr(local.course("alpha"), place), place
    # The same places that the plan of a container mounts.
    assert (course.homes, course.shared) == (
        homes_folder(Path(storage), "alpha"),
        shared_folder(Path(storage), "alpha"),
    )


def test_local_processes_need_no_storage() -> None:
    assert SiteFolders.of(Path("/site"), a_site()) == SiteFolders(Path("/site"))


@pytest.mark.parametrize("storage", [None, Path("/srv/courseware")])
def test_no_two_courses_share_a_place(storage: Path | None) -> None:
    site = SiteFolders(Path("/site"), storage)
    ids = ("alpha", "alpha-b", "b", "alpha-content", "servers")
    places = [getattr(site.course(i), place) for i in ids for place in PLACES]
    assert len(set(places)) == len(places)
    assert len({site.course_secrets(i) for i in ids}) == len(ids)


def test_what_is_not_for_learners_is_in_the_folder_closed_to_them() -> None:
    site = SiteFolders(Path("/site"))
    closed = (
        site.secrets,
        site.run,
        site.logs,
        site.edge,
        site.routes,
        site.control_socket,
        site.lock,
        site.parent("hub"),
    )
    assert all(place.is_relative_to(site.state) for place in closed)
    assert isinstance(site.course("a"), CourseFolders)
    assert not site.course("a").homes.is_relative_to(site.state)


def test_operators_own_settings_in_order(tmp_path: Path) -> None:
    assert extra_files(tmp_path) == []
    (tmp_path / "hub.d").mkdir()
    for name in ("20-b.py", "10-a.py", "9-c.py", ".10-a.py.swp", ".hidden.py", "notes.txt", "x.py~"):
        (tmp_path / "hub.d" / name).write_text("")
    assert [file.name for file in extra_files(tmp_path)] == ["10-a.py", "20-b.py", "9-c.py"]
