"""What differs between a stack and what runs."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from coursewarehub.deploy.difference import Action, Change, Running, described, difference
from coursewarehub.deploy.stack import Stack, Surroundings, render
from coursewarehub.model import Course, Site

AROUND = Surroundings("0123456789ab", Path("/srv/site"), "registry/hub:1@sha256:0", digests={"file:secrets/a": "d1"})
FORGOTTEN = "settings of an earlier version"


def stack(around: Surroundings = AROUND, password: str = "file:secrets/a", **edge: Any) -> Stack:
    settings = {"spawner": {"kind": "swarm", "storage": "/srv/courseware"}, "edge": edge}
    login = {"method": "dummy", "password": password}
    course = {"id": "demo", "title": "Demo", "authentication": login}
    return render(
        Site.model_validate_json(json.dumps(settings), strict=True),
        [Course.model_validate_json(json.dumps(course), strict=True)],
        around,
    )


def as_engine(found: Stack) -> Running:
    """What an engine says of a stack that it runs: with ids and much that it adds."""
    services = []
    for number, service in enumerate(found.services):
        spec = json.loads(json.dumps(service.spec))
        container = spec["TaskTemplate"]["ContainerSpec"]
        container |= {"Isolation": "default", "DNSConfig": {}}
        for item in container.get("Secrets", ()):
            item["SecretID"] = "s3cret"
        if not container.get("Secrets"):
            container.pop("Secrets", None)
        spec["TaskTemplate"] |= {"ForceUpdate": 0, "Runtime": "container"}
        for network in spec["TaskTemplate"].get("Networks", ()):
            network["Target"] = "c0ffee"
        services.append({"ID": f"service{number}", "Version": {"Index": 7}, "Spec": spec})
    secrets = [
        {"ID": f"secret{number}", "Spec": {"Name": secret.name, "Labels": dict(secret.labels)}}
        for number, secret in enumerate(found.secrets)
    ]
    return Running(tuple(services), tuple(secrets))


def summary(changes: tuple[Change, ...]) -> list[tuple[str, str, str]]:
    return [(str(change.action), change.kind, change.name) for change in changes]


def test_on_an_empty_swarm_everything_is_made_secrets_first() -> None:
    assert summary(difference(stack(), Running())) == [
        ("create", "secret", "file:secrets/a"),
        ("create", "service", "site"),
        ("create", "service", "agent"),
    ]


def test_what_runs_is_not_touched() -> None:
    assert difference(stack(), as_engine(stack())) == ()


@pytest.mark.parametrize(
    ("wanted", "fields"),
    [
        (
            stack(port=9000),
            [
                ("EndpointSpec.Ports[0].TargetPort", "8000", "9000"),
                ("EndpointSpec.Ports[0].PublishedPort", "8000", "9000"),
            ],
        ),
        (
            stack(replace(AROUND, time_zone="Asia/Tokyo")),
            [("Env", None, '["TZ=Asia/Tokyo"]')],
        ),
        (
            stack(replace(AROUND, node="n0de")),
            [("Placement.Constraints", '["node.role==manager"]', '["node.role==manager", "node.id==n0de"]')],
        ),
    ],
)
def test_settings_that_differ_are_named(wanted: Stack, fields: list[tuple[str, str | None, str | None]]) -> None:
    (change,) = difference(wanted, as_engine(stack()))
    assert (change.action, change.kind, change.name) == (Action.CHANGE, "service", "site")
    assert [(field.path, field.old, field.new) for field in change.fields] == fields
    assert change.current is not None and change.current["ID"] == "service0"


def test_another_image_changes_both_services() -> None:
    changes = difference(stack(replace(AROUND, image="registry/hub:2")), as_engine(stack()))
    assert [(change.name, change.fields[0].path, change.fields[0].new) for change in changes] == [
        ("site", "Image", "registry/hub:2"),
        ("agent", "Image", "registry/hub:2"),
    ]


@pytest.mark.parametrize(
    ("path", "value", "field"),
    [
        (("Mode", "Replicated", "Replicas"), 2, ("Replicas", "2", "1")),
        (("TaskTemplate", "ContainerSpec", "Init"), None, ("Init", None, "true")),
        (("Labels", "coursewarehub.kind"), "agent", ("Labels.coursewarehub.kind", "agent", "site")),
        (("TaskTemplate", "ContainerSpec", "Mounts"), [], ("Mounts", None, None)),
    ],
)
def test_what_somebody_changed_by_hand_is_put_right(
    path: tuple[str, ...], value: Any, field: tuple[str, str | None, str | None]
) -> None:
    running = copy.deepcopy(as_engine(stack()))
    place: Any = running.services[0]["Spec"]
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    (change,) = difference(stack(), running)
    found = change.fields[0]
    assert (found.path, found.old) == field[:2]
    assert found.new == field[2] or (field[2] is None and "/srv/courseware" in str(found.new))


def test_what_an_earlier_version_set_is_taken_back() -> None:
    running = as_engine(stack())
    running.services[1]["Spec"]["Labels"]["coursewarehub.deployed"] = "0"
    (change,) = difference(stack(), running)
    assert (change.name, [field.path for field in change.fields]) == ("agent", [FORGOTTEN])


def test_what_is_wanted_no_longer_is_removed_last() -> None:
    running = as_engine(stack())
    old = {"ID": "old", "Version": {"Index": 1}, "Spec": {"Name": "courseware-old", "Labels": {}}}
    running = Running((*running.services, old), running.secrets)
    wanted = stack(password="file:secrets/b")
    assert summary(difference(wanted, running)) == [
        ("change", "service", "site"),
        ("remove", "service", "courseware-old"),
        ("remove", "secret", "file:secrets/a"),
    ]


def test_a_secret_with_new_content_replaces_the_old_one() -> None:
    changes = difference(stack(replace(AROUND, digests={"file:secrets/a": "d2"})), as_engine(stack()))
    assert summary(changes) == [
        ("change", "secret", "file:secrets/a"),
        ("change", "service", "site"),
        ("remove", "secret", "file:secrets/a (earlier content)"),
    ]
    assert [field.path for field in changes[1].fields] == ["Secrets[0].SecretName"]


def test_what_is_shown() -> None:
    wanted = stack(replace(AROUND, image="registry/hub:2", digests={"file:secrets/a": "d2"}))
    lines = list(described(difference(wanted, as_engine(stack()))))
    assert lines[:4] == [
        "~ secret file:secrets/a",
        "    content: another one -> the file's",
        "~ service site",
        "    Image: registry/hub:1@sha256:0 -> registry/hub:2",
    ]
    assert lines[-1] == "- secret file:secrets/a (earlier content)"
    assert list(described(difference(stack(), Running()))) == [
        "+ secret file:secrets/a",
        "+ service site",
        "+ service agent",
    ]
