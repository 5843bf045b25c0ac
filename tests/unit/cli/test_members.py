"""`coursewarehub course members`: on the course's database, whether a hub runs or not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Outcome, write_course, write_site

Run = Callable[..., Outcome]
ACCOUNTS = {"authentication": {"method": "accounts"}, "members": {"owners": ["ada"]}}


@pytest.fixture
def members(root: Path, run: Run) -> Run:
    write_course(root, "alpha", **ACCOUNTS)

    def command(*arguments: str) -> Outcome:
        return run("course", "members", "alpha", *arguments)

    return command


def states(members: Run) -> dict[str, str]:
    return {person["name"]: person["state"] for person in json.loads(members("list", "--json").out)}


def test_one_person(root: Path, members: Run) -> None:
    assert members("list").out.split() == ["ada", "owner", "(file)", "no", "account"]
    made = members("invite", "Sam", "--display-name", "Sam", "--e-mail", "s@example.org", "--role", "assistant")
    assert made.code == 0 and made.out.startswith("http://127.0.0.1:8000/courses/alpha/hub/password?token=")
    assert members("list").out.splitlines()[0].split() == ["sam", "assistant", "invited", "Sam", "s@example.org"]
    again = members("invite", "sam")
    assert again.code == 0 and again.out != made.out
    members("invite", "sam", "--role", "student").assert_refused(1, "`import` changes what is known of people")
    members("reset", "sam").assert_refused(1, "`sam` is invited and has no password")
    assert members("disable", "sam").code == 0 and states(members) == {"sam": "disabled"}
    assert members("invite", "sam").code == 0 and states(members) == {"sam": "invited"}
    assert members("remove", "SAM").code == 0 and states(members) == {}
    members("remove", "sam").assert_refused(1, "There is no account `sam`")
    members("disable", "a/b").assert_refused(1, "`a/b` is no user name: it must not contain `/`")
    members("invite", "=x").assert_refused(1, "a spreadsheet would take it for a formula")
    assert (root / "state" / "courses" / "alpha").stat().st_mode & 0o077 == 0


def test_the_file_wins_and_that_is_said(members: Run) -> None:
    made = members("invite", "ada", "--role", "student")
    assert (
        made.code == 0 and made.err == "Note: ada is owner by the list in the course’s file, which wins over student.\n"
    )
    assert members("list").out.split() == ["ada", "owner", "(file)", "invited"]
    assert members("invite", "ada").err == ""


def test_b11_import_shows_first_and_then_does_all_of_it(tmp_path: Path, members: Run) -> None:
    file = tmp_path / "people.csv"
    file.write_bytes("学籍番号,氏名\r\ns1,山田\r\ns2,鈴木\r\n".encode("cp932"))
    shown = members("import", str(file), "--dry-run")
    assert shown.code == 0 and shown.out.splitlines() == [
        "+ s1, 山田, student",
        "+ s2, 鈴木, student",
        "2 would be invited, 0 changed, 0 as they are.",
    ]
    assert states(members) == {}
    done = members("import", str(file))
    assert done.out.splitlines()[-1] == "2 invited, 0 changed, 0 as they were (cp932)."
    assert [line.split()[0] for line in done.out.splitlines()[:-1]] == ["s1", "s2"]
    file.write_text("name,role\ns1,assistant\n")
    assert members("import", str(file), "--dry-run").out.splitlines()[:2] == [
        "- s1, 山田, student",
        "+ s1, 山田, assistant",
    ]
    assert "1 changed" in members("import", str(file)).out
    exported = members("export")
    assert exported.out.split("\r\n")[:2] == ["name,display name,e-mail,role,groups", "s1,山田,,assistant,"]


def test_b11_all_mistakes_and_nothing_half_done(tmp_path: Path, members: Run) -> None:
    file = tmp_path / "people.csv"
    links = tmp_path / "links.csv"
    file.write_text("name,role\nsam,student\nkim,teachr\nSam,\n")
    refused = members("import", str(file), "--links", str(links))
    assert refused.code == 2 and states(members) == {} and not links.exists()
    assert refused.err.splitlines() == [
        f"{file}:3: teachr is no role. Write one of: owner, instructor, assistant, student, observer.",
        f"{file}:4: sam is the same name as in line 2.",
    ]
    members("import", str(tmp_path / "none.csv")).assert_refused(1, "none.csv: No such file")
    members("import", str(file), "--encoding", "klingon").assert_refused(2, "klingon is no encoding")


def test_invitations_in_a_file_for_nobody_else(tmp_path: Path, members: Run) -> None:
    file, links = tmp_path / "people.csv", tmp_path / "links.csv"
    file.write_text("name\nsam\n")
    assert members("import", str(file), "--links", str(links)).out == "1 invited, 0 changed, 0 as they were (utf-8).\n"
    assert links.stat().st_mode & 0o777 == 0o600
    assert links.read_text("utf-8-sig").splitlines()[1].startswith("sam,,,student,,http://")
    file.write_text("name\nkim\n")
    members("import", str(file), "--links", str(links)).assert_refused(1, "exists already and is left as it is")
    assert states(members) == {"sam": "invited"}
    out = tmp_path / "out.csv"
    assert members("export", "--output", str(out)).code == 0
    assert out.stat().st_mode & 0o777 == 0o600 and "token" not in out.read_text()


def test_a_course_without_accounts(root: Path, run: Run) -> None:
    run("course", "members", "alpha", "list").assert_refused(2, "this course has no accounts of its own")
    run("course", "members", "beta", "list").assert_refused(1, "There is no course `beta`")


def test_a_spoilt_database_is_one_sentence(root: Path, members: Run) -> None:
    folder = root / "state" / "courses" / "alpha"
    folder.mkdir(parents=True)
    (folder / "hub.sqlite").write_text("this is no database, whatever its name says, and it is long enough to tell")
    members("list").assert_refused(1, "The database of the course cannot be used (DatabaseError).")


def test_links_lead_to_the_public_address(root: Path, members: Run) -> None:
    write_site(root, edge={"public_url": "https://courses.example.org"})
    assert members("invite", "sam").out.startswith("https://courses.example.org/courses/alpha/hub/password?token=")
