"""What a site is on a swarm, as the engine takes it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from coursewarehub import __version__
from coursewarehub.deploy.stack import (
    AGENT_CAPABILITIES,
    Stack,
    Surroundings,
    environment_problems,
    hub_image,
    references,
    refuse,
    render,
)
from coursewarehub.model import ConfigurationError, Course, Site
from coursewarehub.model.spawner import SwarmSpawner
from coursewarehub.model.yaml_source import parse
from coursewarehub.nodes.__main__ import parser

AROUND = Surroundings(site_id="0123456789ab", root=Path("/srv/site"), image="registry/hub:1@sha256:0", node="n0de")
SPAWNER = {"kind": "swarm", "storage": "/srv/courseware"}


def site(**settings: Any) -> Site:
    return Site.model_validate_json(json.dumps({"spawner": SPAWNER, **settings}), strict=True)


def course(name: str = "demo", **settings: Any) -> Course:
    return Course.model_validate_json(json.dumps({"id": name, "title": "Demo", **settings}), strict=True)


def password(reference: str) -> dict[str, Any]:
    return {"authentication": {"method": "dummy", "password": reference}}


def spec(stack: Stack, kind: str) -> dict[str, Any]:
    (found,) = [service.spec for service in stack.services if service.kind == kind]
    return dict(found)


def test_the_site() -> None:
    found = spec(render(site(edge={"port": 8443}), [course()], replace(AROUND, time_zone="Asia/Tokyo")), "site")
    labels = found["Labels"]
    assert labels.keys() == {"coursewarehub.site", "coursewarehub.kind", "coursewarehub.deployed"}
    assert (labels["coursewarehub.site"], labels["coursewarehub.kind"]) == ("0123456789ab", "site")
    assert found == {
        "Name": found["Name"],
        "Labels": labels,
        "TaskTemplate": {
            "ContainerSpec": {
                "Image": "registry/hub:1@sha256:0",
                "Args": ["coursewarehub", "up", "--site", "/srv/site", "--host", "0.0.0.0"],
                "Env": ["TZ=Asia/Tokyo"],
                "Labels": labels,
                "Mounts": [
                    {"Type": "bind", "Source": "/srv/courseware", "Target": "/srv/courseware"},
                    {"Type": "bind", "Source": "/srv/site", "Target": "/srv/site"},
                    {"Type": "bind", "Source": "/var/run/docker.sock", "Target": "/var/run/docker.sock"},
                ],
                "Secrets": [],
                "StopGracePeriod": 60_000_000_000,
                "Init": True,
            },
            "Placement": {"Constraints": ["node.role==manager", "node.id==n0de"]},
            "RestartPolicy": {"Condition": "any", "Delay": 2_000_000_000},
            "LogDriver": {"Name": "json-file", "Options": {"max-size": "10m", "max-file": "3"}},
        },
        "Mode": {"Replicated": {"Replicas": 1}},
        "UpdateConfig": {"Parallelism": 1, "Order": "stop-first", "FailureAction": "pause"},
        "EndpointSpec": {
            "Mode": "dnsrr",
            "Ports": [{"Protocol": "tcp", "TargetPort": 8443, "PublishedPort": 8443, "PublishMode": "host"}],
        },
    }


def test_the_agent() -> None:
    found = spec(render(site(), [], AROUND), "agent")
    assert found == {
        "Name": found["Name"],
        "Labels": found["Labels"],
        "TaskTemplate": {
            "ContainerSpec": {
                "Image": "registry/hub:1@sha256:0",
                "Args": [
                    *("python", "-m", "coursewarehub.nodes"),
                    *("--engine", "unix:///var/run/docker.sock", "--netns-folder", "/var/run/docker/netns"),
                    *("--host-rules", "10.180.0.0/14", "--ports", "8081", "8082"),
                ],
                "Labels": found["Labels"],
                "Mounts": [
                    {"Type": "tmpfs", "Target": "/run"},
                    {"Type": "bind", "Source": "/var/run/docker.sock", "Target": "/var/run/docker.sock"},
                    {
                        "Type": "bind",
                        "Source": "/var/run/docker",
                        "Target": "/var/run/docker",
                        "BindOptions": {"Propagation": "rslave"},
                    },
                ],
                "CapabilityDrop": ["ALL"],
                "CapabilityAdd": list(AGENT_CAPABILITIES),
                "ReadOnly": True,
                "Healthcheck": {
                    "Test": ["CMD", "python", "-m", "coursewarehub.nodes", "--check"],
                    "Interval": 5_000_000_000,
                    "Timeout": 4_000_000_000,
                    "Retries": 3,
                },
                "Init": True,
            },
            "RestartPolicy": {"Condition": "any", "Delay": 2_000_000_000},
            "Networks": [{"Target": "host"}],
            "LogDriver": {"Name": "json-file", "Options": {"max-size": "10m", "max-file": "3"}},
        },
        "Mode": {"Global": {}},
        "UpdateConfig": {"Parallelism": 1, "Order": "stop-first", "FailureAction": "pause"},
    }


def test_no_container_of_a_learner_is_made_and_nothing_is_published_but_the_front_door() -> None:
    stack = render(site(), [course("one"), course("two")], AROUND)
    assert [service.kind for service in stack.services] == ["site", "agent"]
    assert "EndpointSpec" not in spec(stack, "agent")


@pytest.mark.parametrize(
    ("root", "storage", "mounted"),
    [
        ("/srv/site", "/srv/courseware", ["/srv/courseware", "/srv/site"]),
        ("/srv/courseware/site", "/srv/courseware", ["/srv/courseware"]),
        ("/srv", "/srv/courseware", ["/srv"]),
        ("/srv/courseware", "/srv/courseware", ["/srv/courseware"]),
        ("/srv/courseware-site", "/srv/courseware", ["/srv/courseware", "/srv/courseware-site"]),
    ],
)
def test_each_folder_is_mounted_once(root: str, storage: str, mounted: list[str]) -> None:
    found = site(spawner={**SPAWNER, "storage": storage})
    mounts = spec(render(found, [], replace(AROUND, root=Path(root))), "site")["TaskTemplate"]["ContainerSpec"][
        "Mounts"
    ]
    assert [mount["Source"] for mount in mounts if "docker" not in mount["Source"]] == mounted


def test_a_folder_that_all_managers_have_binds_the_site_to_none() -> None:
    found = spec(render(site(), [], replace(AROUND, node=None)), "site")
    assert found["TaskTemplate"]["Placement"] == {"Constraints": ["node.role==manager"]}


def test_an_engine_over_tcp_is_the_site_s_alone() -> None:
    stack = render(site(spawner={**SPAWNER, "engine": "tcp://10.0.0.5:2375"}), [], AROUND)
    mounts = spec(stack, "site")["TaskTemplate"]["ContainerSpec"]["Mounts"]
    assert [mount["Source"] for mount in mounts] == ["/srv/courseware", "/srv/site"]
    assert "unix:///var/run/docker.sock" in spec(stack, "agent")["TaskTemplate"]["ContainerSpec"]["Args"]


@pytest.mark.parametrize("spawner", [{"kind": "local"}, {"kind": "docker"}])
def test_other_spawners_are_no_stack(spawner: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="`deploy swarm` needs `kind: swarm`"):
        render(site(spawner=spawner), [], AROUND)


# --- labels ------------------------------------------------------------------------------------


def digests(stack: Stack) -> dict[str, str]:
    return {service.kind: service.spec["Labels"]["coursewarehub.deployed"] for service in stack.services}


def test_the_same_site_is_the_same_stack() -> None:
    assert render(site(), [course()], AROUND) == render(site(), [course()], AROUND)


def test_the_digest_tells_of_every_change() -> None:
    before = digests(render(site(), [], AROUND))
    assert digests(render(site(edge={"port": 81}), [], AROUND)) == before | {
        "site": digests(render(site(edge={"port": 81}), [], AROUND))["site"]
    }
    assert digests(render(site(edge={"port": 81}), [], AROUND)) != before
    other = digests(render(site(), [], replace(AROUND, image="registry/hub:2")))
    assert all(other[kind] != before[kind] for kind in before)


def test_names_of_two_sites_differ() -> None:
    names = {
        service.name
        for site_id in ("0123456789ab", "ba9876543210")
        for service in render(site(), [], replace(AROUND, site_id=site_id)).services
    }
    assert len(names) == 4
    assert all(len(name) <= 63 for name in names)


# --- images ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("learners", "hub"),
    [
        (f"coursewarehub/singleuser:{__version__}", f"coursewarehub/hub:{__version__}"),
        (f"registry:5000/coursewarehub/singleuser:{__version__}", f"registry:5000/coursewarehub/hub:{__version__}"),
        ("example.org/teaching/python:2026.1", f"coursewarehub/hub:{__version__}"),
        (f"mycoursewarehub/singleuser:{__version__}", f"coursewarehub/hub:{__version__}"),
    ],
)
def test_the_hub_image_is_of_the_same_registry(learners: str, hub: str) -> None:
    assert hub_image(SwarmSpawner(kind="swarm", storage="/srv/courseware", image=learners)) == hub


# --- secrets -----------------------------------------------------------------------------------

DIGESTS = {"file:secrets/workshop": "d1", "file:/etc/courseware/db": "d2"}


def test_files_that_exist_become_secrets_at_their_path() -> None:
    courses = [
        course("one", **password("file:secrets/workshop")),
        course("two", **password("file:secrets/workshop")),
        course("three", **password("file:secrets/missing")),
        course("four", **password("env:WORKSHOP")),
        course("five", state="archived", **password("file:secrets/old")),
    ]
    around = replace(AROUND, digests={**DIGESTS, "file:secrets/old": "d3"})
    stack = render(site(database={"url": "file:/etc/courseware/db"}), courses, around)
    assert [secret.reference for secret in stack.secrets] == ["file:/etc/courseware/db", "file:secrets/workshop"]
    assert stack.secrets[1].labels == {
        "coursewarehub.site": "0123456789ab",
        "coursewarehub.kind": "secret",
        "coursewarehub.file": "file:secrets/workshop",
        "coursewarehub.deployed": "d1",
    }
    mounted = spec(stack, "site")["TaskTemplate"]["ContainerSpec"]["Secrets"]
    assert [item["SecretName"] for item in mounted] == [secret.name for secret in stack.secrets]
    assert [item["File"] for item in mounted] == [
        {"Name": "/etc/courseware/db", "UID": "0", "GID": "0", "Mode": 0o400},
        {"Name": "/srv/site/secrets/workshop", "UID": "0", "GID": "0", "Mode": 0o400},
    ]
    assert "Secrets" not in spec(stack, "agent")["TaskTemplate"]["ContainerSpec"]


def test_new_content_is_another_secret() -> None:
    courses = [course(**password("file:secrets/workshop"))]
    names = {
        render(site(), courses, replace(AROUND, digests={"file:secrets/workshop": digest})).secrets[0].name
        for digest in ("d1", "d2")
    }
    assert len(names) == 2


def test_every_reference_is_found() -> None:
    courses = [course("one", **password("file:a")), course("two", **password("env:B")), course("three")]
    mail = {"host": "smtp.example.org", "sender": "a@example.org", "user": "a", "password": "file:mail"}
    found = references(site(database={"url": "file:db"}, mail=mail), courses)
    assert [(course_id, str(reference)) for course_id, _, reference in found] == [
        ("", "file:db"),
        ("", "file:mail"),
        ("one", "file:a"),
        ("two", "env:B"),
    ]


def test_variables_are_refused_where_they_stand() -> None:
    text = "id: two\ntitle: Two\nauthentication:\n  method: dummy\n  password: env:B\n"
    sources = {"two": parse(text, "courses.d/two.yaml"), "": parse("mode: production\n", "site.yaml")}
    problems = environment_problems(site(), [course("two", **password("env:B"))], sources)
    with pytest.raises(ConfigurationError) as caught:
        refuse(problems)
    assert str(caught.value) == (
        "courses.d/two.yaml:5: `authentication.password` is `env:B`, a variable that a service of a swarm does not "
        "have (write the secret into a file: `file:PATH`)"
    )
    refuse(environment_problems(site(), [course("one", **password("file:a"))], sources))


def test_the_agent_understands_what_it_is_told() -> None:
    arguments = spec(render(site(), [], AROUND), "agent")["TaskTemplate"]["ContainerSpec"]["Args"]
    told = parser().parse_args(arguments[3:])
    assert (told.engine, str(told.netns_folder)) == ("unix:///var/run/docker.sock", "/var/run/docker/netns")
    assert (str(told.host_rules), told.ports) == ("10.180.0.0/14", [8081, 8082])
