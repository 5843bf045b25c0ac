"""Images on all nodes of a real swarm before they are needed."""

from __future__ import annotations

import subprocess
import sys

import pytest
from support.engines import BASE
from support.sites import eventually
from support.swarm import SwarmBed

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def prepull(swarm: SwarmBed, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "coursewarehub", "image", "prepull", *words, "--engine", swarm.manager.url]
    return subprocess.run(command, capture_output=True, text=True, timeout=400, check=False)


@pytest.fixture
def course(swarm: SwarmBed) -> str:
    """An image that is in the registry and on no node."""
    name = f"{swarm.registry.address}/prepull/course:1"
    swarm.docker("tag", BASE, name)
    swarm.docker("push", "--quiet", name)
    swarm.docker("rmi", name)
    return name


def has(swarm: SwarmBed, node: str, image: str) -> bool:
    return bool(swarm[node].docker("images", "--quiet", "--no-trunc", image.partition("@")[0]))


def test_every_node_has_it_afterwards_by_digest(swarm: SwarmBed, course: str) -> None:
    repository = course.rpartition(":")[0]
    assert not any(has(swarm, node, repository) for node in swarm.engines)
    done = prepull(swarm, course)
    assert done.returncode == 0, done.stdout + done.stderr
    *_, by_digest, n1, n2, n3 = done.stdout.splitlines()
    assert by_digest.startswith(f"{repository}@sha256:")
    assert [line.split() for line in (n1, n2, n3)] == [[node, "ready"] for node in ("n1", "n2", "n3")]
    digest = by_digest.partition("@")[2]
    for node in swarm.engines:
        assert digest in swarm[node].docker("images", "--digests", "--format", "{{.Digest}}", repository)
    assert swarm.docker("service", "ls", "--quiet") == "", "the job is taken away"


def test_f21b_a_node_that_is_away_is_named(swarm: SwarmBed, course: str) -> None:
    swarm["n3"].stop()
    eventually(lambda: "Down" in swarm.docker("node", "ls", "--format", "{{.Hostname}} {{.Status}}"), 60)
    done = prepull(swarm, course)
    assert done.returncode == 1
    assert "n3  away    the node is down" in done.stdout.splitlines()
    assert "n2  ready" in done.stdout.splitlines()


def test_a_drained_node_is_left_out_on_purpose(swarm: SwarmBed, course: str) -> None:
    swarm.docker("node", "update", "--availability", "drain", "n2")
    done = prepull(swarm, course)
    assert done.returncode == 0
    assert "n2  drained takes no servers: it is drained or paused" in done.stdout.splitlines()


def test_f21_an_image_that_no_registry_has(swarm: SwarmBed) -> None:
    done = prepull(swarm, "coursewarehub/nothing:1")
    assert done.returncode == 1
    assert "No registry tells the digest of coursewarehub/nothing:1" in done.stderr
    assert "coursewarehub image push" in done.stderr and done.stderr.count("\n") == 1


def test_a_worker_is_no_manager(swarm: SwarmBed) -> None:
    command = [
        sys.executable,
        "-m",
        "coursewarehub",
        "image",
        "prepull",
        f"{swarm.registry.address}/debian:bookworm-slim",
    ]
    done = subprocess.run(
        [*command, "--engine", swarm["n2"].url], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 1
    assert "manager" in done.stderr and done.stderr.count("\n") == 1
