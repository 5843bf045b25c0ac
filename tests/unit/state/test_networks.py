"""Courses keep their networks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.models import a_site

from coursewarehub.model.networks import course_network
from coursewarehub.model.spawner import ContainerSpawner
from coursewarehub.state.networks import NetworkBook, PoolExhausted


def a_spawner(**changes: object) -> ContainerSpawner:
    spawner = a_site(spawner={"kind": "docker", **changes}).spawner
    assert isinstance(spawner, ContainerSpawner)
    return spawner


SPAWNER = a_spawner()


def test_lowest_free_number_is_given_out_and_kept(tmp_path: Path) -> None:
    book = NetworkBook(tmp_path / "networks.json")
    given = [book.network("s1", course, SPAWNER) for course in ("b", "a", "b")]
    assert [network.subnet for network in given] == ["10.180.0.0/20", "10.180.16.0/20", "10.180.0.0/20"]
    assert given[1] == course_network("s1", "a", SPAWNER, 1)
    again = NetworkBook(tmp_path / "networks.json")
    assert (again.get("b"), again.get("a"), again.get("c")) == (0, 1, None)
    assert again.known() == {"a", "b"}


def test_number_is_another_courses_only_when_it_was_forgotten(tmp_path: Path) -> None:
    book = NetworkBook(tmp_path / "networks.json")
    for course in ("a", "b", "c"):
        book.network("s1", course, SPAWNER)
    book.forget({"a", "never-known"})
    assert NetworkBook(tmp_path / "networks.json").known() == {"b", "c"}
    assert book.network("s1", "d", SPAWNER).subnet == "10.180.0.0/20"
    assert book.network("s1", "c", SPAWNER).subnet == "10.180.32.0/20"


def test_full_pool_is_told(tmp_path: Path) -> None:
    book = NetworkBook(tmp_path / "networks.json")
    small = a_spawner(addresses="10.9.0.0/23", course_network=24)
    book.network("s1", "a", small)
    book.network("s1", "b", small)
    with pytest.raises(PoolExhausted, match="has room for 2 courses, and all have a network"):
        book.network("s1", "c", small)
    assert book.known() == {"a", "b"}


def test_number_outside_a_pool_that_shrank_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "networks.json").write_text(json.dumps({"a": 60, "b": 0}))
    book = NetworkBook(tmp_path / "networks.json")
    small = a_spawner(addresses="10.9.0.0/23", course_network=24)
    assert book.network("s1", "a", small).subnet == "10.9.1.0/24"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"a": "0", "b": -1, "c": true}', "null"])
def test_spoilt_file_is_as_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "networks.json").write_text(text)
    assert NetworkBook(tmp_path / "networks.json").known() == frozenset()
