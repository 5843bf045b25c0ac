"""What counts as left of courses that are gone."""

from __future__ import annotations

from typing import Any

import pytest

from coursewarehub.site.janitor import Owned, networks_left, owned, servers_left
from coursewarehub.wire import labels

OWN = {labels.SITE: "s", labels.COURSE: "stats", labels.KIND: labels.KIND_SERVER}


def server(course: str, kind: str = labels.KIND_SERVER) -> Owned:
    return Owned(f"id-{course}", f"server-{course}", kind, course)


def network(course: str, kind: str = labels.KIND_NETWORK) -> Owned:
    return Owned(f"id-{course}", f"network-{course}", kind, course)


@pytest.mark.parametrize(
    ("found", "name"),
    [
        ({"Id": "1", "Names": ["/ada"], "Labels": OWN}, "ada"),
        ({"ID": "1", "Spec": {"Name": "ada", "Labels": OWN}}, "ada"),
        ({"Id": "1", "Name": "cw-stats", "Labels": OWN}, "cw-stats"),
    ],
    ids=["container", "service", "network"],
)
def test_objects_as_the_engine_tells_them(found: dict[str, Any], name: str) -> None:
    assert owned(found) == Owned("1", name, labels.KIND_SERVER, "stats")


@pytest.mark.parametrize("found", [{}, {"Labels": None}, {"Names": None}, {"Spec": {}}, {"Spec": {"Labels": None}}])
def test_an_object_without_labels_is_nobodys(found: dict[str, Any]) -> None:
    assert owned(found) == Owned("", "", "")
    assert not servers_left([owned(found)], ())
    assert not networks_left([owned(found)], (), ())


def test_servers_of_courses_that_are_gone() -> None:
    assert servers_left([server("kept"), server("gone")], {"kept"}) == (server("gone"),)


@pytest.mark.parametrize("kind", [labels.KIND_AGENT, labels.KIND_CHECK, labels.KIND_SITE, labels.KIND_SECRET, ""])
def test_only_servers_and_networks_are_ever_left(kind: str) -> None:
    """The site itself, its agents and its checks belong to no course, and are not to be removed for that."""
    for course in ("", "gone"):
        assert not servers_left([server(course, kind)], {"kept"})
        assert not networks_left([network(course, kind)], {"kept"}, ())


def test_a_network_stays_until_the_last_server_of_its_course_is_gone() -> None:
    networks = [network("kept"), network("gone"), network("busy")]
    assert networks_left(networks, {"kept"}, {"busy"}) == (network("gone"),)
