"""What each part makes of a site and a course, as values."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from jinja2 import DictLoader, Environment
from pydantic import SecretStr
from support.models import a_course, a_site
from traitlets.config import Config

from coursewareauthenticator.dummy import WorkshopMethod
from coursewareauthenticator.identities import IdentityBook
from coursewarehub.hub import assembly, members
from coursewarehub.hub.assembly import (
    CompiledTemplates,
    Order,
    Place,
    assemble,
    configure,
    effective,
    load_extra,
    place_of,
)
from coursewarehub.hub.audit.recorder import AuditSettings
from coursewarehub.hub.localisation import Localisation
from coursewarehub.hub.members import NO_NETWORK, NOT_FENCED, obstacle_in
from coursewarehub.hub.places import PEOPLE_SCOPE
from coursewarehub.hub.proxy import CourseProxy
from coursewarehub.model import STAFF, ConfigurationError, Course, Reason, Role, Site
from coursewarehub.model.networks import capacity, course_network
from coursewarehub.model.spawner import ContainerSpawner
from coursewarehub.state.folders import SiteFolders
from coursewarehub.wire import environment as names
from coursewarehub.wire.audit import READ_AUDIT
from coursewarespawner.plan import Member


def a_place(port: int = 21000, secret: str = "x") -> Place:
    return Place(
        folders=SiteFolders(Path("/site")),
        port=port,
        edge_api="http://127.0.0.1:20001",
        edge_password=SecretStr("edge"),
        service_token=SecretStr(f"token-{secret}"),
        password=SecretStr(f"password-{secret}"),
        database_url=SecretStr("sqlite:////site/state/courses/alpha/hub.sqlite"),
    )


def made_by(part: str, site: Site | None = None, course: Course | None = None) -> dict[str, Any]:
    """What one part writes, as plain dictionaries."""
    config = Config()
    getattr(assembly, part)(config, Order(site or a_site(), course or a_course(), a_place()))
    return {section: dict(settings) for section, settings in config.items()}


def test_addresses() -> None:
    expected = {
        "base_url": "/courses/alpha/",
        "bind_url": "http://127.0.0.1:9000/courses/alpha/",
        "hub_bind_url": "http://127.0.0.1:21000",
        "hub_connect_url": "http://127.0.0.1:21000",
    }
    assert made_by("addresses", a_site(edge={"port": 9000})) == {"JupyterHub": expected}
    public = a_site(edge={"port": 9000, "host": "0.0.0.0", "public_url": "https://hub.example.org/"})
    assert made_by("addresses", public) == {
        "JupyterHub": {**expected, "public_url": "https://hub.example.org/courses/alpha/"}
    }


def test_database() -> None:
    assert made_by("database") == {
        "JupyterHub": {
            "db_url": "sqlite:////site/state/courses/alpha/hub.sqlite",
            "cookie_secret_file": "/site/state/courses/alpha/cookie_secret",
        }
    }


def test_servers_and_routes_outlive_the_hub() -> None:
    assert made_by("lasting_servers") == {
        "JupyterHub": {
            "cleanup_servers": False,
            "cleanup_proxy": False,
            "last_activity_interval": 60,
            "init_spawners_timeout": 1,
        }
    }


def test_edge() -> None:
    assert made_by("edge") == {
        "JupyterHub": {"proxy_class": CourseProxy},
        "CourseProxy": {
            "should_start": False,
            "enable_setup_dynamic_config": False,
            "dynamic_config_file": "/site/state/edge/routes/course-alpha.yaml",
            "traefik_api_url": "http://127.0.0.1:20001",
            "traefik_api_username": "hub",
            "traefik_api_password": "edge",
            "traefik_entrypoint": "web",
        },
    }


def test_authentication() -> None:
    made = made_by("authentication")
    assert callable(made["CoursewareAuthenticator"].pop("decide"))
    assert callable(made["CoursewareLogin"].pop("name_for"))
    assert made == {
        "JupyterHub": {"authenticator_class": "courseware"},
        "CoursewareAuthenticator": {},
        "CoursewareLogin": {
            "methods": [WorkshopMethod(SecretStr("password-x"))],
            "identities": IdentityBook("sqlite:////site/state/courses/alpha/hub.sqlite"),
        },
        "Authenticator": {"admin_users": set()},
    }


def test_roles() -> None:
    made = made_by("roles")["JupyterHub"]
    assert made["services"] == [{"name": "site", "api_token": "token-x"}]
    by_name = {role["name"]: role for role in made["load_roles"]}
    assert set(by_name) == {"site", "course-owner", "course-instructor", "course-assistant"}
    assert by_name["site"]["services"] == ["site"] and "groups" not in by_name["site"]
    for role in (Role.OWNER, Role.INSTRUCTOR, Role.ASSISTANT):
        assert by_name[f"course-{role}"]["groups"] == [str(role)]


@pytest.mark.parametrize("role", [Role.OWNER, Role.INSTRUCTOR, Role.ASSISTANT])
def test_no_role_can_become_more_or_look_into_servers(role: Role) -> None:
    """Staff see who is there and may stop servers; they make no users, tokens or admins, and enter no server."""
    scopes = set(assembly.SCOPES[role])
    forbidden = ("admin:", "access:servers", "tokens", "users:", "shares", "proxy", "shutdown", "read:roles", "groups")
    assert not [scope for scope in scopes if scope.startswith(forbidden)]
    assert not [scope for scope in scopes if scope.startswith("inherit") or scope == "self"]


def test_students_and_observers_have_no_scopes_of_their_own() -> None:
    assert Role.STUDENT not in assembly.SCOPES and Role.OBSERVER not in assembly.SCOPES


@pytest.mark.parametrize(
    ("lines", "where"), [("", ""), ("log", "log"), ("logs/audit.jsonl", "/site/logs/audit.jsonl"), ("/var/a", "/var/a")]
)
def test_audit(lines: str, where: str) -> None:
    kept = {"keep_days": 30, "most_events": 5000, "addresses": "none", "lines": lines}
    settings = made_by("audit", a_site(audit=kept))["CourseHub"]["audit"]
    assert settings == AuditSettings(
        course="alpha",
        state="open",
        url="sqlite:////site/state/courses/alpha/hub.sqlite",
        keep_days=30,
        most_events=5000,
        addresses="none",
        lines=where,
    )
    assert "sqlite" not in repr(settings)


def test_only_owners_and_instructors_read_the_audit() -> None:
    assert [role for role, scopes in assembly.SCOPES.items() if READ_AUDIT in scopes] == [Role.OWNER, Role.INSTRUCTOR]
    assert set(made_by("roles")["JupyterHub"]["custom_scopes"]) == {READ_AUDIT, PEOPLE_SCOPE}
    assert set(assembly.SCOPES) == STAFF


def expected_servers(**changes: Any) -> dict[str, Any]:
    return {
        "JupyterHub": {"spawner_class": "courseware-local", "concurrent_spawn_limit": 0, "active_server_limit": 0},
        "Spawner": {
            "default_url": "/lab",
            "disable_user_config": True,
            "poll_interval": 5,
            "mem_limit": 2 << 30,
            "cpu_limit": 2.0,
            "start_timeout": 300,
            "http_timeout": 60,
        },
        "CoursewareLocalSpawner": {
            "parent_folder": "/site/state/run/server-parent",
            "start_parent": False,
            "homes_folder": "/site/homes/alpha",
            "logs_folder": "/site/state/logs/servers/alpha",
            "material": "",
            "open_files": 4096,
            "concurrent_starts": 0,
            "variables": {"COURSEWARE_COURSE": "alpha", "COURSEWARE_IDLE_SECONDS": "3600"},
            **changes,
        },
    }


def made_of_servers(*arguments: Any) -> dict[str, Any]:
    """What the parts about servers make together."""
    whole: dict[str, Any] = {}
    for part in ("servers", "local_servers", "containers"):
        for section, settings in made_by(part, *arguments).items():
            whole.setdefault(section, {}).update(settings)
    return whole


def test_servers_with_defaults() -> None:
    assert made_of_servers() == expected_servers()


@pytest.mark.parametrize("kind", ["docker", "swarm"])
def test_servers_in_containers_are_what_the_plan_says(kind: str, tmp_path: Path) -> None:
    settings = {"kind": kind, "storage": str(tmp_path / "storage"), "concurrent_starts": 7}
    site, course = a_site(spawner=settings), a_course(members={"instructors": ["ada"]})
    assert isinstance(site.spawner, ContainerSpawner)
    network = course_network("1234", "alpha", site.spawner, 3)
    place = replace(a_place(), folders=SiteFolders.of(tmp_path, site), network=network)
    config = assemble(site, course, place)
    assert config.JupyterHub.spawner_class == f"courseware-{kind}"
    assert "CoursewareLocalSpawner" not in config and "mem_limit" not in config.Spawner
    made = config.ContainerSpawner
    assert (made.course_id, made.width, made.lease_seconds) == ("alpha", 7, 60 if kind == "swarm" else 0)
    assert (made.remove_unknown, made.engine_url) == (True, "unix:///var/run/docker.sock")
    assert made.member("ada", ("x",)) == Member("ada", Role.INSTRUCTOR, ("x",))
    assert made.member("nobody", ()) == Member("nobody", None, ())
    plan = made.plan(made.member("ada", ()))
    assert (plan.network, plan.labels["coursewarehub.site"]) == (network.name, made.site_id)
    assert plan.mounts[0].source.startswith(str(tmp_path / "storage" / "homes" / "alpha"))
    assert made.capacity(3) == capacity(network, 3)
    assert "images" not in made, "there is nothing to choose"
    several = assemble(site, a_course(images=["r:1"]), place).ContainerSpawner
    assert several.images == [site.spawner.image, "r:1"]
    own = assemble(site, a_course(image="own:1", images=["r:1"]), place).ContainerSpawner
    assert own.images == ["own:1", "r:1"]
    assert own.plan(Member("sam", Role.STUDENT, image="r:1")).image == "r:1"
    assert own.plan(Member("sam", Role.STUDENT, image="evil:1")).image == "own:1"


def test_no_server_starts_while_the_site_says_why_not(tmp_path: Path) -> None:
    site = a_site(spawner={"kind": "docker"})
    assert isinstance(site.spawner, ContainerSpawner)
    folders = SiteFolders.of(tmp_path, site)
    network = course_network("1234", "alpha", site.spawner, 0)
    obstacle = assemble(site, a_course(), replace(a_place(), folders=folders, network=network))[
        "ContainerSpawner"
    ].obstacle
    assert asyncio.run(obstacle()) is None
    folders.engine_state.parent.mkdir(parents=True)
    folders.engine_state.write_text(json.dumps({"state": "degraded", "since": "", "felt": True, "fenced": False}))
    assert asyncio.run(obstacle()).template == NOT_FENCED
    without = assemble(site, a_course(), replace(a_place(), folders=folders))["ContainerSpawner"]
    assert asyncio.run(without.obstacle()).template == NO_NETWORK and "plan" not in without


def test_a_start_waits_for_the_network_of_a_new_course(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = a_site(spawner={"kind": "swarm", "storage": "/srv/storage"})
    assert isinstance(site.spawner, ContainerSpawner)
    network = course_network("1234", "alpha", site.spawner, 0)
    file = tmp_path / "engine.json"
    obstacle = obstacle_in(file, network)

    def tell(*networks: str) -> None:
        file.write_text(json.dumps({"state": "answering", "fenced": True, "networks": networks}))

    async def test() -> None:
        tell("another")
        waiting = asyncio.ensure_future(obstacle())  # type: ignore[arg-type]
        await asyncio.sleep(0.3)
        assert not waiting.done()
        tell("another", network.name)
        assert await asyncio.wait_for(waiting, 5) is None
        tell("another")
        monkeypatch.setattr(members, "_NETWORK_SECONDS", 0.2)
        assert await asyncio.wait_for(obstacle(), 5) is None, "the engine says what is wrong then"

    asyncio.run(test())


def test_servers_with_everything_set() -> None:
    site = a_site(spawner={"kind": "local", "concurrent_starts": 7})
    course = a_course(
        content={"folder": "content/alpha", "start": "week 1/ä?.ipynb"},
        resources={"memory": "512M", "cpu": 0.5, "open_files": 300},
        limits={"servers": 20, "idle_server": "never"},
    )
    expected = expected_servers(
        material="/site/state/courses/alpha/content/current",
        open_files=300,
        concurrent_starts=7,
        variables={"COURSEWARE_COURSE": "alpha", "COURSEWARE_IDLE_SECONDS": "0"},
    )
    expected["JupyterHub"]["active_server_limit"] = 20
    expected["Spawner"] |= {
        "default_url": "/lab/tree/week%201/%C3%A4%3F.ipynb",
        "mem_limit": 512 << 20,
        "cpu_limit": 0.5,
    }
    assert made_of_servers(site, course) == expected


def test_pages() -> None:
    site, course = a_site(title="Site", language="ja"), a_course(language="fr", description="Words")
    made = made_by("pages", site, course)["JupyterHub"]
    assert [Path(each).name for each in made["template_paths"]] == ["templates"]
    assert all(Path(each).is_dir() for each in made["template_paths"])
    options = made["jinja_environment_options"]
    assert options["extensions"] == [Localisation]
    assert Path(options["bytecode_cache"].directory).parts[-2:] == ("state", "templates")
    assert made["template_vars"] == {
        "course": {
            "id": "alpha",
            "title": course.title,
            "description": course.description,
            "language": "fr",
            "logins": [{"name": "dummy", "kind": "workshop", "title": None, "self_chosen_names": False}],
            "people": "",
            "linking": False,
        },
        "engine": None,
        "site_title": site.title,
        "site_language": "ja",
        "portal_url": "/",
        "courseware_css_url": "/assets/courseware.css",
    }


@pytest.mark.parametrize(("written", "seconds"), [("15m", 900.0), ("2s", 2.0), ("never", 0.0)])
def test_sleep(written: str, seconds: float) -> None:
    assert made_by("sleep", a_site(hubs={"sleep_after": written})) == {"CourseHub": {"sleep_after": seconds}}


def test_assembled_is_all_parts_and_no_part_writes_over_another() -> None:
    whole = assemble(a_site(), a_course(), a_place())
    made = [(s, k) for part in assembly.PARTS for s, ks in made_by(part.__name__).items() for k in ks]
    assert len(set(made)) == len(made)
    assert {(section, key) for section, settings in whole.items() for key in settings} == set(made)


# -- two courses ----------------------------------------------------------------------------------------------


def strings(value: Any) -> Iterator[str]:
    """Every text in a configuration."""
    if isinstance(value, dict):
        for each in value.values():
            yield from strings(each)
    elif isinstance(value, (list, tuple, set)):
        for each in value:
            yield from strings(each)
    elif isinstance(value, str):
        yield value


def test_two_courses_share_nothing_that_is_theirs(tmp_path: Path) -> None:
    configs = []
    for port, course_id in ((21000, "alpha"), (21001, "beta")):
        course = a_course(course_id)
        configs.append(assemble(a_site(), course, place_of(tmp_path, a_site(), course, port, "http://127.0.0.1:20001")))
    # Places of the site and generated secrets; where this checkout lies is the same for every hub.
    one, other = ({t for t in strings(c) if str(tmp_path) in t or re.fullmatch("[0-9a-f]{64}", t)} for c in configs)
    edge_password = (tmp_path / "state" / "secrets" / "edge-api").read_text()
    parent = str(tmp_path / "state" / "run" / "server-parent")
    assert one & other == {edge_password, parent}
    for section, key in (
        ("JupyterHub", "base_url"),
        ("JupyterHub", "hub_bind_url"),
        ("JupyterHub", "db_url"),
        ("JupyterHub", "cookie_secret_file"),
        ("JupyterHub", "services"),
        ("CourseProxy", "dynamic_config_file"),
        ("CoursewareLogin", "methods"),
        ("CoursewareLogin", "identities"),
        ("CoursewareLocalSpawner", "homes_folder"),
    ):
        assert configs[0][section][key] != configs[1][section][key], (section, key)


def test_secrets_of_a_hub_stay_the_same(tmp_path: Path) -> None:
    course = a_course()
    first, second = (place_of(tmp_path, a_site(), course, 1, "x") for _ in range(2))
    assert first == second
    assert len({s.get_secret_value() for s in (first.edge_password, first.service_token, first.password)}) == 3
    assert not [s for s in (first.password, first.service_token) if s.get_secret_value() in repr(first)]


def test_password_named_by_the_course_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "password").write_text("from a file\n")
    (tmp_path / "password").chmod(0o600)
    by_file = a_course(authentication={"method": "dummy", "password": "file:password"})
    assert place_of(tmp_path, a_site(), by_file, 1, "x").password.get_secret_value() == "from a file"
    monkeypatch.setenv("WORKSHOP", "from the environment")
    by_name = a_course(authentication={"method": "dummy", "password": "env:WORKSHOP"})
    assert place_of(tmp_path, a_site(), by_name, 1, "x").password.get_secret_value() == "from the environment"
    (tmp_path / "password").chmod(0o644)
    with pytest.raises(ConfigurationError, match="can be read by others"):
        place_of(tmp_path, a_site(), by_file, 1, "x")


def test_each_course_has_a_database_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def url(course_id: str, **database: str) -> str:
        site = a_site(database=database)
        return place_of(tmp_path, site, a_course(course_id), 1, "x").database_url.get_secret_value()

    assert url("alpha") == f"sqlite:///{tmp_path}/state/courses/alpha/hub.sqlite"
    plain = "postgresql+psycopg://hub@db.example.org/courses"
    assert url("alpha", url=plain) == f"{plain}_alpha"
    monkeypatch.setenv("DATABASE", plain.replace("hub@", "hub:secret@"))
    assert url("b-2", url="env:DATABASE") == "postgresql+psycopg://hub:secret@db.example.org/courses_b_2"
    (tmp_path / "url").write_text("mysql://hub:secret@db.example.org/courses\n")
    (tmp_path / "url").chmod(0o600)
    with pytest.raises(ConfigurationError, match=r"^file:url: is not the URL of a database") as error:
        url("alpha", url="file:url")
    assert "secret" not in str(error.value)


# -- who may enter, and when ------------------------------------------------------------------------------------


@pytest.fixture
def zone_of_another_day(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A time zone in which it is another day than in UTC."""
    monkeypatch.setenv("TZ", "Etc/GMT+12" if datetime.now(UTC).hour < 12 else "Etc/GMT-14")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("zone_of_another_day")
def test_days_are_those_of_the_server() -> None:
    today = datetime.now().date()
    assert today != datetime.now(UTC).date()

    def decision(**dates: Any) -> Reason:
        course = a_course(members={"students": ["sam"]}, dates={k: v.isoformat() for k, v in dates.items()})
        reason: Reason = made_by("authentication", course=course)["CoursewareAuthenticator"]["decide"]("sam").reason
        return reason

    day = timedelta(days=1)
    assert decision(opens=today, closes=today) is Reason.MEMBER
    assert decision(opens=today + day) is Reason.NOT_OPEN_YET
    assert decision(closes=today - day) is Reason.OVER


def test_decision_is_the_courses() -> None:
    course = a_course(members={"instructors": ["ada"]}, authentication={"method": "dummy", "self_chosen_names": True})
    decide = made_by("authentication", course=course)["CoursewareAuthenticator"]["decide"]
    assert decide("ada").role is Role.INSTRUCTOR and decide("eve").role is Role.STUDENT


# -- hub.d and the hub's own start ------------------------------------------------------------------------------


def write_extra(root: Path, name: str, text: str | bytes) -> None:
    (root / "hub.d").mkdir(exist_ok=True)
    (root / "hub.d" / name).write_bytes(text if isinstance(text, bytes) else text.encode())


def test_hub_d_is_loaded_last_in_order_of_name(tmp_path: Path) -> None:
    write_extra(tmp_path, "20-b.py", "c.JupyterHub.seen = [*c.JupyterHub.seen, 'b', site.language, course.id]")
    write_extra(tmp_path, "10-a.py", "c.JupyterHub.seen = ['a']\nc.Spawner.poll_interval = 99\nx = 1")
    write_extra(tmp_path, "30-c.py", "c.JupyterHub.own_names = 'x' not in globals()\nc.JupyterHub.file = __file__")
    write_extra(tmp_path, "notes.txt", "not python")
    config = assemble(a_site(), a_course(), a_place())
    load_extra(config, tmp_path, a_site(), a_course())
    assert config.JupyterHub.seen == ["a", "b", "en", "alpha"]
    assert config.Spawner.poll_interval == 99
    assert config.JupyterHub.own_names and config.JupyterHub.file == str(tmp_path / "hub.d" / "30-c.py")


def test_no_hub_d_changes_nothing(tmp_path: Path) -> None:
    config = Config()
    load_extra(config, tmp_path, a_site(), a_course())
    assert not config


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("c.X.y = (\n", r"^hub\.d/1\.py:1: SyntaxError: "),
        ("\n\nc.X.y = undefined\n", r"^hub\.d/1\.py:3: NameError: name 'undefined' is not defined$"),
        ("def f():\n    return 1 / 0\nf()\n", r"^hub\.d/1\.py:2: ZeroDivisionError: "),
        (b"x = 'caf\xe9'\n", r"^hub\.d/1\.py(:1)?: SyntaxError: .*utf-8"),
        (b"x = 1\0\n", r"^hub\.d/1\.py(:1)?: (SyntaxError|ValueError): "),
    ],
)
def test_mistake_in_hub_d_has_file_and_line(tmp_path: Path, text: str | bytes, problem: str) -> None:
    write_extra(tmp_path, "1.py", text)
    with pytest.raises(ConfigurationError, match=problem) as error:
        load_extra(Config(), tmp_path, a_site(), a_course())
    assert len(str(error.value).splitlines()) == 1


def test_hub_fills_its_configuration_from_its_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site, course = a_site(title="Site", edge={"port": 9000}), a_course(dates={"opens": "2026-04-01"})
    file = SiteFolders(tmp_path).course("alpha").effective
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({"site": site.model_dump(mode="json"), "course": course.model_dump(mode="json")}))
    assert effective(tmp_path, "alpha") == (site, course, None)
    write_extra(tmp_path, "1.py", "c.JupyterHub.mine = course.id")
    for name, value in {
        names.SITE: str(tmp_path),
        names.COURSE: "alpha",
        names.HUB_PORT: "21000",
        names.EDGE_API: "http://127.0.0.1:20001",
    }.items():
        monkeypatch.setenv(name, value)
    config = Config()
    config.JupyterHub.log_level = 10
    configure(config)
    assert config.JupyterHub.mine == "alpha" and config.JupyterHub.log_level == 10
    assert config.JupyterHub.bind_url == "http://127.0.0.1:9000/courses/alpha/"
    assert config.CourseProxy.traefik_api_url == "http://127.0.0.1:20001"


def test_compiled_templates_of_both_environments_are_kept_apart(tmp_path: Path) -> None:
    loader = DictLoader({"page": "{% for x in items %}{{ x }}{% endfor %}"})
    for _ in range(2):  # compiled, then from the cache
        plain = Environment(loader=loader, bytecode_cache=CompiledTemplates(str(tmp_path)))
        coroutines = Environment(loader=loader, bytecode_cache=CompiledTemplates(str(tmp_path)), enable_async=True)
        assert plain.get_template("page").render(items="ab") == "ab"
        assert asyncio.run(coroutines.get_template("page").render_async(items="ab")) == "ab"
    assert len(list(tmp_path.iterdir())) == 2
