"""Each course has places of its own."""

from __future__ import annotations

from pathlib import Path

from coursewarehub.state.folders import CourseFolders, SiteFolders, extra_files

PLACES = ("state", "database", "cookie_secret", "effective", "content", "homes", "log", "server_logs", "routes")


def test_places_of_a_course() -> None:
    site = SiteFolders(Path("/site"))
    assert {place: str(getattr(site.course("alpha"), place)) for place in PLACES} == {
        "state": "/site/state/courses/alpha",
        "database": "/site/state/courses/alpha/hub.sqlite",
        "cookie_secret": "/site/state/courses/alpha/cookie_secret",
        "effective": "/site/state/courses/alpha/effective.json",
        "content": "/site/state/courses/alpha/content",
        "homes": "/site/homes/alpha",
        "log": "/site/state/logs/hub-alpha.log",
        "server_logs": "/site/state/logs/servers/alpha",
        "routes": "/site/state/edge/routes/course-alpha.yaml",
    }


def test_no_two_courses_share_a_place() -> None:
    site = SiteFolders(Path("/site"))
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
