"""A learning platform as a web server: courses with links and frames, logins of LTI 1.3, key sets that misbehave."""

from __future__ import annotations

import html
import ipaddress
import json
import re
import secrets
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID

from support.lti import FORM_11, KEY, MEMBERSHIP, SECRET, claims, jwk, rsa_key, signed, token
from support.sites import RunningSite, SiteFolder

CLIENT = "courses-1"
DEPLOYMENT = "4"
CONTEXT = "course-1"
LEARNER, TEACHER = f"{MEMBERSHIP}#Learner", f"{MEMBERSHIP}#Instructor"


class LearningPlatform:
    """A running platform at `url`. `delay` seconds and `status` are those of its key set, `asked` how often it was,
    `document` what it is instead of that of `keys`."""

    def __init__(self, host: str = "127.0.0.1", tls: tuple[Path, Path] | None = None) -> None:
        self.keys: dict[str, Any] = {"k1": rsa_key("k1")}
        self.signs_with = "k1"
        self.delay, self.status, self.asked = 0.0, 200, 0
        self.people: dict[str, dict[str, Any]] = {}
        self.pages: dict[str, str] = {}
        self.document = ""
        self.answers: list[dict[str, list[str]]] = []
        handler = type("Handler", (_Handler,), {"platform": self})
        self.servers = [ThreadingHTTPServer((host, 0), handler)]
        self.plain = self.url = f"http://{host}:{self.servers[0].server_address[1]}"
        if tls is not None:
            # Browsers come by TLS; the hub, which does not know this certificate, fetches keys without.
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            self.servers.append(ThreadingHTTPServer((host, 0), handler))
            self.servers[1].socket = context.wrap_socket(self.servers[1].socket, server_side=True)
            self.url = f"https://{host}:{self.servers[1].server_address[1]}"

    # -- how a site registers it -------------------------------------------------------------------------------

    def registration(self, **changes: Any) -> dict[str, Any]:
        """Its entry in `login` of site.yaml, LTI 1.3."""
        return {
            "method": "lti13",
            "title": "Campus",
            "issuer": self.url,
            "client_id": CLIENT,
            "auth_url": f"{self.url}/auth",
            "jwks_url": f"{self.plain}/jwks",
            **changes,
        }

    def consumer(self, **changes: Any) -> dict[str, Any]:
        """Its entry in `login` of site.yaml, LTI 1.1; `lti-secret` has to be in the site folder."""
        return {
            "method": "lti11",
            "title": "Campus",
            "url": self.url,
            "key": KEY,
            "secret": "file:lti-secret",
            **changes,
        }

    # -- what it sends -----------------------------------------------------------------------------------------

    def initiation(self, course_url: str, user: str = "42", **changes: str | None) -> dict[str, str]:
        """The request by which it starts a login."""
        fields = {
            "iss": self.url,
            "login_hint": user,
            "target_link_uri": f"{course_url}hub/lti/launch",
            "client_id": CLIENT,
            "lti_message_hint": f"hint-{user}",
            **changes,
        }
        return {name: value for name, value in fields.items() if value is not None}

    def person(self, user: str, **changes: Any) -> None:
        """What it says of somebody from now on: claims, those of LTI by their short names."""
        self.people[user] = changes

    def id_token(self, nonce: str, user: str, course_url: str, /, **changes: Any) -> str:
        """A token for one login."""
        now = int(time.time())
        said = {
            "iss": self.url,
            "aud": CLIENT,
            "sub": user,
            "iat": now,
            "exp": now + 60,
            "deployment_id": DEPLOYMENT,
            "context": {"id": CONTEXT, "title": "Python for all", "type": ["CourseSection"]},
            "custom": None,
            "target_link_uri": f"{course_url}hub/lti/launch",
            "roles": [LEARNER],
            "nonce": nonce,
            **self.people.get(user, {}),
            **changes,
        }
        key = self.keys[self.signs_with]
        return token(claims(**said), key=key, kid=self.signs_with)

    def answer(self, asked: str, course_url: str, **changes: Any) -> dict[str, str]:
        """The form that ends a login, for the address to which the tool has sent the browser."""
        query = {name: values[0] for name, values in parse_qs(urlsplit(asked).query).items()}
        assert query["scope"] == "openid" and query["response_mode"] == "form_post" and query["prompt"] == "none"
        id_token = self.id_token(query["nonce"], query["login_hint"], course_url, **changes)
        return {"state": query["state"], "id_token": id_token}

    def form(
        self, url: str, user: str = "42", roles: str = "Learner", *, secret: str = SECRET, **changes: str | None
    ) -> bytes:
        """A signed launch of LTI 1.1, for `url`, sent now."""
        fields = {**FORM_11, "user_id": user, "roles": roles, "context_id": CONTEXT, "custom_notebook": None, **changes}
        key = str(fields.pop("key", KEY))
        offset = int(fields.pop("offset", 0) or 0)
        nonce = str(fields.pop("nonce", None) or secrets.token_hex(8))
        left = [(name, value) for name, value in fields.items() if value is not None]
        return signed(left, url=url, key=key, secret=secret, timestamp=str(int(time.time()) + offset), nonce=nonce)


class _Handler(BaseHTTPRequestHandler):
    """Key set, authentication, pages of courses, and what deep linking brings back."""

    platform: LearningPlatform

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        if parts.path == "/jwks":
            self._key_set()
        elif parts.path == "/auth":
            self._authenticate({name: values[0] for name, values in parse_qs(parts.query).items()})
        else:
            self._send(self.platform.pages.get(parts.path, "<h1>Campus</h1>"))

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        self.platform.answers.append(parse_qs(body))
        self._send("<h1 id=back>Campus</h1>")

    def _key_set(self) -> None:
        self.platform.asked += 1
        time.sleep(self.platform.delay)
        keys = [jwk(key, kid) for kid, key in self.platform.keys.items()]
        document = self.platform.document or json.dumps({"keys": keys})
        self._send(document, "application/json", self.platform.status)

    def _authenticate(self, query: Mapping[str, str]) -> None:
        """As a platform whose user is logged in: a form that sends itself to the tool."""
        course_url = query["redirect_uri"].partition("hub/lti/")[0]
        id_token = self.platform.id_token(query["nonce"], query["login_hint"], course_url)
        self._send(self_sent(query["redirect_uri"], {"state": query["state"], "id_token": id_token}))

    def _send(self, text: str, kind: str = "text/html; charset=utf-8", status: int = 200) -> None:
        raw = text.encode()
        try:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)
        except OSError:
            pass  # nobody waits any more

    def log_message(self, *_: Any) -> None:
        pass


def self_sent(action: str, fields: Mapping[str, str]) -> str:
    """A page with a form that a script sends at once."""
    inputs = "".join(f'<input type=hidden name="{html.escape(n)}" value="{html.escape(v)}">' for n, v in fields.items())
    form = f'<form method=post action="{html.escape(action)}">{inputs}<button>go</button></form>'
    return f"<!doctype html><meta charset=utf-8>{form}<script>document.forms[0].submit()</script>"


def form_fields(body: bytes) -> dict[str, str]:
    """A form without doubled names, for a page that sends it."""
    return {name: values[0] for name, values in parse_qs(body.decode(), keep_blank_values=True).items()}


@contextmanager
def running_platform(host: str = "127.0.0.1", tls: tuple[Path, Path] | None = None) -> Iterator[LearningPlatform]:
    """A platform at this address, ended afterwards; `tls`: certificate and key of its pages."""
    platform = LearningPlatform(host, tls)
    for server in platform.servers:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield platform
    finally:
        for server in platform.servers:
            server.shutdown()
            server.server_close()


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for loopback addresses that nobody has signed, and its key."""
    key = rsa_key("tls")
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "loopback")])
    now = datetime.now(UTC)
    hosts = [x509.IPAddress(ipaddress.ip_address(f"127.0.0.{number}")) for number in (1, 2)]
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    signed_one = builder.add_extension(x509.SubjectAlternativeName(hosts), critical=False).sign(key, hashes.SHA256())
    files = folder / "certificate.pem", folder / "key.pem"
    files[0].write_bytes(signed_one.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    files[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain))
    files[1].chmod(0o600)
    return files


CROSS_SITE = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
FORM_TYPE = {"Content-Type": "application/x-www-form-urlencoded"}


def said(page: requests.Response) -> str:
    """The sentence of a launch that was refused; empty when there is none."""
    page.encoding = "utf-8"
    _, _, rest = page.text.partition('id="launch-error"')
    return html.unescape(rest.partition(">")[2].partition("</p>")[0]).strip()


def hidden(page: requests.Response) -> dict[str, str]:
    """The hidden fields of the page's form."""
    page.encoding = "utf-8"
    found = {}
    for part in page.text.split('<input type="hidden" name="')[1:]:
        name, _, rest = part.partition('" value="')
        found[html.unescape(name)] = html.unescape(rest.partition('"')[0])
    return found


def visitor(**headers: str) -> requests.Session:
    """A browser without cookies that comes from another site, in a window of its own."""
    session = requests.Session()
    session.trust_env = False
    session.headers.update({"Accept": "text/html", **CROSS_SITE, **headers})
    return session


class Launched:
    """A site with one course, `alpha`, that takes launches of one platform by both versions."""

    def __init__(
        self, root: Path, platform: LearningPlatform, tls: tuple[Path, Path] | None = None, **course: Any
    ) -> None:
        self.platform = platform
        registered = {"moodle": platform.registration(), "old": platform.consumer()}
        folder = SiteFolder(root, login=registered)
        if tls is not None:
            site = json.loads((root / "site.yaml").read_text())
            site["edge"]["tls"] = {"certificate": str(tls[0]), "key": str(tls[1])}
            (root / "site.yaml").write_text(json.dumps(site))
            folder.url = folder.url.replace("http:", "https:")
        secret = root / "lti-secret"
        secret.write_text(SECRET)
        secret.chmod(0o600)
        logins = [{"method": "lti13", "use": "moodle"}, {"method": "lti11", "use": "old"}]
        folder.add_course("alpha", **{"authentication": logins, "members": {}, **course})
        self.site = RunningSite(folder)
        self.url = self.site.course_url("alpha")

    def lti(self, name: str) -> str:
        """The address of one of the hub's pages for launches."""
        return f"{self.url}hub/lti/{name}"

    def launch11(self, session: requests.Session, body: bytes, query: str = "") -> requests.Response:
        """Send a form of LTI 1.1; redirects are not followed."""
        url = self.lti("launch") + (f"?{query}" if query else "")
        return session.post(url, body, headers=FORM_TYPE, timeout=30, allow_redirects=False)

    def begin(self, session: requests.Session, user: str = "42", **changes: str | None) -> requests.Response:
        """Start a login of LTI 1.3; the answer sends the browser to the platform."""
        fields = self.platform.initiation(self.url, user, **changes)
        return session.get(self.lti("login"), params=fields, timeout=30, allow_redirects=False)

    def end(self, session: requests.Session, fields: dict[str, str], **headers: str) -> requests.Response:
        """Bring the platform's answer; redirects are not followed."""
        return session.post(self.lti("callback"), fields, headers=headers, timeout=30, allow_redirects=False)

    def launch13(self, session: requests.Session, user: str = "42", **changes: Any) -> requests.Response:
        """A whole launch of LTI 1.3 up to the answer to its last request."""
        begun = self.begin(session, user)
        assert begun.status_code == 302, (begun.status_code, begun.text[:500])
        return self.end(session, self.platform.answer(begun.headers["Location"], self.url, **changes))

    def groups(self) -> dict[str, list[str]]:
        """The roles of everybody whom the hub knows."""
        token = {"Authorization": f"token {self.site.token('alpha')}"}
        users = requests.get(f"{self.url}hub/api/users", headers=token, timeout=10).json()
        return {user["name"]: user["groups"] for user in users}

    def who(self, session: requests.Session) -> str:
        """Whom the hub takes this browser for; empty for nobody."""
        page = session.get(f"{self.url}hub/home", timeout=30, headers={"Sec-Fetch-Site": "same-origin"})
        found = re.search(r'class="cw-who" title="([^"]*)"', page.text)
        return found[1] if found else ""


@contextmanager
def launched_site(
    root: Path, platform: LearningPlatform, tls: tuple[Path, Path] | None = None, **course: Any
) -> Iterator[Launched]:
    """A running site that takes launches, ended afterwards; `tls`: certificate and key of its front door."""
    launched = Launched(root, platform, tls, **course)
    try:
        launched.site.start()
        yield launched
    finally:
        if launched.site.process is not None:
            launched.site.stop()
