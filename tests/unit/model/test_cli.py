"""The command line: folders, new courses, states of courses, and how it ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from coursewarehub import __version__, cli
from coursewarehub.cli import main
from coursewarehub.cli.errors import CommandError
from coursewarehub.model import Role, check_site, load_site

# --- init --------------------------------------------------------------------------------------


def test_init_makes_a_site(site: Any, tmp_path: Path) -> None:
    root = tmp_path / "new/site"
    assert main(["init", str(root)]) == 0
    assert check_site(root).courses == {}
    assert (root / "state").stat().st_mode & 0o777 == 0o700
    assert (root / "courses.d").is_dir()
    assert (root / ".gitignore").read_text() == "/secrets/\nstate/\nhomes/\n"
    assert (root / "site.yaml").stat().st_mode & 0o077 == 0o044
    assert not [file for file in root.iterdir() if file.name.endswith(".new")]


@pytest.mark.parametrize("where", ["before", "after"])
def test_init_takes_site_before_and_after(tmp_path: Path, where: str) -> None:
    root = str(tmp_path / "s")
    arguments = ["--site", root, "init"] if where == "before" else ["init", "--site", root]
    assert main(arguments) == 0
    assert (tmp_path / "s/site.yaml").is_file()


def test_init_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["init"]) == 0
    assert (tmp_path / "site.yaml").is_file()


def test_init_never_overwrites(site: Any) -> None:
    outcome = site.run("init")
    assert outcome.code == 1
    assert outcome.err == f"coursewarehub: {site.root}/site.yaml exists already and is left as it is.\n"
    assert (site.root / "site.yaml").read_text() == "mode: development\n"
    assert not (site.root / "state").exists()


def test_init_of_two_folders(site: Any) -> None:
    outcome = site.run("init", "elsewhere")
    assert outcome.code == 1
    assert "Two folders are given" in outcome.err


def test_init_on_a_file(site: Any, tmp_path: Path) -> None:
    file = site.write("file", "x")
    assert main(["init", str(file)]) == 1


def test_init_keeps_what_is_ignored_already(tmp_path: Path) -> None:
    (tmp_path / ".gitignore").write_text("*.pyc\nstate/")
    (tmp_path / "state").mkdir(mode=0o755)
    assert main(["init", str(tmp_path)]) == 0
    assert (tmp_path / ".gitignore").read_text() == "*.pyc\nstate/\n/secrets/\nhomes/\n"
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700


# --- course create -----------------------------------------------------------------------------


def test_create(site: Any) -> None:
    outcome = site.run(
        *("course", "create", "stats", "--title", 'Statistics: "a" #1', "--description", "A\nB"),
        *("--language", "ja", "--owner", "Tanaka", "--student", "alice", "--student", "bob b"),
        *("--git", "https://a.org/x.git", "--ref", "main", "--start", "a b.ipynb", "--workshop"),
    )
    assert (outcome.code, outcome.err) == (0, "")
    course = load_site(site.root).courses["stats"]
    assert course.title.text("en") == 'Statistics: "a" #1'
    assert course.description.text("en") == "A\nB"
    assert (course.language, course.state) == ("ja", "draft")
    assert course.members.by_role()[Role.STUDENT] == ("alice", "bob b")
    assert course.members.role_of("tanaka") is Role.OWNER
    assert course.content is not None
    assert course.content.model_dump(exclude_none=True) == {
        "git": "https://a.org/x.git",
        "ref": "main",
        "start": "a b.ipynb",
    }
    assert course.authentication.workshop


def test_create_says_what_is_missing(site: Any) -> None:
    site.write("site.yaml", "mode: production\n")
    outcome = site.run("course", "create", "stats", "--title", "Statistics", "--folder", "content/x")
    assert outcome.code == 0
    assert "Wrote courses.d/stats.yaml (a draft)." in outcome.out
    lines = outcome.err.splitlines()
    assert len(lines) == 2
    assert all(line.startswith("Before it can run: courses.d/stats.yaml:") for line in lines)
    assert "`workshop: true`" in lines[0]
    assert "`content/x` does not exist" in lines[1]


def test_create_in_a_new_site_needs_one_flag_only(tmp_path: Path) -> None:
    root = str(tmp_path)
    assert main(["init", root]) == 0
    assert main(["course", "create", "stats", "--title", "S", "--workshop", "--site", root]) == 0
    assert main(["check", "--site", root]) == 0


@pytest.mark.parametrize("course_id", ["a", "A-course", "../x", "a/b", "x-", "学部", "a" * 33])
def test_create_refuses_a_bad_id(site: Any, course_id: str) -> None:
    before = sorted(site.root.rglob("*"))
    outcome = site.run("course", "create", course_id, "--title", "T")
    assert outcome.code == 1
    assert outcome.err.startswith(f"coursewarehub: `{course_id}` cannot be a course id: ")
    assert sorted(site.root.rglob("*")) == before


def test_create_never_overwrites(site: Any) -> None:
    outcome = site.run("course", "create", "demo", "--title", "Other")
    assert outcome.code == 1
    assert outcome.err.endswith("courses.d/demo.yaml exists already and is left as it is.\n")
    assert load_site(site.root).courses["demo"].title.text("en") == "Demo"
    assert [file.name for file in (site.root / "courses.d").iterdir()] == ["demo.yaml"]


@pytest.mark.parametrize(
    ("options", "telling"),
    [
        (["--language", "Japanese"], "must be a language tag"),
        (["--owner", "a/b"], "must not contain `/`"),
        (["--owner", "a", "--student", "A"], "who is in `owners` as well"),
        (["--git", "http://a.org/x"], "`https://` or `ssh://`"),
        (["--ref", "main"], "exactly one of `folder` and `git`"),
        (["--folder", "c", "--start", "../x"], "without `..`"),
    ],
)
def test_create_checks_before_it_writes(site: Any, options: list[str], telling: str) -> None:
    outcome = site.run("course", "create", "stats", "--title", "T", *options)
    assert outcome.code == 2
    assert telling in outcome.err
    assert not (site.root / "courses.d/stats.yaml").exists()


def test_create_needs_a_site(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["--site", str(tmp_path), "course", "create", "stats", "--title", "T"])
    assert code == 2
    assert "coursewarehub init" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


# --- course open, close, archive ---------------------------------------------------------------

STATES = [("open", "open"), ("close", "closed"), ("archive", "archived")]


@pytest.mark.parametrize(("verb", "state"), STATES)
@pytest.mark.parametrize(
    "layout",
    [
        "# top\nid: demo   # the id\n\n# 学生\nstate: {}   # see below\ntitle: Demo\n",
        "title: Demo\nid: demo\nstate: {}",
        'state: {}\r\nid: "demo"\r\ntitle: Demo\r\n',
        "{{id: demo, title: Demo, state: {}, limits: {{servers: 3}}}}\n",
        "---\nid: demo\ntitle: Demo\nstate:\n  {}\n...\n",
    ],
)
def test_only_the_state_changes(site: Any, layout: str, verb: str, state: str) -> None:
    file = site.write("courses.d/demo.yaml", layout.format("draft"), mode=0o640)
    outcome = site.run("course", verb, "demo")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out == f"courses.d/demo.yaml: the state is `{state}` now; it was `draft`.\n"
    assert file.read_bytes().decode() == layout.format(state)
    assert file.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("quoted", ["'draft'", '"draft"'])
def test_a_quoted_state_changes(site: Any, quoted: str) -> None:
    file = site.write("courses.d/demo.yaml", f"id: demo\nstate: {quoted} # q\ntitle: Demo\n")
    assert site.run("course", "open", "demo").code == 0
    assert file.read_text() == "id: demo\nstate: open # q\ntitle: Demo\n"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("# a\nid: demo # b\ntitle: Demo\n", "# a\nid: demo # b\nstate: open\ntitle: Demo\n"),
        ("title: Demo\nid: demo", "title: Demo\nid: demo\nstate: open\n"),
        ("id: demo\r\ntitle: Demo\r\n", "id: demo\r\nstate: open\r\ntitle: Demo\r\n"),
    ],
)
def test_a_missing_state_is_added(site: Any, before: str, after: str) -> None:
    file = site.write("courses.d/demo.yaml", before)
    assert site.run("course", "open", "demo").code == 0
    assert file.read_bytes().decode() == after


@pytest.mark.parametrize(
    "text",
    [
        "{id: demo, title: Demo}\n",
        "id: demo\ntitle: &t Demo\nstate: &s draft\ndescription: *s\n",
        "  id: demo\n  title: Demo\n",
        "id: demo\ntitle: Demo\nimage: &d draft\nstate: *d\n",
    ],
)
def test_an_unusual_layout_is_left_alone(site: Any, text: str) -> None:
    file = site.write("courses.d/demo.yaml", text)
    outcome = site.run("course", "open", "demo")
    assert outcome.code == 1
    assert outcome.err == (
        "coursewarehub: courses.d/demo.yaml has an unusual layout; write `state: open` into it by hand.\n"
    )
    assert file.read_text() == text


def test_opening_twice_writes_nothing(site: Any) -> None:
    site.run("course", "open", "demo")
    file = site.root / "courses.d/demo.yaml"
    before = file.stat().st_ino
    outcome = site.run("course", "open", "demo")
    assert (outcome.code, outcome.out) == (0, "courses.d/demo.yaml: the state is `open` already.\n")
    assert file.stat().st_ino == before


def test_a_linked_file_stays_a_link(site: Any) -> None:
    site.write("shared/demo.yaml", "id: demo\ntitle: Demo\nstate: draft\n")
    link = site.root / "courses.d/demo.yaml"
    link.unlink()
    link.symlink_to("../shared/demo.yaml")
    assert site.run("course", "open", "demo").code == 0
    assert link.is_symlink()
    assert "state: open" in (site.root / "shared/demo.yaml").read_text()


def test_a_broken_course_is_not_changed(site: Any) -> None:
    file = site.write("courses.d/demo.yaml", "id: demo\nstate: draft\n")
    outcome = site.run("course", "open", "demo")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith("courses.d/demo.yaml:1: `title` is missing")
    assert file.read_text() == "id: demo\nstate: draft\n"


def test_opening_what_cannot_run_says_so(site: Any) -> None:
    site.write("site.yaml", "mode: production\n")
    outcome = site.run("course", "open", "demo")
    assert outcome.code == 0
    assert outcome.err.startswith("Before it can run: courses.d/demo.yaml:")


@pytest.mark.parametrize("verb", ["show", "open", "close", "archive"])
@pytest.mark.parametrize("course_id", ["nothing", "../site", "a/../demo", "", "Demo"])
def test_an_unknown_course(site: Any, verb: str, course_id: str) -> None:
    outcome = site.run("course", verb, course_id)
    assert outcome.code == 1
    assert outcome.err == f"coursewarehub: There is no course `{course_id}` (courses: demo).\n"


# --- course list, course show ------------------------------------------------------------------

FULL = """\
id: full
title: {en: Full, ja: 全部}
description: |
  First line.
  Second line.
state: open
dates: {opens: 2026-04-01, closes: 2026-07-31}
authentication: {method: dummy, password: file:workshop, self_chosen_names: true}
members: {owners: [tanaka], students: [alice, bob]}
content: {folder: content/full, start: a.ipynb}
limits: {servers: 3, idle_server: never}
"""


def test_list(site: Any) -> None:
    site.write("courses.d/full.yaml", FULL)
    outcome = site.run("course", "list")
    assert outcome.code == 0
    assert outcome.out == "demo  draft     Demo\nfull  open      Full\n"


def test_list_for_programs(site: Any) -> None:
    site.write("courses.d/full.yaml", FULL)
    courses = json.loads(site.run("course", "list", "--json").out)
    assert [(course["id"], course["state"]) for course in courses] == [("demo", "draft"), ("full", "open")]
    assert courses[1]["title"] == {"en": "Full", "ja": "全部", "fr": None}


def test_list_names_broken_files_as_well(site: Any) -> None:
    site.write("courses.d/broken.yaml", "")
    outcome = site.run("course", "list")
    assert outcome.code == 2
    assert outcome.out == "demo  draft     Demo\n"
    assert outcome.err == "courses.d/broken.yaml:1: is empty\n"


def test_list_of_nothing(site: Any) -> None:
    (site.root / "courses.d/demo.yaml").unlink()
    assert site.run("course", "list").out == "There are no courses.\n"


CONTAINERS = """\
id: full
title: Full
image: example.org/python:1
egress: registries
placement: {constraints: [node.labels.zone==a, node.role==worker]}
resources:
  memory_guarantee: 1G
  cpu_guarantee: 0.5
  groups: {teaching-assistant: {mem_limit: 4G, cpu_limit: 1, priority: 1}, student: {}}
  default: {mem_guarantee: 512M}
"""


def test_show_what_is_for_containers(site: Any) -> None:
    site.write("courses.d/full.yaml", CONTAINERS)
    lines = site.run("course", "show", "full").out.splitlines()
    start = next(index for index, line in enumerate(lines) if line.startswith("one server"))
    assert [line for line in lines[start:] if not line.startswith(("all servers", "idle", "content"))] == [
        "one server   2G memory, 2 cores, 512 processes, 4096 open files",
        "guaranteed   1G memory, 0.5 cores",
        "others       teaching-assistant: mem_limit 4G, cpu_limit 1.0",
        "             student: the same",
        "             default: mem_guarantee 512M",
        "image        example.org/python:1",
        "reaches      the site and package registries",
        "only nodes   node.labels.zone==a, node.role==worker",
    ]


def test_show_says_one_core(site: Any) -> None:
    """One is not many, of what a server gets and of what is set aside for it."""
    resources = "resources: {memory: 2G, memory_guarantee: 1G, cpu: 1, cpu_guarantee: 1}\n"
    site.write("courses.d/one.yaml", f"id: one\ntitle: One\nstate: open\n{resources}")
    shown = site.run("course", "show", "one").out
    assert "2G memory, 1 core, " in shown and "1G memory, 1 core\n" in shown


def test_show(site: Any) -> None:
    site.write("courses.d/full.yaml", FULL)
    site.write("workshop", "hunter2", mode=0o600)
    outcome = site.run("course", "show", "full")
    assert outcome.code == 0
    assert outcome.out == (
        "id           full\n"
        "title        Full\n"
        "             全部\n"
        "description  First line.\n"
        "             Second line.\n"
        "language     en\n"
        "state        open\n"
        "dates        from 2026-04-01 to 2026-07-31\n"
        "login        dummy\n"
        "password     file:workshop\n"
        "names        anybody with the password may choose one\n"
        "owners       (1) tanaka\n"
        "instructors  none\n"
        "assistants   none\n"
        "students     (2) alice, bob\n"
        "observers    none\n"
        "one server   2G memory, 2 cores, 512 processes, 4096 open files\n"
        "all servers  at most 3 at once\n"
        "idle after   never\n"
        "content      folder content/full\n"
        "start        a.ipynb\n"
    )


def test_show_for_programs(site: Any) -> None:
    site.write("courses.d/full.yaml", FULL)
    site.write("workshop", "hunter2", mode=0o600)
    outcome = site.run("course", "show", "full", "--json")
    shown = json.loads(outcome.out)
    assert shown["authentication"]["password"] == "file:workshop"
    assert shown["limits"] == {"servers": 3, "idle_server": "never"}
    assert "hunter2" not in outcome.out


# --- check and schema --------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "line"), [(0, "OK: 0 courses"), (1, "OK: 1 course"), (2, "OK: 2 courses")])
def test_check_counts_courses(site: Any, count: int, line: str) -> None:
    (site.root / "courses.d/demo.yaml").unlink()
    for number in range(count):
        site.write(f"courses.d/c{number}.yaml", f"id: c{number}\ntitle: C\n")
    assert site.run("check") == (0, line + "\n", "")


def test_a_site_needs_no_courses_folder(site: Any) -> None:
    (site.root / "courses.d/demo.yaml").unlink()
    (site.root / "courses.d").rmdir()
    assert site.run("check").out == "OK: 0 courses\n"


@pytest.mark.parametrize(
    ("arguments", "start"),
    [
        ((), "{"),
        (("site",), "{"),
        (("course",), "{"),
        (("--reference",), "# Configuration\n"),
        (("--example",), "# Settings of one CoursewareHub site."),
        (("course", "--example"), "# One course;"),
    ],
)
def test_schema(site: Any, arguments: tuple[str, ...], start: str) -> None:
    outcome = site.run("schema", *arguments)
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.startswith(start)
    if start == "{":
        wanted = "Course" if "course" in arguments else "Site"
        assert json.loads(outcome.out)["title"] == wanted


# --- how it ends -------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["course"], ["course", "show"], ["schema", "x"]])
def test_wrong_command_lines(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("usage: coursewarehub")
    assert "Traceback" not in captured.err


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"coursewarehub {__version__}\n"
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"    {noun.name}" in shown and noun.help in shown for noun in cli.NOUNS)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--site", "{}", "course", "show", "demo"],
        ["course", "--site", "{}", "show", "demo"],
        ["course", "show", "--site", "{}", "demo"],
        ["course", "show", "demo", "--site", "{}"],
        ["--site", "nowhere", "course", "show", "demo", "--site={}"],
    ],
)
def test_site_may_stand_anywhere(site: Any, arguments: list[str]) -> None:
    assert main([argument.format(site.root) for argument in arguments]) == 0


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (CommandError("No."), 1, "coursewarehub: No.\n"),
        (PermissionError(13, "Permission denied", "/x"), 1, "coursewarehub: /x: Permission denied.\n"),
        (OSError("odd"), 1, "coursewarehub: odd.\n"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_errors_are_sentences(
    site: Any, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, message: str
) -> None:
    def fail(root: Path) -> None:
        raise error

    monkeypatch.setattr("coursewarehub.model.load.check_site", fail)
    outcome = site.run("check")
    assert (outcome.code, outcome.err) == (code, message)


def run_python(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        env={**os.environ, **environ},
        timeout=60,
    )


def test_python_m_is_the_command(site: Any) -> None:
    done = run_python("-m", "coursewarehub", "check", "--site", str(site.root))
    assert (done.returncode, done.stdout, done.stderr) == (0, "OK: 1 course\n", "")


def test_a_terminal_without_the_characters_is_no_reason_to_fail(site: Any) -> None:
    site.write("courses.d/full.yaml", FULL)
    done = run_python(
        "-m", "coursewarehub", "course", "show", "full", "--site", str(site.root), PYTHONIOENCODING="ascii"
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "\\u5168\\u90e8" in done.stdout


def test_a_reader_that_stops_reading_is_no_reason_for_a_traceback() -> None:
    command = f"'{sys.executable}' -m coursewarehub schema course --reference | head -1"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout == "# Configuration\n"
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from coursewarehub.cli import main; main(['course', '--help'])\n"
        "heavy = {'pydantic', 'ruamel', 'tornado', 'jupyterhub', 'asyncio'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = run_python("-c", code)
    assert done.returncode == 0, done.stderr
