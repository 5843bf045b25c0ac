"""Case B10: every broken course file gives one sentence with file and line, exit code 2."""

from __future__ import annotations

import os
from typing import Any

import pytest

from coursewarehub.model import load_site

HEAD = "id: demo\ntitle: Demo\n"

# name: (what follows the id and title, line of the problem, telling part of the sentence)
TEXTS: dict[str, tuple[str, int, str]] = {
    "unknown-key": ("version: 2\n", 3, "unknown key `version` (known keys: id, title,"),
    "typo-top-level": ("member: {}\n", 3, "unknown key `member` (did you mean `members`?)"),
    "typo-in-resources": (
        "resources:\n  memroy: 2G\n",
        4,
        "unknown key `memroy` in `resources` (did you mean `memory`?)",
    ),
    "typo-in-dates": ("dates: {open: 2026-04-01}\n", 3, "in `dates` (did you mean `opens`?)"),
    "typo-in-authentication": (
        "authentication:\n  method: dummy\n  pasword: hunter2\n",
        5,
        "unknown key `pasword` in `authentication` (did you mean `password`?)",
    ),
    "typo-in-members": ("members:\n  student: [a]\n", 4, "in `members` (did you mean `students`?)"),
    "typo-in-content": (
        "content:\n  folder: c\n  strat: a.ipynb\n",
        5,
        "in `content` (did you mean `start`?)",
    ),
    "typo-in-limits": ("limits: {server: 3}\n", 3, "in `limits` (did you mean `servers`?)"),
    "key-of-another-level": ("memory: 2G\n", 3, "(`memory` belongs in `resources`)"),
    "memory-in-words": (
        "resources:\n  memory: 2 gigs\n",
        4,
        "`resources.memory` must be a size such as `512M` or `2G`, not `2 gigs`",
    ),
    "memory-negative": ("resources: {memory: -2G}\n", 3, "must be a size such as `512M` or `2G`"),
    "memory-without-unit": ("resources: {memory: 2}\n", 3, "or `2G`, not the number `2`"),
    "memory-without-limit": ("resources: {memory: null}\n", 3, "or `2G`, not `null`"),
    "memory-too-small": ("resources: {memory: 1M}\n", 3, "must be at least 64M"),
    "cpu-zero": ("resources: {cpu: 0}\n", 3, "a number from 0.05 to 1024, not the number `0`"),
    "cpu-negative": ("resources: {cpu: -1}\n", 3, "a number from 0.05 to 1024"),
    "cpu-infinite": ("resources: {cpu: .inf}\n", 3, "a number from 0.05 to 1024, not `.inf`"),
    "cpu-in-words": ("resources: {cpu: two}\n", 3, "a number from 0.05 to 1024, not `two`"),
    "processes-of-one": ("resources: {processes: 1}\n", 3, "a whole number from 32 to 1000000"),
    "no-such-day": ("dates: {opens: 2026-02-30}\n", 3, "must be a date such as `2026-04-01`"),
    "date-in-words": ("dates: {opens: April}\n", 3, "must be a date such as"),
    "date-as-number": ("dates: {opens: 20260401}\n", 3, "must be a date such as"),
    "time-without-zone": (
        "dates: {opens: 2026-04-01T09:00}\n",
        3,
        "`dates.opens` has a time but no time zone (add `Z` or one such as `+09:00`)",
    ),
    "closes-before-it-opens": (
        "dates:\n  opens: 2026-04-02\n  closes: 2026-04-01\n",
        5,
        "`dates.closes` must be after `opens`",
    ),
    "closes-as-it-opens": (
        "dates:\n  opens: 2026-04-01T10:00Z\n  closes: 2026-04-01T19:00+09:00\n",
        5,
        "`dates.closes` must be after `opens`",
    ),
    "unknown-state": (
        "state: opened\n",
        3,
        "`state` must be one of `draft`, `open`, `closed`, `archived`, not `opened`",
    ),
    "unknown-method": ("authentication: {method: ldpa}\n", 3, "`lti11`, not `ldpa`"),
    "unknown-method-of-several": (
        "authentication:\n  - method: dummy\n  - method: ldpa\n",
        5,
        "item 2 of `authentication`",
    ),
    "no-such-login": ("authentication: {method: ldap}\n", 3, "`login` of site.yaml has no `ldap` (it has nothing"),
    "one-method-twice": ("authentication:\n  - method: dummy\n  - method: dummy\n", 5, "repeats `dummy`"),
    "no-methods": ("authentication: []\n", 3, "must name at least one method"),
    "typo-in-roles": (
        "authentication:\n  method: ldap\n  roles: {techers: [a]}\n",
        5,
        "unknown key `techers` in `authentication.roles`",
    ),
    "a-word-as-groups": ("authentication:\n  method: ldap\n  roles: {students: a}\n", 5, "must be a list of groups"),
    "no-method": ("authentication:\n  workshop: true\n", 3, "`authentication.method` is missing"),
    "plain-password": (
        "authentication:\n  method: dummy\n  password: hunter2\n",
        5,
        "must be `file:PATH` or `env:NAME` (the secret itself never stands in this file)",
    ),
    "number-as-password": (
        "authentication:\n  method: dummy\n  password: 493857\n",
        5,
        "`authentication.password` must be `file:PATH` or `env:NAME`",
    ),
    "members-as-a-list": ("members: [alice]\n", 3, "`members` must be a mapping"),
    "students-as-a-word": (
        "members: {students: alice}\n",
        3,
        "must be a list of user names such as `[alice, bob]`, not `alice`",
    ),
    "student-number": (
        "members:\n  students:\n    - alice\n    - 20260001\n",
        6,
        "item 2 of `members.students` must be a user name (text), not the number `20260001` (write it in "
        'quotes: `"20260001"`)',
    ),
    "name-with-slash": ("members: {students: [a/b]}\n", 3, "must not contain `/`"),
    "name-of-dots": ("members: {students: ['..']}\n", 3, "must not be `.` or `..`"),
    "name-empty": ("members: {students: [' ']}\n", 3, "must have 1 to 64 characters"),
    "name-too-long": ("members: {students: [" + "a" * 65 + "]}\n", 3, "must have 1 to 64 characters"),
    "name-with-zero-width": ('members: {students: ["a\\u200bb"]}\n', 3, "invisible character U+200B"),
    "name-in-two-lists": (
        "members:\n  owners: [bob]\n  students:\n    - alice\n    - Bob\n",
        7,
        "item 2 of `members.students` is `bob`, who is in `owners` as well",
    ),
    "name-twice": (
        'members:\n  students:\n    - "\\u00e9va"\n    - "E\\u0301va"\n',
        6,
        "item 2 of `members.students` repeats `éva`, which is item 1 of the same list",
    ),
    "content-empty": ("content: {}\n", 3, "must have exactly one of `folder` and `git`"),
    "content-twice": (
        "content: {folder: c, git: 'https://a.org/c.git'}\n",
        3,
        "must have exactly one of `folder` and `git`",
    ),
    "ref-without-git": ("content: {folder: c, ref: main}\n", 3, "only together with `git`"),
    "git-over-http": ("content: {git: 'http://a.org/c.git'}\n", 3, "an `https://` or `ssh://` URL"),
    "git-like-scp": ("content: {git: 'git@a.org:c.git'}\n", 3, "an `https://` or `ssh://` URL"),
    "git-option": ("content: {git: 'ssh://-oProxyCommand=x/c'}\n", 3, "an `https://` or `ssh://` URL"),
    "git-option-behind-a-user": ("content: {git: 'ssh://git@-oX/c'}\n", 3, "an `https://` or `ssh://` URL"),
    "git-with-token": ("content: {git: 'https://hunter2@a.org/c'}\n", 3, "a user name or password in it"),
    "git-with-password": (
        "content: {git: 'https://me:hunter2@a.org/c.git'}\n",
        3,
        "must not have a user name or password in it",
    ),
    "ref-like-an-option": ("content: {git: 'https://a.org/c', ref: --x}\n", 3, "name of a branch or tag"),
    "start-outside": ("content: {folder: c, start: ../a.ipynb}\n", 3, "without `..`, not `../a.ipynb`"),
    "start-absolute": ("content: {folder: c, start: /a.ipynb}\n", 3, "inside the content"),
    "no-servers-at-all": ("limits: {servers: 0}\n", 3, "a whole number from 1 to 1000000"),
    "servers-in-words": ("limits: {servers: many}\n", 3, "a whole number from 1 to 1000000, not `many`"),
    "egress-in-words": ("egress: some\n", 3, "`egress` must be one of `none`, `registries`, `open`, not `some`"),
    "prefer-a-value": (
        "placement: {prefer: [node.labels.zone==a]}\n",
        3,
        "item 1 of `placement.prefer` must be the label to spread over, such as `node.labels.zone`",
    ),
    "constraints-as-a-word": ("placement: {constraints: a}\n", 3, "must be a list of constraints such as"),
    "guarantee-above-limit": (
        "resources:\n  memory: 1G\n  memory_guarantee: 2G\n",
        5,
        "`resources.memory_guarantee` is above the limit (`memory`) (raise the limit with it)",
    ),
    "cpu-guarantee-above-limit": ("resources: {cpu: 1, cpu_guarantee: 1.5}\n", 3, "is above the limit (`cpu`)"),
    "guarantee-above-the-course-s-limit": (
        "resources:\n  memory: 1G\n  groups:\n    student:\n      mem_guarantee: 2G\n",
        7,
        "`resources.groups.student.mem_guarantee` is above the limit (`mem_limit`)",
    ),
    "admin-guarantee-above-limit": (
        "resources:\n  admin:\n    cpu_limit: 1\n    cpu_guarantee: 1.5\n",
        6,
        "`resources.admin.cpu_guarantee` is above the limit (`cpu_limit`)",
    ),
    "cpu-guarantee-in-bytes": (
        "resources:\n  default:\n    cpu_guarantee: 1G\n",
        5,
        "`resources.default.cpu_guarantee` must be a number from 0 to 1024, not `1G`",
    ),
    "group-limit-without-unit": (
        "resources: {groups: {student: {mem_limit: 1}}}\n",
        3,
        "`resources.groups.student.mem_limit` must be at least 64M (write the unit: `1G`, not `1`)",
    ),
    "typo-in-group": (
        "resources:\n  groups:\n    student:\n      memlimit: 1G\n",
        6,
        "unknown key `memlimit` in `resources.groups.student` (did you mean `mem_limit`?)",
    ),
    "groups-as-a-list": ("resources: {groups: [a]}\n", 3, "`resources.groups` must be a mapping of groups to limits"),
    "group-without-limits": ("resources: {groups: {a: 3}}\n", 3, "`resources.groups.a` must be a mapping with keys"),
    "unknown-ulimit": ("resources: {ulimits: {memory: 3}}\n", 3, "`resources.ulimits.memory` is not a limit that"),
    "open-files-as-ulimit": ("resources: {ulimits: {nofile: 3}}\n", 3, "(write `open_files` in `resources`)"),
    "ulimit-in-words": ("resources: {ulimits: {core: all}}\n", 3, "`resources.ulimits.core` must be a whole number"),
    "ulimit-below": (
        "resources: {ulimits: {core: -2}}\n",
        3,
        "`resources.ulimits.core` must be -1 (no limit), 0 or more",
    ),
    "shared-memory-of-nothing": ("resources: {shared_memory: 64K}\n", 3, "must be at least 1M"),
    "size-negative": ("resources: {temporary: -1}\n", 3, "a size such as `64M` or `1G`, or a number of bytes"),
    "half-a-processor": ("resources: {gpus: 0.5}\n", 3, "a whole number from 0 to 64"),
    "images-not-a-list": ("images: r:1\n", 3, "`images` must be a list of at most 32 names of container images"),
    "images-with-space": ("images: [my image]\n", 3, "must be the name of a container image"),
    "images-repeated": ("images:\n  - r:1\n  - r:1\n", 5, "repeats `r:1`"),
    "images-with-the-usual-one": ("image: r:1\nimages: [r:1]\n", 4, "is the usual image (`image`) already"),
    "image-with-space": ("image: my image\n", 3, "must be the name of a container image"),
    "language-in-words": ("language: Japanese\n", 3, "must be a language tag such as"),
    "description-as-a-list": ("description: [a]\n", 3, "`description` must be text"),
}

IDS: dict[str, tuple[str, str]] = {
    "slash": ("a/b", "not `a/b`"),
    "upper-case": ("Demo", "not `Demo`"),
    "forty-characters": ("a" * 40, "2 to 32 lower-case letters"),
    "one-letter": ("d", "not `d`"),
    "dash-at-the-end": ("demo-", "does not end with a dash"),
    "starts-with-a-digit": ("1demo", "starts with a letter"),
    "a-number": ("2024", 'not the number `2024` (write it in quotes: `"2024"`)'),
    "accent": ("démo", "not `démo`"),
    "line-feed": ('"demo\\n"', "not `demo\\n`"),
}


@pytest.mark.parametrize(("text", "line", "telling"), TEXTS.values(), ids=TEXTS)
def test_b10_broken_course(site: Any, text: str, line: int, telling: str) -> None:
    site.write("courses.d/demo.yaml", HEAD + text)
    site.assert_refused(f"courses.d/demo.yaml:{line}", telling)
    outcome = site.run("check")
    assert "hunter2" not in outcome.err
    assert "493857" not in outcome.err


@pytest.mark.parametrize(("course_id", "telling"), IDS.values(), ids=IDS)
def test_b10_bad_id(site: Any, course_id: str, telling: str) -> None:
    site.write("courses.d/demo.yaml", f"title: Demo\nid: {course_id}\n")
    site.assert_refused("courses.d/demo.yaml:2", telling)


@pytest.mark.parametrize("missing", ["id", "title"])
def test_b10_missing_key(site: Any, missing: str) -> None:
    lines = [line for line in HEAD.splitlines() if not line.startswith(missing)]
    site.write("courses.d/demo.yaml", "# a course\n" + "\n".join(lines))
    site.assert_refused("courses.d/demo.yaml:2", f"`{missing}` is missing")


def test_b10_id_of_another_file(site: Any) -> None:
    site.write("courses.d/copy.yaml", "# copied\nid: demo\ntitle: Copy\n")
    site.assert_refused("courses.d/copy.yaml:2", "`id` is `demo`, which `courses.d/demo.yaml` has already")


def test_b10_id_is_not_the_file_name(site: Any) -> None:
    site.write("courses.d/other.yaml", "id: stats\ntitle: Statistics\n")
    site.assert_refused("courses.d/other.yaml:1", "(rename the file to `stats.yaml`)")


def test_b10_yml(site: Any) -> None:
    site.write("courses.d/other.yml", "id: other\ntitle: Other\n")
    site.assert_refused("courses.d/other.yml:1", "is named `.yml` (rename it to `.yaml`)")


def test_b10_a_pipe_does_not_block(site: Any) -> None:
    os.mkfifo(site.root / "courses.d/pipe.yaml")
    site.assert_refused("courses.d/pipe.yaml:1", "cannot be read: not a regular file")


def test_b10_broken_yaml(site: Any) -> None:
    site.write("courses.d/demo.yaml", "id: demo\n\ttitle: Demo\n")
    site.assert_refused("courses.d/demo.yaml:2", "has a tab")


def test_b10_empty_file(site: Any) -> None:
    site.write("courses.d/demo.yaml", "")
    site.assert_refused("courses.d/demo.yaml:1", "is empty")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_b10_unreadable_file(site: Any) -> None:
    site.write("courses.d/demo.yaml", HEAD, mode=0)
    site.assert_refused("courses.d/demo.yaml:1", "cannot be read: Permission denied")


def test_b10_link_to_itself(site: Any) -> None:
    (site.root / "courses.d/loop.yaml").symlink_to("loop.yaml")
    site.assert_refused("courses.d/loop.yaml:1", "cannot be read: Too many levels of symbolic links")


def test_b10_courses_folder_is_a_file(site: Any) -> None:
    (site.root / "courses.d/demo.yaml").unlink()
    (site.root / "courses.d").rmdir()
    site.write("courses.d", "")
    site.assert_refused("courses.d", "cannot be read: Not a directory")


def test_a_broken_course_leaves_the_others(site: Any) -> None:
    site.write("courses.d/broken.yaml", "id: broken\n")
    site.write("courses.d/.demo.yaml.swp", "\0")
    site.write("courses.d/notes.txt", "hello")
    loaded = load_site(site.root)
    assert list(loaded.courses) == ["demo"]
    assert [problem.file for problem in loaded.problems] == ["courses.d/broken.yaml"]


@pytest.mark.parametrize("url", ["https://a.org:8443/x/c.git", "ssh://git@a.org/c.git", "https://a.org/~x/c"])
@pytest.mark.parametrize("ref", ["main", "feature/a-b", "v1.2", "0" * 40])
def test_git_content_is_accepted(site: Any, url: str, ref: str) -> None:
    site.write("courses.d/demo.yaml", f"{HEAD}content: {{git: '{url}', ref: '{ref}'}}\n")
    assert site.run("check").code == 0


# --- what reaches beyond the file --------------------------------------------------------------

LOGIN = "authentication:\n  method: dummy\n"


def test_b10_dummy_in_production(site: Any) -> None:
    site.write("site.yaml", "mode: production\n")
    site.write("courses.d/demo.yaml", HEAD + LOGIN)
    site.assert_refused("courses.d/demo.yaml:4", "production mode refuses (write `workshop: true`")


def test_a_workshop_in_production_is_accepted(site: Any) -> None:
    site.write("site.yaml", "mode: production\n")
    site.write("courses.d/demo.yaml", HEAD + LOGIN + "  workshop: true\n")
    assert site.run("check").code == 0


@pytest.mark.parametrize(
    ("edge", "spawner", "refused"),
    [
        ("{host: 0.0.0.0}", "{}", True),
        ("{host: '::'}", "{}", True),
        ("{public_url: 'https://a.org'}", "{}", True),
        ("{host: 0.0.0.0}", "{accept_strangers: true}", False),
        ("{host: 0.0.0.0}", "{kind: docker}", False),
        ("{host: 0.0.0.0}", "{kind: swarm, storage: /srv/courseware}", False),
        ("{host: 127.0.0.1}", "{}", False),
        ("{host: localhost, public_url: 'http://localhost:8000'}", "{}", False),
    ],
)
def test_b10_strangers_on_a_public_site(site: Any, edge: str, spawner: str, refused: bool) -> None:
    site.write("site.yaml", f"mode: development\nedge: {edge}\nspawner: {spawner}\n")
    site.write("courses.d/demo.yaml", HEAD + LOGIN + "  self_chosen_names: true\n")
    if refused:
        site.assert_refused("courses.d/demo.yaml:5", "lets strangers run programs on this machine")
    else:
        assert site.run("check").code == 0


def test_strangers_in_containers_still_need_a_workshop_in_production(site: Any) -> None:
    site.write("site.yaml", "edge: {host: 0.0.0.0}\nspawner: {kind: docker}\n")
    site.write("courses.d/demo.yaml", HEAD + LOGIN + "  self_chosen_names: true\n")
    site.assert_refused("courses.d/demo.yaml:4", "production mode refuses (write `workshop: true`")
    site.write("courses.d/demo.yaml", HEAD + LOGIN + "  self_chosen_names: true\n  workshop: true\n")
    assert site.run("check").code == 0


def test_b10_more_servers_than_addresses(site: Any) -> None:
    site.write("site.yaml", "mode: development\nspawner: {kind: docker, course_network: 24}\n")
    site.write("courses.d/demo.yaml", HEAD + "limits:\n  servers: 128\n")
    site.assert_refused(
        "courses.d/demo.yaml:4",
        "`limits.servers` is 128, but a course's network of /24 has addresses for 127 servers (lower it, or lower "
        "`course_network` in site.yaml)",
    )
    site.write("courses.d/demo.yaml", HEAD + "limits:\n  servers: 127\n")
    assert site.run("check").code == 0


def test_b10_secret_file_is_missing(site: Any) -> None:
    site.write("courses.d/demo.yaml", HEAD + LOGIN + "  password: file:secrets/workshop\n")
    site.assert_refused("courses.d/demo.yaml:5", "the secret file `secrets/workshop` does not exist")


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o610])
def test_b10_secret_file_can_be_read_by_others(site: Any, mode: int) -> None:
    site.write("courses.d/demo.yaml", HEAD + LOGIN + "  password: file:secrets/workshop\n")
    site.write("secrets/workshop", "hunter2", mode=mode)
    site.assert_refused("courses.d/demo.yaml:5", "can be read by others (run `chmod 600 secrets/workshop`)")
    assert "hunter2" not in site.run("check").err


@pytest.mark.parametrize("content", ["", "\n", "  \n"])
def test_b10_secret_file_is_empty(site: Any, content: str) -> None:
    site.write("courses.d/demo.yaml", HEAD + LOGIN + "  password: file:secrets/workshop\n")
    site.write("secrets/workshop", content, mode=0o600)
    site.assert_refused("courses.d/demo.yaml:5", "the secret file `secrets/workshop` is empty")


def test_b10_secret_file_is_a_folder(site: Any) -> None:
    site.write("courses.d/demo.yaml", HEAD + LOGIN + "  password: file:secrets\n")
    (site.root / "secrets").mkdir(mode=0o700)
    site.assert_refused("courses.d/demo.yaml:5", "`secrets` cannot be read: not a regular file")


def test_b10_secret_variable_is_not_set(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORKSHOP", raising=False)
    site.write("courses.d/demo.yaml", HEAD + LOGIN + "  password: env:WORKSHOP\n")
    site.assert_refused("courses.d/demo.yaml:5", "the environment variable `WORKSHOP` is not set")


def test_b10_content_folder_is_missing(site: Any) -> None:
    site.write("courses.d/demo.yaml", HEAD + "content:\n  folder: content/demo\n")
    site.assert_refused("courses.d/demo.yaml:4", "the content folder `content/demo` does not exist")


def test_b10_start_notebook_is_missing(site: Any) -> None:
    site.write("content/demo/a.ipynb", "{}")
    site.write("courses.d/demo.yaml", HEAD + "content:\n  folder: content/demo\n  start: b.ipynb\n")
    site.assert_refused("courses.d/demo.yaml:5", "the content folder has no file `b.ipynb`")


@pytest.mark.parametrize("folder", [".", "state", "state/x", "homes", "homes/demo/alice", "content/link", ".."])
def test_b10_content_folder_shows_private_things(site: Any, folder: str) -> None:
    for name in ("state/x", "homes/demo/alice", "content"):
        (site.root / name).mkdir(parents=True)
    (site.root / "content/link").symlink_to("../state")
    site.write("courses.d/demo.yaml", HEAD + f"content:\n  folder: {folder}\n")
    site.assert_refused("courses.d/demo.yaml:4", "would show students the")


def test_an_archived_course_needs_nothing(site: Any) -> None:
    site.write("site.yaml", "mode: production\n")
    site.write("courses.d/demo.yaml", HEAD + "state: archived\ncontent: {folder: gone}\n")
    assert site.run("check").code == 0
