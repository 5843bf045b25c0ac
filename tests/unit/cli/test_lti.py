"""`coursewarehub lti`: what it writes, what it says, and what it finds at a platform that it asks."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from support.lti import key_set

from coursewareauthenticator.lti.keys import SETTLE, ToolKeys
from coursewarehub.cli.lti_sheet import PLATFORMS, sheet
from coursewarehub.model import load_site
from coursewarehub.site.lti.tool import Addresses
from coursewarehub.state.folders import SiteFolders
from coursewarehub.state.lti_links import LIFETIME, Links

from .conftest import Outcome, write_course, write_site

Run = Callable[..., Outcome]
BY_HAND = ("--issuer", "https://lms.example.org", "--client-id", "c1", "--auth-url", "https://lms.example.org/auth")
JWKS = ("--jwks-url", "https://lms.example.org/jwks")


def platform(root: Path, name: str = "lms") -> Any:
    return load_site(root).site.login[name]


# --- register ----------------------------------------------------------------------------------


def test_register_by_hand(run: Run, root: Path) -> None:
    write_site(root, edge={"public_url": "https://courses.example.org"})
    outcome = run(
        "lti", "register", "lms", *BY_HAND, *JWKS, "--token-url", "https://lms.example.org/token", "--title", "Our LMS",
        "--deployment", "1", "--deployment", "2", "--token-audience", "lms", "--origin", "https://apps.example.org",
        "--anonymous",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    found = platform(root)
    assert (found.issuer, found.client_id, found.deployments) == ("https://lms.example.org", "c1", ("1", "2"))
    assert (found.token_audience, found.origins, found.anonymous) == ("lms", ("https://apps.example.org",), True)
    assert found.title.text("en") == "Our LMS"
    for url in ("launch", "login", "callback", "jwks"):
        assert f"https://courses.example.org/lti/{url}\n" in outcome.out
    assert "authentication:\n  - method: lti13\n    use: lms\n" in outcome.out
    assert run("check").code == 0


def test_register_a_moodle_and_canvas(run: Run, root: Path) -> None:
    assert run("lti", "register", "moodle", "--moodle", "https://m.example.org/", "--client-id", "x7").code == 0
    found = platform(root, "moodle")
    assert (found.issuer, found.jwks_url) == ("https://m.example.org", "https://m.example.org/mod/lti/certs.php")
    assert run("lti", "register", "canvas", "--canvas", "--client-id", "10000000000042").code == 0
    assert platform(root, "canvas").issuer == "https://canvas.instructure.com"
    assert platform(root, "canvas").client_id == "10000000000042"


def test_register_lti_11_never_prints_the_secret_unasked(run: Run, root: Path) -> None:
    outcome = run("lti", "register", "old", "--lti", "1.1", "--url", "https://old.example.org")
    assert outcome.code == 0, outcome.err
    file = root / "secrets/lti-old"
    secret = file.read_text().strip()
    assert len(secret) > 40 and file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700
    assert secret not in outcome.out + outcome.err + (root / "platforms.d/old.yaml").read_text()
    assert str(file) in outcome.out
    assert platform(root, "old").key == "old"
    assert run("check").code == 0

    shown = run(
        "lti", "register", "new", "--lti", "1.1", "--url", "https://n.example.org", "--key", "k", "--show-secret"
    )
    assert (root / "secrets/lti-new").read_text().strip() in shown.out
    assert platform(root, "new").key == "k"


def test_register_says_what_keeps_a_platform_from_being_used(run: Run, root: Path) -> None:
    write_site(root, mode="production")
    http = tuple(argument.replace("https:", "http:") for argument in (*BY_HAND, *JWKS))
    outcome = run("lti", "register", "lms", *http)
    assert outcome.code == 0
    lines = outcome.err.splitlines()
    assert len(lines) == 3 and all("production mode refuses" in line for line in lines)
    old = run("lti", "register", "old", "--lti", "1.1", "--url", "https://a.org", "--secret", "file:none")
    assert old.code == 0 and "Before it can be used: platforms.d/old.yaml" in old.err


def test_register_makes_a_link(run: Run, root: Path) -> None:
    outcome = run("lti", "register", "moodle", "--link", "--private-host", "Moodle.local:8080")
    assert outcome.code == 0, outcome.err
    found = re.search(r"^http://127\.0\.0\.1:8000/lti/register/(\S{43})$", outcome.out, re.MULTILINE)
    assert found is not None
    link = Links(SiteFolders(root).lti_links).look(found[1], time.time())
    assert link is not None
    assert (link.name, link.private_host) == ("moodle", "moodle.local:8080")
    assert 0 <= time.time() + LIFETIME - link.expires < 60
    assert not (root / "platforms.d").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "telling"),
    [
        (("Moodle", *BY_HAND, *JWKS), 1, "cannot be the name of a platform"),
        (("dummy", *BY_HAND, *JWKS), 1, "cannot be the name of a platform"),
        (("taken", *BY_HAND, *JWKS), 1, "There is a `taken` already"),
        (("lms", *BY_HAND), 2, "needs `--jwks-url`, or `--link`"),
        (("lms",), 2, "needs `--issuer`, `--client-id`, `--auth-url`, `--jwks-url`"),
        (("lms", *BY_HAND, "--jwks-url", "nonsense"), 2, "`jwks_url` must be an address"),
        (("lms", *BY_HAND, *JWKS, "--key", "x"), 2, "`--key` goes with `--lti 1.1`"),
        (("lms", *BY_HAND, *JWKS, "--show-secret"), 2, "`--show-secret` goes with `--lti 1.1`"),
        (("lms", *BY_HAND, *JWKS, "--private-host", "a"), 2, "goes with `--link`"),
        (("lms", "--moodle", "m.example.org", "--client-id", "c"), 2, "`--moodle` must be an address"),
        (("lms", "--canvas", "--moodle", "https://m.example.org", "--client-id", "c"), 2, "give one of"),
        (("lms", "--lti", "1.1"), 2, "needs `--url`"),
        (("lms", "--lti", "1.1", "--url", "https://a.org/x"), 2, "`url`"),
        (("lms", "--lti", "1.1", "--url", "https://a.org", "--client-id", "x"), 2, "goes with `--lti 1.3`"),
        (("lms", "--lti", "1.1", "--url", "https://a.org", "--secret", "hunter2"), 2, "`file:PATH` or `env:NAME`"),
        (("lms", "--lti", "1.1", "--url", "https://a.org", "--window", "long"), 2, "`window` must be"),
        (("lms", "--lti", "1.1", "--link"), 2, "`--link` is for LTI 1.3"),
        (("lms", "--link", "--issuer", "https://a.org"), 2, "`--issuer` cannot be given with `--link`"),
        (("lms", "--link", "--private-host", "https://a.org"), 2, "must be the name of a host"),
        (("twice", "--issuer", "https://taken.example.org", "--client-id", "c", *BY_HAND[4:], *JWKS), 2,
         "is the same platform and client as `taken`"),
    ],
)  # fmt: skip
def test_register_refuses(run: Run, root: Path, arguments: tuple[str, ...], code: int, telling: str) -> None:
    taken = {"method": "lti13", "issuer": "https://taken.example.org", "client_id": "c"}
    taken |= {"auth_url": "https://taken.example.org/a", "jwks_url": "https://taken.example.org/j"}
    write_site(root, login={"taken": taken})
    outcome = run("lti", "register", *arguments)
    outcome.assert_refused(code, telling)
    assert "hunter2" not in outcome.err
    assert not list(root.glob("platforms.d/*")) and not list(root.glob("secrets/*"))
    assert not list(root.glob("state/lti-links/*"))


def test_register_leaves_a_secret_alone_that_is_there(run: Run, root: Path) -> None:
    (root / "secrets").mkdir()
    (root / "secrets/lti-old").write_text("kept")
    outcome = run("lti", "register", "old", "--lti", "1.1", "--url", "https://old.example.org")
    outcome.assert_refused(1, "exists already")
    assert (root / "secrets/lti-old").read_text() == "kept"
    assert not (root / "platforms.d/old.yaml").exists()


# --- list, rotate-keys, sheet ------------------------------------------------------------------


def test_list(run: Run, root: Path) -> None:
    assert "There are no learning platforms" in run("lti", "list").out
    assert json.loads(run("lti", "list", "--json").out) == []
    write_site(root, login={"house": {"method": "github", "client_id": "x", "client_secret": "env:X"}})
    run("lti", "register", "lms", *BY_HAND, *JWKS)
    run("lti", "register", "old", "--lti", "1.1", "--url", "https://old.example.org")
    write_course(root, "alpha", authentication={"method": "lti13", "use": "lms"})
    assert json.loads(run("lti", "list", "--json").out) == [
        {
            "name": "lms",
            "method": "lti13",
            "platform": "https://lms.example.org c1",
            "file": "platforms.d/lms.yaml",
            "courses": ["alpha"],
        },
        {
            "name": "old",
            "method": "lti11",
            "platform": "https://old.example.org old",
            "file": "platforms.d/old.yaml",
            "courses": [],
        },
    ]
    text = run("lti", "list").out
    assert "(alpha)" in text and "(no course)" in text
    (root / "platforms.d/bad.yaml").write_text("method: x\n")
    broken = run("lti", "list")
    assert broken.code == 2 and "lms" in broken.out and "platforms.d/bad.yaml:1: " in broken.err


def test_l13_21_rotate_keys(run: Run, root: Path) -> None:
    keys = ToolKeys(SiteFolders(root).lti_keys)
    first = keys.signing(time.time() - 2 * SETTLE)
    outcome = run("lti", "rotate-keys")
    assert outcome.code == 0
    published = [key["kid"] for key in keys.document(time.time())["keys"]]
    assert published[0] == first.kid and len(published) == 2
    assert f"The key {published[1]} is published now." in outcome.out
    assert f"until then {first.kid} does." in outcome.out
    for file in SiteFolders(root).lti_keys.glob("*.pem"):
        file.chmod(0o644)
    run("lti", "rotate-keys").assert_refused(1, "can be read by others")


@pytest.mark.parametrize("kind", PLATFORMS)
def test_sheet(run: Run, root: Path, kind: str) -> None:
    write_site(root, title="Faculty", edge={"public_url": "https://courses.example.org"})
    before = run("lti", "sheet", "lms", "--for", kind)
    assert before.code == 0 and "coursewarehub lti register lms" in before.out
    addresses = Addresses("https://courses.example.org/")
    for field, value in sheet(kind, addresses, "Faculty"):
        assert field in before.out and all(line in before.out for line in value.splitlines())
    run("lti", "register", "lms", *BY_HAND, *JWKS)
    assert "lti register" not in run("lti", "sheet", "lms", "--for", kind).out
    of_course = run("lti", "sheet", "lms", "--for", kind, "--course", "alpha").out
    assert "?course=alpha" in of_course
    run("lti", "register", "old", "--lti", "1.1", "--url", "https://old.example.org")
    old = run("lti", "sheet", "old", "--for", kind).out
    assert (root / "secrets/lti-old").read_text().strip() not in old
    assert "login" not in old.lower().replace("lti", "")


def test_the_command_that_a_sheet_shows_works(run: Run, root: Path) -> None:
    for kind in PLATFORMS:
        line = run("lti", "sheet", f"x-{kind}", "--for", kind).out.splitlines()[-1]
        words = line.replace("URL", "https://lms.example.org").replace("ID", f"c-{kind}").split()[1:]
        assert run(*words).code == 0, line


def test_sheet_refuses(run: Run, root: Path) -> None:
    run("lti", "sheet", "x", "--for", "moodle", "--course", "nope").assert_refused(1, "There is no course `nope`")
    write_site(root, login={"house": {"method": "github", "client_id": "x", "client_secret": "env:X"}})
    run("lti", "sheet", "house", "--for", "moodle").assert_refused(1, "not a learning platform")
    assert run("lti", "sheet", "x", "--for", "blackboard").code == 2


# --- test --------------------------------------------------------------------------------------


class Lms(ThreadingHTTPServer):
    """What a platform has to answer for a launch."""

    daemon_threads = True
    pages: dict[str, tuple[int, bytes]]
    date: float | None = 0.0


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        lms: Any = self.server
        status, body = lms.pages.get(self.path.partition("?")[0], (404, b""))
        self.send_response_only(status)
        if lms.date is not None:
            self.send_header("Date", formatdate(time.time() + lms.date, usegmt=True))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def lms() -> Iterator[Lms]:
    with Lms(("127.0.0.1", 0), Handler) as server:
        server.pages = {"/jwks": (200, key_set()), "/auth": (400, b""), "/token": (405, b"")}
        server.date = 0.0
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def tested(run: Run, root: Path, lms: Lms) -> Callable[..., Outcome]:
    url = f"http://127.0.0.1:{lms.server_address[1]}"
    options = ("--issuer", url, "--client-id", "c", "--auth-url", f"{url}/auth", "--jwks-url", f"{url}/jwks")
    assert run("lti", "register", "lms", *options, "--token-url", f"{url}/token").code == 0
    return lambda: run("lti", "test", "lms")


def bad(outcome: Outcome) -> list[str]:
    assert outcome.err == "" and "Traceback" not in outcome.out
    found = [line for line in outcome.out.splitlines() if line.startswith("bad")]
    assert outcome.code == (1 if found else 0), outcome.out
    return found


def test_test_of_a_platform_that_is_right(tested: Callable[..., Outcome], lms: Lms) -> None:
    outcome = tested()
    assert bad(outcome) == []
    assert "its keys can be fetched" in outcome.out and re.search("its clock is [01] s", outcome.out)
    assert "no course uses it" in outcome.out
    url = f"http://127.0.0.1:{lms.server_address[1]}"
    lms.pages["/.well-known/openid-configuration"] = (200, json.dumps({"issuer": url}).encode())
    assert f"says of itself that it is {url}" in tested().out


@pytest.mark.parametrize(
    ("path", "answer", "telling"),
    [
        ("/jwks", (404, b""), "`jwks_url`: http"),
        ("/jwks", (200, b"[]"), "key set is not valid"),
        ("/jwks", (200, key_set({"kty": "oct", "kid": "x"})), "no RSA or P-256 key"),
        ("/jwks", (302, b""), "redirect"),
        ("/auth", (404, b""), "`auth_url`"),
        ("/token", (500, b""), "`token_url`"),
        (
            "/mod/lti/openid-configuration.php",
            (200, b'{"issuer": "https://other.example.org", "jwks_uri": 7}'),
            "`issuer` is http://127.0.0.1",
        ),
    ],
)
def test_test_names_what_is_wrong(
    tested: Callable[..., Outcome], lms: Lms, path: str, answer: tuple[int, bytes], telling: str
) -> None:
    lms.pages[path] = answer
    (line,) = bad(tested())
    assert telling in line


@pytest.mark.parametrize(
    ("date", "level"), [(-3600.0, "bad"), (3600.0, "bad"), (-45.0, "note"), (5.0, "ok"), (None, "note")]
)
def test_test_compares_clocks(tested: Callable[..., Outcome], lms: Lms, date: float | None, level: str) -> None:
    lms.date = date
    outcome = tested()
    (line,) = [line for line in outcome.out.splitlines() if "clock" in line]
    assert line.startswith(level)
    assert outcome.code == (level == "bad")


def test_test_of_a_platform_that_is_away(tested: Callable[..., Outcome], lms: Lms) -> None:
    lms.shutdown()
    lms.server_close()
    assert len(bad(tested())) == 3


def test_test_of_lti_11(run: Run, root: Path, lms: Lms) -> None:
    url = f"http://127.0.0.1:{lms.server_address[1]}"
    run("lti", "register", "old", "--lti", "1.1", "--url", url, "--window", "5m")
    assert bad(run("lti", "test", "old")) == []
    lms.date = 200.0
    assert "note  its clock is" in run("lti", "test", "old").out
    lms.date = 400.0
    assert "300 s are allowed" in bad(run("lti", "test", "old"))[0]
    (root / "secrets/lti-old").chmod(0o644)
    lms.date = 0.0
    assert "can be read by others" in bad(run("lti", "test", "old"))[0]


def test_test_refuses(run: Run, root: Path) -> None:
    run("lti", "test", "nope").assert_refused(1, "There is no platform `nope` (platforms: none).")
    (root / "platforms.d").mkdir()
    (root / "platforms.d/bad.yaml").write_text("method: x\n")
    run("lti", "test", "bad").assert_refused(2, "platforms.d/bad.yaml:1: ")


# --- the guides --------------------------------------------------------------------------------

GUIDES = Path(__file__).parents[3] / "docs/how-to"


@pytest.mark.parametrize("kind", PLATFORMS)
@pytest.mark.parametrize("key", [None, "KEY"])
def test_the_guides_have_the_fields_of_the_sheets(kind: str, key: str | None) -> None:
    page = (GUIDES / f"lti-{kind}.md").read_text(encoding="utf-8")
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line.startswith("|")
    ]
    rows = {row[0]: row[-1] for row in cells}
    for field, value in sheet(kind, Addresses("https://courses.example.org/"), "Title", key=key):
        assert field in rows, field
        if "https://" in value:
            assert all(url in rows[field] for url in re.findall(r"https://[^\s\"\]]+", value)), field
