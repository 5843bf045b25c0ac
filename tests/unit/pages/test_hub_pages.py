"""The pages of a course's hub, rendered by JupyterHub's own handler from its own templates and ours."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from jinja2 import Environment

from coursewareauthenticator.accounts.people import Account, Person, State
from coursewareauthenticator.accounts.plan import Change, Plan
from coursewareauthenticator.accounts.roster import NAME_FORMULA, Roster
from coursewareauthenticator.accounts.sentences import say
from coursewarehub.engine.states import Reason
from coursewarehub.hub import places
from coursewarehub.hub.audit.page import Question, days_of
from coursewarehub.hub.audit.sentences import KINDS
from coursewarehub.hub.localisation import REFUSALS, Localisation, request_language
from coursewarehub.i18n import LANGUAGES, NAMES, translations
from coursewarehub.model import Arrival, Identity, Role
from coursewarehub.model.access import Reason as Decided
from coursewarehub.state.audit import Entry
from coursewarespawner import messages
from coursewarespawner.messages import StartFailed, Told

from .hub_handler import BASE, SYNC, TEMPLATES, UPSTREAM, Login, course, handler, rendered, user
from .structure import HOSTILE, Page

HUB = f"{BASE}hub/"
NOW = datetime(2026, 4, 1, tzinfo=UTC)
STOCK_ENGLISH = {"spawn.html", "token.html", "accept-share.html", "admin.html"}
"""Pages whose body is JupyterHub's own and says that it is English."""


class Texts:
    """A text in several languages."""

    def text(self, language: str) -> str:
        return f"text-{language}"


def spawner(active: bool = False, pending: str | None = None) -> Any:
    return SimpleNamespace(active=active, pending=pending)


def values(template: str, text: str, language: str = "en") -> dict[str, Any]:
    """What JupyterHub's handlers pass to each page, with `text` where others could have written it."""
    home = {"url": f"{HUB}spawn/ada", "allow_named_servers": False, "default_server": spawner()}
    login = {
        "authenticator_login_url": f"{HUB}login?next=",
        "authenticator": SimpleNamespace(request_otp=False),
        "custom_html": "",
        "login_error": text,
        "username": text,
    }
    person = Person(text, text, "a@example.org", Role.STUDENT, (text,))
    said = say(NAME_FORMULA, name=text)
    failed = {"spawn_url": f"{HUB}spawn/ada", "failed": True, "failed_message": text, "server_name": ""}
    table: dict[str, dict[str, Any]] = {
        "home.html": home,
        "login.html": login,
        "spawn_pending.html": {"progress_url": f"{HUB}api/users/ada/server/progress", "spawner": spawner()},
        "stop_pending.html": {"spawner": spawner()},
        "not_running.html": failed | {"error_id": text},
        "error.html": {"status_code": 403, "message": text, "exception": None, "error_id": text},
        "404.html": {"status_code": 404, "message": text, "exception": None},
        "logout.html": {},
        "oauth.html": {
            "oauth_client": SimpleNamespace(description=text, redirect_uri="/x"),
            "allowed_scopes": [text],
            "scope_descriptions": [{"description": text, "filter": text}],
        },
        "admin.html": {"server_version": "6", "api_page_limit": 50},
        "audit.html": {
            "question": Question(person=text, day="2026-04-01"),
            "problem": "",
            "kinds": KINDS,
            "days": days_of([Entry(NOW, "server", "stop", text, text, data={"server": text})], language),
            "zone": "UTC",
            "older": "?before=1",
            "newest": "?",
            "table": "",
        },
        "token.html": {"token_expires_in_options_html": "", "api_tokens": [], "oauth_clients": []},
        "spawn.html": {
            "spawner_options_form": "",
            "for_user": user(text),
            "error_message": text,
            "url": "/x",
            "spawner": spawner(),
        },
        "logins.html": {
            "page": "logins", "xsrf": "x", "first": "dummy", "linked": (), "free": (), "asked": None, "done": None,
            "wrong": text, "before": text, "proved": Arrival(Identity("dummy", text), text),
        },
        "accept-share.html": {
            "owner": user(text),
            "spawner": SimpleNamespace(name=text),
            "scope_descriptions": [],
            "spawner_url": "/x",
            "next_url": "/x",
            "code": text,
        },
        "password.html": {"places": places, "person": person, "wrong": [said], "shortest": 10, "mail": True},
        "password_forgotten.html": {"places": places, "mail": True, "sent": False},
        "people.html": {
            "places": places,
            "lines": [
                SimpleNamespace(
                    name=text, role=role, by_file=True, seen="2026-04-01", may_change=role is not Role.OWNER,
                    account=Account(person, state, 0, 1) if state else None,
                )
                for role, state in zip(Role, (*State, None, None), strict=True)
            ],
            "links": [(text, "https://example.org/x", 1)],
            "notes": [said],
            "wrong": [said],
            "roles": list(Role),
            "encodings": ["utf-8", "cp932", "latin-1"],
            "everybody": 11,
            "wanted": text,
            "more": 3,
            "now": 0,
        },
        "people_import.html": {
            "places": places,
            "roster": Roster(encoding="utf-8", text=text),
            "plan": Plan((person,), (Change(person, person),), 1),
            "mistakes": [],
            "notes": [said],
            "wrong": [],
            "most": 200,
        },
        "people_imported.html": {
            "places": places,
            "plan": Plan((person,), (), 0, (said,)),
            "links": [(text, "https://example.org/x")],
            "more": 3,
            "file": "eA==",
        },
    }  # fmt: skip
    return table[template]


TEMPLATE_NAMES = (
    "home.html", "login.html", "spawn_pending.html", "stop_pending.html", "not_running.html", "error.html",
    "404.html", "logout.html", "oauth.html", "audit.html", "admin.html", "token.html", "spawn.html",
    "accept-share.html",
    "password.html", "password_forgotten.html", "people.html", "people_import.html", "people_imported.html",
    "logins.html",
)  # fmt: skip


def page(
    template: str,
    language: str = "en",
    text: str = "Qwerty",
    *,
    signed_in: bool = True,
    staff: bool = False,
    uri: str = f"{HUB}home",
    **changes: Any,
) -> Page:
    """One page, with `text` wherever others could have written it."""
    of = handler(
        headers={"Accept-Language": language},
        uri=uri,
        template_vars={
            "course": course(title=text, description=text) | changes.pop("course", {}),
            "site_title": text,
        },
    )
    signed_in = signed_in and template not in ("login.html", "logout.html")
    of.user = user(text) if signed_in else None
    of.accessible_services = (SimpleNamespace(name=text, href="/services/x/"),) if signed_in else ()
    of.parsed_scopes = {"admin-ui": {}, "custom:audit:read": {}} if staff else {}
    return Page(rendered(of, template, **values(template, text, language) | changes))


def test_every_template_is_tested() -> None:
    ours = {file.name for file in Path(TEMPLATES).glob("*.html")}
    assert ours == {
        *TEMPLATE_NAMES, "page.html", "language_switch.html", "people_roles.html", "login_names.html",
        "lti.html",  # test_lti_page.py
    }  # fmt: skip
    upstream = {file.name for file in Path(UPSTREAM).glob("*.html")}
    assert upstream <= ours, "JupyterHub has a page that we do not know"


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("template", TEMPLATE_NAMES)
def test_every_page_is_well_made(template: str, language: str) -> None:
    shown = page(template, language)
    assert shown.all("html") == [{"lang": language}]
    assert shown.all("main")[0]["id"] == "content"
    assert len(shown.all("main")) == 1
    assert [link["href"] for link in shown.all("link")][-2:] == [
        "/assets/courseware.css?v=1",
        "/assets/logo.svg?v=1",
    ]
    title = shown.texts[0]
    assert "Qwerty" in title
    assert "JupyterHub" not in title
    assert "/" in shown.links
    assert f"{HUB}home" in shown.links
    assert len([a for a in shown.all("a") if a.get("hreflang")]) == len(LANGUAGES)
    assert sum(element.get("id") == "dark-theme-toggle" for element in shown.all("button")) == 1
    if template not in STOCK_ENGLISH:
        assert len(shown.all("h1")) == 1
        assert not shown.unbalanced


@pytest.mark.parametrize("hostile", HOSTILE)
@pytest.mark.parametrize("template", TEMPLATE_NAMES)
def test_texts_are_escaped(template: str, hostile: str) -> None:
    plain, attacked = page(template), page(template, text=hostile)
    assert attacked.skeleton == plain.skeleton
    shown = " ".join(hostile.replace("\0", "\ufffd").split())
    assert any(shown in text.replace("\0", "\ufffd") for text in attacked.texts)


@pytest.mark.parametrize("language", ["ja", "fr"])
@pytest.mark.parametrize("template", [name for name in TEMPLATE_NAMES if name not in STOCK_ENGLISH])
def test_no_english_is_left(template: str, language: str) -> None:
    upstream = {
        "JupyterHub requires JavaScript.", "Please enable it to proceed.", "Error", "OK", "The error",
    }  # fmt: skip
    data = {"a@example.org", "https://example.org/x", "2026-04-01", "UTF-8", "Shift_JIS (CP932)", "Latin-1 (CP1252)"}
    names = {
        *NAMES.values(), *data, "00:00:00", "Qwerty", "Applies to Qwerty.", "Qwerty Applies to Qwerty.", "· Qwerty"
    }  # fmt: skip
    english = set(page(template, staff=True).texts) - upstream - names
    same = english & set(page(template, language, staff=True).texts)
    assert not {text for text in same if not text.startswith(("Participants", "Code "))}


@pytest.mark.parametrize("template", sorted(STOCK_ENGLISH))
def test_upstream_english_is_marked(template: str) -> None:
    shown = page(template, "ja", staff=True)
    assert "en" in [attributes.get("lang") for attributes in shown.all("div") + shown.all("main")]


def test_the_language_is_the_visitors_choice_then_the_browsers_then_the_courses() -> None:
    def language_of(headers: dict[str, str], **template_vars: Any) -> str:
        html = rendered(handler(headers=headers, template_vars=template_vars), "logout.html")
        return Page(html).all("html")[0]["lang"]

    french = {"course": course(language="fr-CA")}
    german = {"course": course(language="de"), "site_language": "ja"}
    assert language_of({"Cookie": "courseware_lang=ja", "Accept-Language": "en"}, **french) == "ja"
    assert language_of({"Cookie": "courseware_lang=xx", "Accept-Language": "en"}, **french) == "en"
    assert language_of({"Accept-Language": "nl"}, **french) == "fr"
    assert language_of({}, **french) == "fr"
    assert language_of({}, **german) == "ja"
    assert language_of({}, course=course(language="de")) == "en"


def test_the_language_without_a_request() -> None:
    template = SYNC.from_string("{{ language() }}")
    assert template.render() == "en"
    assert template.render(course={"language": "ja"}) == "ja"
    assert template.render(static_url=len, course={"language": "ja"}) == "ja"


def test_the_extension_installs_gettext() -> None:
    environment = Environment(extensions=[Localisation], autoescape=True)
    source = "{% trans %}Enter{% endtrans %} {{ _('Until %(date)s', date='<b>') }} {{ ngettext('a', 'b', 2) }}"
    assert environment.from_string(source).render(course={"language": "fr"}) == "Entrer Jusqu’au &lt;b&gt; b"
    assert environment.from_string("{{ language() }}").module is not None
    context = environment.from_string("").new_context({"course": {"language": "fr"}})
    assert request_language(context) == "fr"


def test_texts_in_several_languages() -> None:
    of = handler(
        headers={"Accept-Language": "fr"},
        template_vars={"course": course(title=Texts(), description=Texts()), "site_title": Texts()},
    )
    texts = Page(rendered(of, "login.html", **values("login.html", ""))).texts
    assert texts[0] == "Se connecter · text-fr"
    assert texts.count("text-fr") >= 4


def test_the_language_switch_comes_back() -> None:
    asked = f"{HUB}login?next=%2Fcourses%2Fpython%2Fhub%2F"
    shown = page("login.html", uri=asked)
    expected = "/?lang=fr&next=%2Fcourses%2Fpython%2Fhub%2Flogin%3Fnext%3D%252Fcourses%252Fpython%252Fhub%252F"
    assert expected in shown.links


@pytest.mark.parametrize(("uri", "back"), [(f"{HUB}login", f"{HUB}login"), (f"{HUB}spawn", HUB)])
def test_the_language_switch_after_a_form(uri: str, back: str) -> None:
    html = rendered(handler(method="POST", uri=uri), "error.html", status_code=403)
    assert f"/?lang=ja&next={back.replace('/', '%2F')}" in Page(html).links


WORKSHOP = {"name": "dummy", "kind": "workshop", "title": None, "self_chosen_names": False}
DIRECTORY = {"name": "ldap", "kind": "password", "title": None, "self_chosen_names": False}
HOUSE = {"name": "house", "kind": "button", "title": Texts(), "self_chosen_names": False}
PLAIN = {"name": "oidc", "kind": "button", "title": None, "self_chosen_names": False}


def test_login_by_a_button_alone() -> None:
    shown = page("login.html", "fr", course={"logins": [HOUSE]}, login_error="", next="%2Fa")
    assert f"{HUB}login/house?next=%2Fa" in shown.links
    assert "Se connecter avec text-fr" in shown.texts
    assert not shown.all("form")


def test_login_by_several_buttons_and_one_form_for_both_passwords() -> None:
    shown = page("login.html", course={"logins": [DIRECTORY, HOUSE, PLAIN, WORKSHOP]}, login_error="")
    assert [link for link in shown.links if "/login/" in link] == [f"{HUB}login/house?next=", f"{HUB}login/oidc?next="]
    assert "Sign in with the account of your institution" in shown.texts
    assert len(shown.all("form")) == 1
    radios = [field for field in shown.all("input") if field["type"] == "radio"]
    assert [(field["value"], "checked" in field) for field in radios] == [("ldap", True), ("dummy", False)]
    assert {"Account of your institution", "Course password", "Password"} <= set(shown.texts)
    assert shown.all("fieldset") and "Which password do you have?" in shown.texts


def test_login_of_the_workshop() -> None:
    shown = page("login.html", login_error="", username="")
    names = {field["name"] for field in shown.all("input")}
    assert names == {"_xsrf", "username", "password"}
    assert shown.all("form")[0] == {"class": "cw-form", "action": f"{HUB}login?next=", "method": "post"}
    assert "Course password" in shown.texts
    assert "No password?" in shown.texts
    assert "Written as on your instructor’s list of participants." in shown.texts
    assert not any(attributes.get("id") == "login-error" for _, attributes in shown.elements)


def test_login_with_a_name_of_ones_own() -> None:
    texts = page("login.html", course={"logins": [WORKSHOP | {"self_chosen_names": True}]}).texts
    assert any(text.startswith("Choose any name") for text in texts)


def test_login_of_another_method() -> None:
    texts = page("login.html", course={"logins": [DIRECTORY]}).texts
    assert "Password" in texts
    assert "Course password" not in texts


def test_login_with_a_service() -> None:
    of = handler()
    of.authenticator = SimpleNamespace(login_service="GitHub <3")
    shown = Page(rendered(of, "login.html", **values("login.html", "")))
    assert "Sign in with GitHub <3" in shown.texts
    assert f"{HUB}login?next=" in shown.links
    assert not shown.all("form")


def test_login_with_the_authenticators_own_form() -> None:
    shown = page("login.html", custom_html="<form id='own'></form>")
    assert shown.all("form") == [{"id": "own"}]


def test_a_wrong_password() -> None:
    [alert] = [
        text for text in page("login.html", login_error="Invalid username or password").texts
        if text.startswith("Signing in did not work")
    ]  # fmt: skip
    assert "password" in alert
    shown = page("login.html", login_error="Invalid username or password", username="ada")
    assert {field["name"]: field.get("value") for field in shown.all("input")}["username"] == "ada"
    focused = [field["name"] for field in shown.all("input") if "autofocus" in field]
    assert focused == ["password"]


def test_an_error_of_the_login_form_is_said_on_it() -> None:
    """JupyterHub's login handler answers a refused form with the form."""
    of = handler(Login, method="POST", uri=f"{HUB}login", headers={"Accept-Language": "fr"})
    of.authenticator = SimpleNamespace(
        login_service="",
        request_otp=False,
        login_url=lambda base: f"{base}login",
        get_custom_html=lambda _: "",
    )
    message = "Login form invalid or expired. Try again."
    html = of.render_template("error.html", sync=True, status_code=403, status_message="", message=message)
    texts = Page(html).texts
    assert any(text.startswith("La page de connexion est restée ouverte") for text in texts)
    assert "Mot de passe du cours" in texts


@pytest.mark.parametrize(
    ("server", "said", "buttons"),
    [
        (spawner(), "It is not running.", {"Start my notebook"}),
        (spawner(active=True), "It is running.", {"Open my notebook", "Stop it"}),
        (spawner(active=True, pending="spawn"), "It is starting.", {"Show the progress"}),
        (spawner(active=True, pending="stop"), "It is stopping.", set()),
    ],
)
def test_home(server: Any, said: str, buttons: set[str]) -> None:
    texts = set(page("home.html", default_server=server).texts)
    assert said in texts
    every = {"Start my notebook", "Open my notebook", "Stop it", "Show the progress"}
    assert texts & every == buttons
    assert "For the staff" not in texts


def test_home_of_the_staff() -> None:
    shown = page("home.html", staff=True)
    assert "For the staff" in shown.texts
    assert shown.links.count(f"{HUB}admin") == 2


def test_home_with_named_servers_is_jupyterhubs() -> None:
    named = {
        "named_server_limit_per_user": 2,
        "invalid_server_names": [],
        "allow_named_servers": True,
    }
    of = handler()
    of.user = user()
    of.user.all_spawners = lambda include_default: []
    html = rendered(of, "home.html", user=of.user, **values("home.html", "") | named)
    assert "Named Servers" in Page(html).texts
    assert 'require(["home"])' in html


def test_the_progress_page_follows_the_events() -> None:
    of = handler(headers={"Accept-Language": "fr"})
    html = rendered(of, "spawn_pending.html", **values("spawn_pending.html", ""))
    assert 'new EventSource("/courses/python/hub/api/users/ada/server/progress")' in html
    assert '"Server requested": "Votre notebook est demand\\u00e9."' in html
    assert "Vous \\u00eates en position {position} dans la file" in html
    assert "event.queue_position" in html


def scripts_of(language: str, **template_vars: Any) -> str:
    of = handler(headers={"Accept-Language": language}, template_vars=template_vars)
    return rendered(of, "spawn_pending.html", **values("spawn_pending.html", ""))


def test_progress_of_containers_is_told_in_the_readers_language() -> None:
    """What a spawner shows is a template and its values; the page has the template in every reader's language."""
    html = scripts_of("ja", engine=engine())
    line = re.search(r"const templates = (\{.*\});", html)
    assert line is not None
    known = json.loads(line[1])
    assert set(known) == set(messages.PROGRESS)
    for template, said in known.items():
        assert said != template
        assert set(re.findall(r"%\(\w+\)s|%%", said)) == set(re.findall(r"%\(\w+\)s|%%", template))


def test_local_processes_need_no_templates() -> None:
    assert "const templates = {};" in scripts_of("ja", engine=None)


def test_only_what_is_new_is_read_aloud() -> None:
    """Seconds that count down change the line that is seen, not the one that screen readers speak."""
    shown = Page(scripts_of("en", engine=engine()))
    lines = {attributes.get("id"): attributes for attributes in shown.all("p")}
    assert lines["progress-message"]["aria-hidden"] == "true"
    assert "role" not in lines["progress-message"]
    assert lines["progress-spoken"] == {"id": "progress-spoken", "class": "cw-hidden", "role": "status"}


def engine(felt: bool = False, state: str = "answering") -> Any:
    return SimpleNamespace(state=state, felt=felt)


BANNER = {
    ("degraded", "en"): "The cluster is degraded",
    ("degraded", "ja"): "クラスタの一部に障害があり",
    ("degraded", "fr"): "La grappe de serveurs fonctionne en mode dégradé",
    ("checking", "en"): "The machines that run the notebooks do not answer",
    ("checking", "ja"): "ノートブックを動かすマシンが現在応答していません",
    ("checking", "fr"): "Les machines qui exécutent les notebooks ne répondent pas",
}


@pytest.mark.parametrize(("state", "language"), sorted(BANNER))
@pytest.mark.parametrize("template", ["home.html", "login.html", "spawn_pending.html", "not_running.html"])
def test_learners_are_told_of_an_engine_that_is_not_well(template: str, state: str, language: str) -> None:
    def shown(now: Any) -> list[str]:
        of = handler(headers={"Accept-Language": language}, template_vars={"engine": now})
        texts: list[str] = Page(rendered(of, template, **values(template, ""))).texts
        return [text for text in texts if text.startswith(BANNER[state, language])]

    assert len(shown(engine(felt=True, state=state))) == 1
    assert not shown(engine(felt=False, state=state))
    assert not shown(None)


ENDED = Told(messages.STOPPED, {"reason": Reason("It was killed (exit status %(status)s).", status=137)})


@pytest.mark.parametrize(
    ("language", "said"),
    [
        ("en", "Your server has ended. It was killed (exit status 137). Your files are safe; start it again to go on."),
        ("ja", "137"),
        ("fr", "137"),
    ],
)
def test_why_the_last_server_ended_is_told_where_it_is_started_again(language: str, said: str) -> None:
    ended = SimpleNamespace(active=False, pending=None, last_reason=ENDED)
    home = page("home.html", language, default_server=ended)
    assert any(said in text for text in home.texts)
    assert f"{HUB}spawn/ada" in home.links
    owner = user()
    owner.spawners = {"": ended}
    away = page("not_running.html", language, failed=False, user=owner, server_name="")
    assert any(said in text for text in away.texts)
    assert f"{HUB}spawn/ada" in away.links
    if language != "en":
        assert not any("Your server has ended" in text for text in (*home.texts, *away.texts))


def test_a_server_that_was_stopped_needs_no_reason() -> None:
    stopped = SimpleNamespace(active=False, pending=None, last_reason=None)
    assert (
        "Starting takes a few seconds. Your files are as you left them."
        in page("home.html", default_server=stopped).texts
    )


@pytest.mark.parametrize("language", LANGUAGES)
def test_why_a_start_failed_is_told_with_what_to_do(language: str) -> None:
    failed = StartFailed(messages.COURSE_FULL, places=11)
    texts = page("not_running.html", language, failed_message=failed.jupyterhub_message, exception=failed).texts
    told = [text for text in texts if "11" in text]
    assert len(told) == 1
    assert (told[0] == str(failed)) is (language == "en")
    # It says itself what to do next.
    assert not any(text.startswith("Try again in a minute. If it fails") for text in texts)


@pytest.mark.parametrize("hostile", HOSTILE)
def test_reasons_are_escaped(hostile: str) -> None:
    plain, attacked = (
        page("not_running.html", exception=StartFailed(messages.NOT_STARTED, reason=text))
        for text in ("Qwerty", hostile)
    )
    assert attacked.skeleton == plain.skeleton


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_start_that_fails_at_once_is_told_alike(language: str) -> None:
    """JupyterHub answers with its error page when a start fails within a second."""
    failed = StartFailed(messages.COURSE_FULL, places=11)
    shown = page("error.html", language, status_code=503, message=str(failed), exception=failed, error_id="")
    later = page("not_running.html", language, failed_message=str(failed), exception=failed)
    for told in (shown, later):
        assert failed.told.translated(translations(language).gettext) in told.texts
        assert translations(language).gettext("Your notebook could not be started") in told.texts
        assert translations(language).gettext("Try again") in told.texts
    assert {"id": "start", "class": "cw-button", "href": ""} in shown.all("a")
    assert translations(language).gettext("Your notebook does not answer") not in shown.texts


@pytest.mark.parametrize("hostile", HOSTILE)
def test_reasons_on_error_pages_are_escaped(hostile: str) -> None:
    plain, attacked = (
        page("error.html", status_code=503, exception=StartFailed(messages.NOT_STARTED, reason=text))
        for text in ("Qwerty", hostile)
    )
    assert attacked.skeleton == plain.skeleton


@pytest.mark.parametrize("language", ["ja", "fr"])
def test_a_reason_within_a_failure_is_translated_too(language: str) -> None:
    reason = Reason("The machine %(machine)s does not answer.", machine="n2")
    texts = page("not_running.html", language, exception=StartFailed(messages.NOT_STARTED, reason=reason)).texts
    [told] = [text for text in texts if "n2" in text]
    assert reason.translated(translations(language).gettext) in told
    assert str(reason) not in told


def test_not_running() -> None:
    quiet = page("not_running.html", failed=False, error_id="")
    assert "Your notebook is not running" in quiet.texts
    assert f"{HUB}spawn/ada" in quiet.links
    assert not any("Error number" in text for text in quiet.texts)
    soon = page("not_running.html", failed=False, implicit_spawn_seconds=3)
    assert any(text.startswith("It starts again by itself") for text in soon.texts)
    failed = page("not_running.html", failed_message=None, exception=SimpleNamespace(error_id="4711"), error_id="")
    assert "Your notebook could not be started" in failed.texts
    assert "Error number: 4711" in failed.texts
    assert "Try again" in failed.texts


@pytest.mark.parametrize("status", [400, 403, 404, 405, 424, 429, 500, 502, 503, 599])
def test_errors_say_what_to_do(status: int) -> None:
    shown = page("error.html", status_code=status, message="", error_id="")
    assert f"Code {status}" in shown.texts
    assert "Back to the course" in shown.texts
    paragraphs = [text for text in shown.texts if text.endswith(".")]
    assert len(paragraphs) >= 2


def test_a_crash_does_not_show_itself() -> None:
    crash = "Traceback: /srv/site/state/secret"
    exception = RuntimeError(crash)
    shown = page("error.html", status_code=500, message=crash, message_html=crash, exception=exception)
    assert not any(crash in text for text in shown.texts)


def test_a_message_made_for_people_is_shown() -> None:
    exception = RuntimeError("x")
    exception.jupyterhub_message = "The image is missing."  # type: ignore[attr-defined]
    exception.error_id = "4711"  # type: ignore[attr-defined]
    shown = page("error.html", status_code=500, message="The image is missing.", exception=exception, error_id="")
    assert "The image is missing." in shown.texts
    assert "Error number: 4711" in shown.texts


def test_a_known_message_is_translated() -> None:
    message = "Active user limit exceeded. Try again in a few minutes."
    texts = page("error.html", "ja", status_code=429, message=message).texts
    assert "このコースの席はいま満席です。数分後にもう一度お試しください。" in texts
    assert message not in texts


def test_every_refusal_is_known() -> None:
    granted = {
        Decided.MEMBER, Decided.STRANGER, Decided.ACCOUNT, Decided.GROUP, Decided.LAUNCH, Decided.EVERYONE
    }  # fmt: skip
    assert set(REFUSALS) == {str(reason) for reason in Decided if reason not in granted}


def test_a_refusal_is_said_on_the_login_form() -> None:
    texts = page("login.html", "fr", login_error=str(Decided.CLOSED)).texts
    assert "Ce cours est fermé." in texts


def test_signing_out_is_possible_on_an_error_page() -> None:
    assert f"{HUB}logout" in page("error.html").links
    assert f"{HUB}login" in page("error.html", signed_in=False).links


# --- the choice of an image ---------------------------------------------------------------------------------------

IMAGES = ["example.org/python:1", "example.org/r:1"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_images_to_choose_from(language: str) -> None:
    offered = SimpleNamespace(active=False, pending=None, images=IMAGES, chosen_image="")
    shown = page("spawn.html", language, spawner=offered, error_message="")
    radios = [each for each in shown.all("input") if each.get("type") == "radio"]
    assert [each["value"] for each in radios] == IMAGES and [("checked" in each) for each in radios] == [True, False]
    assert {each["name"] for each in radios} == {"image"} and not shown.unbalanced
    assert [form["action"] for form in shown.all("form")] == ["/x"] and len(shown.all("h1")) == 1
    offered.chosen_image = IMAGES[1]
    again = [each for each in page("spawn.html", spawner=offered).all("input") if "checked" in each]
    assert [each["value"] for each in again] == [IMAGES[1]]


def test_a14_one_image_is_no_choice() -> None:
    alone = SimpleNamespace(active=False, pending=None, images=IMAGES[:1], chosen_image="")
    assert not [each for each in page("spawn.html", spawner=alone).all("input") if each.get("type") == "radio"]


# --- a person's logins --------------------------------------------------------------------------------------------

WAYS = {
    "logins": [
        {"name": "accounts", "kind": "account", "title": None},
        {"name": "moodle", "kind": "launch", "title": "Campus <b>"},
        {"name": "house", "kind": "button", "title": None},
    ],
    "linking": True,
}
LIST: dict[str, Any] = {"proved": None, "wrong": None, "before": None, "first": "accounts"}


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(
    ("state", "buttons"),
    [
        ({"linked": (), "free": ("moodle", "house")}, ["begin", "begin"]),
        ({"linked": ("moodle",), "free": ("house",)}, ["unlink", "begin"]),
        ({"linked": ("moodle", "house"), "free": (), "done": "Nothing was linked."}, ["unlink", "unlink"]),
        ({"asked": "moodle"}, []),
        ({"asked": "accounts", "wrong": "The name or the password was wrong."}, [None]),
        ({"proved": Arrival(Identity("moodle", "s"), "lti-1"), "before": "lti-1"}, ["link", "forget"]),
    ],
)
def test_every_step_of_linking(state: dict[str, Any], buttons: list[str | None], language: str) -> None:
    shown = page("logins.html", language, course=WAYS, **(LIST | state))
    pressed = [each for each in shown.all("button") if "cw-button" in each.get("class", "")]
    assert [each.get("value") for each in pressed] == buttons and not shown.unbalanced
    assert all(form["method"] == "post" and form["action"] == f"{HUB}logins" for form in shown.all("form"))
    assert f"{HUB}logins" in shown.links, "the menu leads here"
    if language != "en":
        english = set(page("logins.html", course=WAYS, **(LIST | state)).texts)
        known = {"Qwerty", "· Qwerty", "Campus <b>", *NAMES.values(), "OK", "Error"}
        left = {text for text in english & set(shown.texts) if "JavaScript" not in text and "enable it" not in text}
        assert left - known <= {"The error"}, left - known


def test_no_menu_entry_where_there_is_nothing_to_link() -> None:
    assert f"{HUB}logins" not in page("home.html").links
