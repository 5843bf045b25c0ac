"""`coursewarehub plan`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

SITE = "spawner: {kind: swarm, storage: /srv/courseware}\n"
NII = """
id: informatics
title: Informatics
resources:
  default: {mem_guarantee: 1G, mem_limit: 2G, cpu_guarantee: 0.5, cpu_limit: 2.0}
"""


@pytest.fixture
def courses(root: Path) -> Path:
    (root / "site.yaml").write_text(SITE)
    for file in (root / "courses.d").iterdir():
        file.unlink()
    (root / "courses.d/informatics.yaml").write_text(NII)
    (root / "courses.d/writing.yaml").write_text("id: writing\ntitle: Writing\nresources: {memory_guarantee: 512M}\n")
    return root


def test_it_shows_the_published_example(courses: Path, run: Any) -> None:
    (courses / "courses.d/writing.yaml").unlink()
    outcome = run("plan", "--students", "400", "--nodes", "5", "--node-memory", "96G", "--node-cpus", "28")
    assert outcome.code == 1
    assert outcome.out.splitlines() == [
        "course        servers    memory     cores  addresses",
        "informatics       400      400G       200  400 of 2042",
        "",
        "one node:  96G memory (80G for servers), 28 cores",
        "nodes:     8 (memory alone 5, processors alone 8; you have 5)",
        "the site:  about 662M memory on a manager, when all hubs are awake",
        "! The CPU guarantee does not fit: 400 servers with 0.5 cores each need 200 cores, and 5 nodes have 140, "
        "enough for 280 servers; take 8 nodes or lower `cpu_guarantee` to 0.35.",
    ]


def test_it_counts_every_course(courses: Path, run: Any) -> None:
    outcome = run("plan", "--students", "20", "--students", "writing=40")
    assert outcome.code == 0, outcome
    lines = outcome.out.splitlines()
    assert lines[1].split() == ["informatics", "20", "20G", "10", "20", "of", "2043"]
    assert lines[2].split() == ["writing", "40", "20G", "0", "40", "of", "2043"]
    assert lines[3].split() == ["all", "60", "40G", "10"]


def test_it_counts_only_the_named_course(courses: Path, run: Any) -> None:
    said = json.loads(run("plan", "--students", "writing=40", "--json").out)
    assert [course["course"] for course in said["courses"]] == ["writing"]
    assert said["memory"] == 20 * 1024**3
    assert said["nodes"] == 2
    assert said["problems"] == []


@pytest.mark.parametrize(
    ("arguments", "code", "telling"),
    [
        (["--students", "none=3"], 1, "There is no course `none`; there are: informatics, writing."),
        (["--students", "3", "--students", "4"], 1, "name the course: `--students COURSE=N`"),
        (["--students", "0"], 2, "`0` is not a whole number from 1 to 1000000"),
        (["--students", "writing="], 2, "`` is not a whole number"),
        (["--students", "1", "--node-memory", "16"], 2, "`16` is not a size such as `16G`"),
        (["--students", "1", "--node-cpus", "none"], 2, "`none` is not a number of cores such as `8`"),
        (["--students", "1", "--node-cpus", "nan"], 2, "`nan` is not a number of cores such as `8`"),
    ],
)
def test_what_it_refuses(courses: Path, run: Any, arguments: list[str], code: int, telling: str) -> None:
    outcome = run("plan", *arguments)
    assert outcome.code == code
    assert telling in outcome.err.splitlines()[-1]
