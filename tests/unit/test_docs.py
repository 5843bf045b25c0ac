"""The documentation says what the code does: commands, settings, names, files and tables are compared with it."""

from __future__ import annotations

import argparse
import configparser
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import unquote

import pytest

from coursewarehub.cli import NOUNS, build_parser
from coursewarehub.cli.status import not_running
from coursewarehub.hub.assembly import PARTS, SCOPES, SERVICE_SCOPES
from coursewarehub.model import Course, Role, check_site, decide, load_site
from coursewarehub.model.load import parse_course
from coursewarehub.model.platforms import parse_platform
from coursewarehub.model.yaml_source import parse
from coursewarehub.nodes import rules
from coursewarehub.site.cluster import Cluster, Seen, State, Wanted, standing_with
from coursewarehub.site.hubs import HubState
from coursewarehub.site.readiness import NodeReport
from coursewarehub.state.folders import SiteFolders
from coursewarehub.state.ports import FIRST, LAST
from coursewarehub.wire import environment, paths
from coursewarehub.wire.prefork import Event, Operation

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
TOP = [ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md")]
PAGES = [*TOP, *sorted(page for page in DOCS.rglob("*.md") if "_build" not in page.parts)]


def reference(name: str) -> str:
    return (DOCS / "reference" / f"{name}.md").read_text(encoding="utf-8")


def blocks(page: Path, language: str) -> Iterator[str]:
    """The fenced blocks of a page in one language."""
    text = page.read_text(encoding="utf-8")
    yield from re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def table(text: str, first_header: str) -> list[list[str]]:
    """The cells of the table whose first header is given, header included."""
    lines = iter(text.splitlines())
    rows = []
    for line in lines:
        if line.startswith(f"| {first_header} |"):
            rows = [line, *_rest_of_table(lines)]
            break
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows if not row.startswith("| ---")]


def _rest_of_table(lines: Iterator[str]) -> Iterator[str]:
    for line in lines:
        if not line.startswith("|"):
            return
        yield line


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


# --- the whole ---------------------------------------------------------------------------------


@pytest.mark.slow
def test_it_builds_without_a_warning(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html"]
    folders = ["-d", str(tmp_path / "doctrees"), str(DOCS), str(tmp_path / "html")]
    done = subprocess.run([*command, *folders], capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "html/reference/cli.html").read_text(encoding="utf-8")
    assert "usage: coursewarehub course create" in page


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_internal_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target, anchor in re.findall(r"\]\(([^)#\s]*)(#[^)\s]*)?\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        file = (page.parent / unquote(target)).resolve() if target else page
        assert file.is_file(), f"{named(page)} links to {target}"
        if anchor:
            assert anchor[1:] in anchors(file), f"{named(page)} links to {target}{anchor}"


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_images_are_small() -> None:
    images = list((DOCS / "_static").glob("*.png"))
    assert {image.name for image in images} >= {"portal.png", "notebook.png"}
    assert all(image.stat().st_size < 250_000 for image in images)


def test_named_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named_targets = {
        target
        for page in PAGES
        for target in re.findall(r"(?:`|^\$ |=\d+ )make ([a-z-]+)", page.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert {"demo", "test", "test-fast", "test-long", "docs", "lint"} <= named_targets <= targets


def test_pre_commit_runs_the_tools_of_make_lint() -> None:
    recipe = (ROOT / "Makefile").read_text(encoding="utf-8").split("\nlint:")[1].split("\n\n")[0]
    wanted = re.findall(r"^\t\$\(BIN\)/(\S+(?: [a-z]+)?)", recipe, re.MULTILINE)
    hooks = parse((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"), "hooks").data["repos"][0]["hooks"]
    run = [re.match(r"\.venv/bin/(\S+(?: [a-z]+)?)", hook["entry"]) for hook in hooks]
    assert [found[1] for found in run if found] == wanted


# --- commands ----------------------------------------------------------------------------------


def commands() -> Iterator[list[str]]:
    """Every command: a noun, and its verbs."""
    for noun in NOUNS:
        yield [noun.name]
        yield from ([noun.name, verb] for verb in inner(inner(build_parser([noun.name]))[noun.name]))


def inner(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    found: dict[str, argparse.ArgumentParser] = {}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            found |= action.choices
    return found


def test_every_command_is_documented_and_no_other() -> None:
    page = reference("cli")
    headings = re.findall(r"^##+ coursewarehub (.+)$", page, re.MULTILINE)
    assert sorted(headings) == sorted(" ".join(words) for words in commands())
    for words in commands():
        section = page.split(f"# coursewarehub {' '.join(words)}\n")[1].split("\n#")[0]
        assert f"```{{cli-help}} {' '.join(words)}\n" in section


def shown_commands() -> Iterator[tuple[str, str]]:
    """What follows `coursewarehub` in every command line on the pages, with the page's name."""
    for page in PAGES:
        for block in (*blocks(page, "console"), *blocks(page, "ini")):
            for line in block.splitlines():
                if line.startswith(("$ ", "ExecStart=")):
                    found = re.findall(r'(?:^\$ |/|\$\()coursewarehub ((?:"[^"]*"|[^|>)&;"])+)', line)
                    yield from ((named(page), arguments.strip()) for arguments in found)


@pytest.mark.parametrize(("page", "arguments"), sorted(set(shown_commands())))
def test_shown_commands_are_understood(page: str, arguments: str) -> None:
    words = shlex.split(arguments)
    assert callable(build_parser(words).parse_args(words).run), page


def test_there_are_commands_to_check() -> None:
    assert {"check", "status", "doctor"} <= {arguments for _, arguments in shown_commands()}


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_commands_in_the_text_exist(page: Path) -> None:
    known = [" ".join(words) for words in commands()]
    for noun, word in re.findall(r"`coursewarehub ([a-z-]+)(?: ([a-z-]+))?", page.read_text(encoding="utf-8")):
        assert (f"{noun} {word}" if noun == "course" and word else noun) in known


# --- configuration -----------------------------------------------------------------------------


def examples(page: Path) -> Iterator[tuple[str, str, bool]]:
    """File, text and whether it is whole, for each YAML example that says in its first line what it is."""
    for block in blocks(page, "yaml"):
        title = re.match(r"# (in )?(site\.yaml|(?:courses|platforms)\.d/[a-z-]+\.yaml)\n", block)
        assert title, f"an example on {named(page)} does not begin with the name of its file: {block[:80]}"
        yield title[2], block, title[1] is None


@pytest.mark.parametrize(
    ("page", "name", "text", "whole"),
    [(named(page), *example) for page in PAGES for example in examples(page)],
)
def test_examples_are_valid(tmp_path: Path, page: str, name: str, text: str, whole: bool) -> None:
    if name == "site.yaml":
        (tmp_path / name).write_text(text, encoding="utf-8")
        load_site(tmp_path)
        return
    if name.startswith("platforms.d/"):
        assert parse_platform(Path(name).stem, text), page
        return
    missing = {} if whole else {"id": Path(name).stem, "title": "Example"}
    missing = {key: value for key, value in missing.items() if not re.search(rf"^{key}:", text, re.MULTILINE)}
    head = "".join(f"{key}: {value}\n" for key, value in missing.items())
    course, _ = parse_course(tmp_path, tmp_path / name, head + text)
    assert course.id == Path(name).stem, page


def test_the_readme_has_a_whole_site(tmp_path: Path) -> None:
    for name, text, _ in examples(ROOT / "README.md"):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")
    notebook = tmp_path / "content/statistics/01-samples.ipynb"
    notebook.parent.mkdir(parents=True)
    notebook.write_text("{}")
    assert list(check_site(tmp_path).courses) == ["statistics"]


# --- what the code names -----------------------------------------------------------------------

VARIABLES = {value for name, value in vars(environment).items() if name.isupper() and isinstance(value, str)}
TEST_BEDS = {"COURSEWARE_TEST_CACHE", "COURSEWARE_TEST_IMAGES"}  # of tests/support


def test_every_environment_variable_is_documented_and_no_other() -> None:
    assert len(VARIABLES) >= 6
    rows = table(reference("environment"), "Name")
    assert {row[0].strip("`") for row in rows[1:]} == VARIABLES


def test_no_page_names_an_unknown_variable() -> None:
    for page in PAGES:
        found = set(re.findall(r"\bCOURSEWARE_[A-Z_]+", page.read_text(encoding="utf-8")))
        assert found <= VARIABLES | TEST_BEDS, named(page)


def test_url_paths_are_documented() -> None:
    rows = {row[0].strip("`") for row in table(reference("environment"), "Path")}
    assert {paths.PORTAL, paths.ASSETS, paths.course_prefix("<id>")} <= rows


def test_every_part_of_a_hub_is_documented_in_order() -> None:
    headings = re.findall(r"^## `(\w+)`$", reference("hub"), re.MULTILINE)
    assert headings == [part.__name__ for part in PARTS]


def site_places() -> Iterator[str]:
    """Every place of a site that the code knows, as the page writes it."""
    site = SiteFolders(Path("."))
    course = site.course("<id>")
    for owner in (site, course):
        for name, member in vars(type(owner)).items():
            if isinstance(member, property):
                yield str(getattr(owner, name))
    yield str(site.course_secrets("<id>"))
    yield from (str(site.parent(kind)) for kind in ("hub", "server"))


@pytest.mark.parametrize("place", sorted(set(site_places()) - {"."}))
def test_files_of_a_site_are_documented(place: str) -> None:
    written = re.findall(r"`([^`]+)`", reference("files"))
    assert any(path.rstrip("/") == place or path.startswith(f"{place}/") for path in written), place


def test_ports_are_documented() -> None:
    assert f"between {FIRST} and {LAST}" in reference("processes")


def test_requests_to_the_parents_are_documented() -> None:
    section = reference("processes").split("## Requests to the parents")[1]
    assert set(re.findall(r"`([a-z]+)`", section)) == {*Operation, *Event}


def test_states_of_a_hub_are_documented() -> None:
    rows = table(reference("status"), "`hub.state`")
    assert {row[0].strip("`") for row in rows[1:]} == set(HubState)


def test_the_status_example_has_every_key(tmp_path: Path) -> None:
    (tmp_path / "site.yaml").write_text("mode: development\n")
    (tmp_path / "courses.d").mkdir()
    (tmp_path / "courses.d/statistics.yaml").write_text("id: statistics\ntitle: Statistics\n")
    said = not_running(load_site(tmp_path))
    shown = json.loads(next(blocks(DOCS / "reference/status.md", "json")))
    assert shown.keys() == said.keys()
    assert shown["courses"][0].keys() == said["courses"][0].keys()
    assert shown["courses"][0]["hub"].keys() == said["courses"][0]["hub"].keys()
    words = set(re.findall(r"\w+", " ".join(re.findall(r"`([^`]+)`", reference("status")))))
    assert {*said, *said["courses"][0], *said["courses"][0]["hub"]} <= words


def test_the_engine_of_the_status_example_has_every_key(tmp_path: Path) -> None:
    """The example is a whole answer of a site with two nodes, as the code would give it."""
    _, shown = (json.loads(block) for block in blocks(DOCS / "reference/status.md", "json"))
    cluster = Cluster("swarm", NoSide(), Wanted, lambda _: None, tmp_path / "engine.json", isolated=True)
    lacking = NodeReport("2", "n2", "ready", "active", ("the agent that applies the network rules does not run there",))
    cluster._seen = Seen((NodeReport("1", "n1", "ready", "active", (), 4), lacking))
    cluster._note(standing_with(cluster._seen.nodes, ()))
    since = shown["engine"].pop("since")
    told = cluster.status()
    assert datetime.fromisoformat(since).tzinfo and told.pop("since")
    assert shown["engine"] == told


class NoSide:
    """An engine that is not asked."""

    def isolation(self) -> str | None:
        return None


def test_states_of_the_engine() -> None:
    rows = table(reference("status"), "State of the engine")
    assert [row[0] for row in rows[1:]] == [f"`{state}`" for state in State]


def test_ports_and_addresses_that_learners_do_not_reach() -> None:
    text = reference("firewall")
    closed = [row[0] for row in table(text, "Ports")[1:]]
    assert closed[:2] == [", ".join(map(str, ports)) for ports in (rules.MAIL, rules.POOLS)]
    udp = ", ".join(f"{port}/udp" for port in rules.ENGINES_UDP)
    assert closed[2] == f"{', '.join(map(str, rules.ENGINES))}, and {udp}"
    named = [name for name in re.findall(r"`([0-9a-f.:]+/\d+)`", text) if name != "2000::/3"]
    assert named == [*rules.PRIVATE, *rules.TUNNELS6]


def test_modules_with_translated_sentences_are_named() -> None:
    text = (DOCS / "how-to/translate.md").read_text(encoding="utf-8")
    marked = [
        path.relative_to(ROOT).as_posix()
        for folder in ("coursewarehub", "authenticators", "spawners")
        for path in sorted((ROOT / folder).rglob("*.py"))
        if "i18n" not in path.parts and re.search(r"\bN_\(", path.read_text(encoding="utf-8"))
    ]
    assert len(marked) > 3
    assert [path for path in marked if f"`{path}`" not in text] == []


# --- who may do what ---------------------------------------------------------------------------

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
CIRCUMSTANCES = {
    "`draft`": ("draft", None, None),
    "`open`, before `dates.opens`": ("open", NOW + DAY, None),
    "`open`, within its dates": ("open", NOW - DAY, NOW + DAY),
    "`open`, after `dates.closes`": ("open", None, NOW - DAY),
    "`closed`": ("closed", None, None),
    "`archived`": ("archived", None, None),
}


def course_with(state: str, opens: datetime | None, closes: datetime | None, *, strangers: bool) -> Course:
    dates = {"opens": opens and opens.isoformat(), "closes": closes and closes.isoformat()}
    data = {
        "id": "course",
        "title": "Course",
        "state": state,
        "dates": {key: value for key, value in dates.items() if value},
        "members": {f"{role}s": [str(role)] for role in Role},
        "authentication": {"method": "dummy", "self_chosen_names": strangers},
    }
    return Course.model_validate_json(json.dumps(data), strict=True)


def test_the_table_of_who_may_enter() -> None:
    page = (DOCS / "explanation/access.md").read_text(encoding="utf-8")
    header, *rows = table(page, "State of the course")
    assert header[1:] == [*Role, "anybody else"]
    assert [row[0] for row in rows] == list(CIRCUMSTANCES)
    for row in rows:
        course = course_with(*CIRCUMSTANCES[row[0]], strangers=False)
        answers = [decide(course, name, now=NOW).allowed for name in (*Role, "somebody")]
        assert row[1:] == ["yes" if allowed else "no" for allowed in answers], row[0]
        with_strangers = course_with(*CIRCUMSTANCES[row[0]], strangers=True)
        assert decide(with_strangers, "somebody", now=NOW).allowed is decide(course, "student", now=NOW).allowed


NEEDED = {
    "see who takes part and who is working": {"admin-ui", "list:users", "read:servers"},
    "start and stop another person's server": {"start:servers", "delete:servers"},
    "open another person's server": {"access:servers"},
    "add people, change roles": {"admin:users", "admin:groups", "groups"},
    "stop the hub": {"shutdown"},
}


def test_the_table_of_what_a_role_may_do() -> None:
    page = (DOCS / "explanation/access.md").read_text(encoding="utf-8")
    header, everybody, *rows = table(page, "Right")
    assert header[1:] == list(Role)
    assert everybody[1:] == ["yes"] * len(Role)
    assert [row[0] for row in rows] == list(NEEDED)
    for what, *answers in rows:
        for role, answer in zip(Role, answers, strict=True):
            held = NEEDED[what] & set(SCOPES.get(role, ()))
            assert held in (set(), NEEDED[what]), f"{role} may {what} by half"
            assert answer == ("yes" if held else "no"), f"{role}: {what}"


def test_the_scopes_of_each_group() -> None:
    rows = table(reference("hub"), "Group")[1:]
    written = {role: set(re.findall(r"`([^`]+)`", row[1])) for row in rows for role in re.findall(r"`(\w+)`", row[0])}
    assert written == {str(role): set(SCOPES.get(role, ())) for role in Role}
    service = reference("hub").split("The service `site`")[1].split("\n\n")[0]
    assert set(re.findall(r"`([a-z]+:[a-z]+|proxy|tokens)`", service)) == set(SERVICE_SCOPES)


# --- the map -----------------------------------------------------------------------------------


def test_the_architecture_page_has_every_package() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    packages = set(config["options"]["packages"].split()) - {"coursewarehub"}
    rows = table((ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8"), "Package")
    assert {row[0].strip("`") for row in rows[1:]} == packages
