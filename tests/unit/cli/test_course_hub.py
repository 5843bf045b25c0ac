"""`course token`, `course password` and `course hub-config`: for operators, without telling what is secret."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .conftest import write_course

Run = Callable[..., Any]

PLANTED = """
c.CryptKeeper.keys = ["planted"]
c.JupyterHub.service_tokens = {"planted": "svc"}
c.JupyterHub.api_tokens = {"planted": "ada"}
c.LTI11Authenticator.consumers = {"lms": "planted"}
c.Spawner.environment = {"DSN": "postgresql://u:planted@h/d", "PGPASS": "planted", "AWS_SECRET_ACCESS_KEY": "planted"}
c.MyAuth.passwords = {"sam": "planted"}
c.MyAuth.user_password = ("planted",)
c.JupyterHub.cookie_secret = b"planted"
c.JupyterHub.db_url = "postgresql+psycopg://u:planted@h/d"
c.JupyterHub.services.append({"name": "x", "api_token": "planted"})
c.JupyterHub.template_vars["key"] = "planted"
c.GitHubOAuthenticator.client_secret = "planted"
c.Foo.words.append("planted")
c.Foo.word = b"planted"
c.Foo.nested = [{"deep": ({"deeper": {"planted"}},)}]
c.CoursewareDummyAuthenticator.password = "planted"
c.CourseProxy.traefik_api_password = "planted"
c.CoursewareLocalSpawner.variables["LICENCE"] = "planted"
"""


def write_extra(root: Path, text: str) -> None:
    (root / "hub.d").mkdir(exist_ok=True)
    (root / "hub.d" / "10-mine.py").write_text(text)


def test_configuration_has_a_line_for_each_setting(run: Run) -> None:
    outcome = run("course", "hub-config", "alpha")
    assert outcome.code == 0, outcome
    lines = outcome.out.splitlines()
    assert all(line.startswith("c.") and " = " in line for line in lines)
    assert lines == sorted(lines)
    assert "c.JupyterHub.base_url = '/courses/alpha/'" in lines
    hidden = "[WorkshopMethod(password=SecretStr('**********'), name='dummy')]"
    assert f"c.CoursewareLogin.methods = {hidden}" in lines
    assert "c.CourseProxy.traefik_api_password = '(secret)'" in lines


def test_configuration_tells_no_secret_of_the_site(run: Run, root: Path) -> None:
    (root / "password").write_text("planted")
    (root / "password").chmod(0o600)
    write_course(root, "alpha", authentication={"method": "dummy", "password": "file:password"})
    token = run("course", "token", "alpha").out.strip()
    secrets = root / "state" / "secrets"
    (secrets / "edge-api").write_text("planted")
    (secrets / "edge-api").chmod(0o600)
    outcome = run("course", "hub-config", "alpha")
    assert outcome.code == 0 and token not in outcome.out and "planted" not in outcome.out


def test_configuration_tells_nothing_that_hub_d_set(run: Run, root: Path) -> None:
    write_extra(root, PLANTED)
    outcome = run("course", "hub-config", "alpha")
    assert outcome.code == 0, outcome
    assert [line for line in outcome.out.splitlines() if "planted" in line] == []
    # That it was set is told.
    for setting in ("CryptKeeper.keys", "JupyterHub.db_url", "Foo.nested", "JupyterHub.services"):
        (line,) = [line for line in outcome.out.splitlines() if line.startswith(f"c.{setting} = ")]
        assert "hub.d" in line, line


@pytest.mark.parametrize(
    ("text", "telling"),
    [
        ("c.X.y = (\n", "hub.d/10-mine.py:1: SyntaxError"),
        ("\nc.X.y = undefined\n", "hub.d/10-mine.py:2: NameError"),
        ("import nothing_of_that_name\n", "hub.d/10-mine.py:1: ModuleNotFoundError"),
    ],
)
def test_mistake_in_hub_d_is_a_sentence(run: Run, root: Path, text: str, telling: str) -> None:
    write_extra(root, text)
    run("course", "hub-config", "alpha").assert_refused(2, telling)


def test_token_is_made_once_for_each_course(run: Run, root: Path) -> None:
    write_course(root, "beta")
    tokens = [run("course", "token", course).out.strip() for course in ("alpha", "alpha", "beta")]
    assert tokens[0] == tokens[1] != tokens[2] and len(tokens[0]) == 64
    files = list((root / "state" / "secrets").rglob("service-token"))
    assert len(files) == 2 and {stat.S_IMODE(f.stat().st_mode) for f in files} == {0o600}


@pytest.mark.parametrize("verb", ["token", "password"])
def test_exposed_secret_is_a_sentence(run: Run, root: Path, verb: str) -> None:
    assert run("course", verb, "alpha").code == 0
    (file,) = (root / "state" / "secrets" / "courses" / "alpha").iterdir()
    file.chmod(0o644)
    run("course", verb, "alpha").assert_refused(2, f"run `chmod 600 {file}`")


@pytest.mark.parametrize("verb", ["token", "password", "hub-config"])
@pytest.mark.parametrize("course_id", ["nope", "../alpha", "", "a/b", "Alpha", "alpha\n", "-x"])
def test_unknown_course_is_a_sentence(run: Run, root: Path, verb: str, course_id: str) -> None:
    outcome = run("course", verb, "--", course_id)
    assert outcome.code in (1, 2) and "Traceback" not in outcome.err and outcome.out == ""
    assert not (root / "state").exists()
