"""Links that hold good once, for a while."""

from __future__ import annotations

import threading
from pathlib import Path

from coursewarehub.state.lti_links import LIFETIME, Link, Links

NOW = 1_800_000_000.0
LINK = Link("moodle", NOW + LIFETIME, "moodle.local")


def test_a_link_is_taken_once(tmp_path: Path) -> None:
    links = Links(tmp_path / "links")
    token = links.make(LINK, NOW)
    assert len(token) == 43
    assert links.look(token, NOW) == links.look(token, NOW + LIFETIME) == LINK
    assert links.take(token, NOW) == LINK
    assert links.look(token, NOW) is None
    assert links.take(token, NOW) is None


def test_a_link_that_led_to_nothing_is_given_back(tmp_path: Path) -> None:
    links = Links(tmp_path)
    token = links.make(LINK, NOW)
    links.take(token, NOW)
    links.give_back(token)
    assert links.take(token, NOW) == LINK
    links.give_back("x" * 43)


def test_a_link_is_over_after_a_day(tmp_path: Path) -> None:
    links = Links(tmp_path)
    token = links.make(LINK, NOW)
    assert links.look(token, NOW + LIFETIME + 1) is None
    assert links.take(token, NOW + LIFETIME + 1) is None


def test_a_new_link_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    links = Links(tmp_path)
    first, other = links.make(LINK, NOW), links.make(Link("canvas", NOW + LIFETIME), NOW)
    second = links.make(LINK, NOW)
    assert links.look(first, NOW) is None
    assert links.look(second, NOW) == LINK
    assert links.look(other, NOW) == Link("canvas", NOW + LIFETIME)
    links.make(LINK, NOW + 2 * LIFETIME)
    assert len(list(tmp_path.iterdir())) == 1


def test_who_reads_the_folder_cannot_use_a_link(tmp_path: Path) -> None:
    folder = tmp_path / "links"
    token = Links(folder).make(LINK, NOW)
    (file,) = folder.iterdir()
    assert token not in file.name + file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700


def test_no_other_files_are_links(tmp_path: Path) -> None:
    links = Links(tmp_path / "links")
    for token in ("", "x", "../../site", "x" * 43, "é" * 43, "x" * 44, "a/b"):
        assert links.look(token, NOW) is None
        assert links.take(token, NOW) is None
    token = links.make(LINK, NOW)
    (file,) = (tmp_path / "links").iterdir()
    for broken in ("", "[]", "{}", '{"name": "x", "expires": 1, "more": 2}'):
        file.write_text(broken)
        assert links.look(token, NOW) is None


def test_of_many_one_takes_it(tmp_path: Path) -> None:
    links = Links(tmp_path)
    for _ in range(20):
        token = links.make(LINK, NOW)
        taken: list[Link | None] = []
        barrier = threading.Barrier(4)

        def take(token: str = token, taken: list[Link | None] = taken, barrier: threading.Barrier = barrier) -> None:
            barrier.wait()
            taken.append(links.take(token, NOW))

        threads = [threading.Thread(target=take) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(link is not None for link in taken) == [False, False, False, True]
