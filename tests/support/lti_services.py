"""A platform whose services can be asked over HTTP: it is as strict as the strictest, odd as the oddest, and breaks.

What each family does differently is written from what was seen of Moodle, Canvas and Open edX and from Sakai's code.
Signatures are checked with PyJWT and oauthlib, never with the code under test.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import re
import time
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote, urlencode
from xml.etree import ElementTree

import jwt
from oauthlib.oauth1 import SIGNATURE_HMAC_SHA1, SIGNATURE_TYPE_AUTH_HEADER, Client
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

from coursewareauthenticator.lti.keys import ToolKey
from coursewareauthenticator.lti.lti11 import Consumer
from coursewareauthenticator.lti.registrations import Registration
from coursewareauthenticator.lti.services.access import AccessTokens
from coursewareauthenticator.lti.services.basic_outcomes import BasicOutcomes
from coursewareauthenticator.lti.services.delivery import Delivery
from coursewareauthenticator.lti.services.gradebook import Gradebooks
from coursewareauthenticator.lti.services.http import ServiceHttp
from coursewareauthenticator.lti.services.platforms import Platforms
from coursewareauthenticator.lti.services.rosters import Rosters
from coursewareauthenticator.lti.services.targets import (
    AGS,
    LINE_ITEM,
    RESULT_READ,
    ROSTER_READ,
    SCORE,
    GradebookTarget,
    LineItemTarget,
    OutcomeTarget,
    RosterTarget,
)
from support.lti import rsa_key

CLIENT, KEY, SECRET = "client-1", "moodle", "s3cret & more"
NAMESPACE = "http://www.imsglobal.org/services/ltiv1p1/xsd/imsoms_v1p0"
ALL = frozenset({SCORE, LINE_ITEM, RESULT_READ, AGS + "lineitem.readonly", ROSTER_READ})


def tool_key(name: str = "tool") -> ToolKey:
    return ToolKey(f"kid-{name}", 1, rsa_key(name))


@dataclass
class FakePlatform:
    """What it holds, what it has seen, and what goes wrong next (`faults`, by service, first come first served)."""

    family: str = "moodle"
    port: int = 1
    students: set[str] = field(default_factory=lambda: {"42", "43"})
    columns: dict[int, dict[str, Any]] = field(default_factory=dict)
    results: dict[tuple[int, str], dict[str, Any]] = field(default_factory=dict)
    scores: list[dict[str, Any]] = field(default_factory=list)
    outcomes: dict[str, str] = field(default_factory=dict)
    sourcedids: set[str] = field(default_factory=lambda: {"sid-42"})
    outcome_log: list[tuple[str, str]] = field(default_factory=list)
    members: list[Any] = field(default_factory=list)
    context: Any = "course-1"
    most_members: int = 10_000
    page: int = 2
    allowed: frozenset[str] = ALL
    keys: dict[str, Any] = field(default_factory=lambda: {tool_key().kid: rsa_key("tool").public_key()})
    lives: float = 3600
    leeway: float = 0
    tokens: dict[str, tuple[float, frozenset[str]]] = field(default_factory=dict)
    token_requests: int = 0
    seen: set[str] = field(default_factory=set)
    faults: dict[str, deque[str]] = field(default_factory=lambda: defaultdict(deque))
    retry_after: str | None = None
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    under_way: dict[Any, int] = field(default_factory=lambda: defaultdict(int))
    most_at_once: int = 0
    same_at_once: int = 0
    silence: float = 30.0
    delay: float = 0.0
    elsewhere: str = "http://127.0.0.2:1/x"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def registration(self) -> Registration:
        return Registration(
            self.url, CLIENT, f"{self.url}/auth", f"{self.url}/jwks", f"{self.url}/token", "https://lms.example.org/aud"
        )

    @property
    def book(self) -> GradebookTarget:
        return GradebookTarget(
            self.registration.registration, f"{self.url}/lineitems?type_id=1", ALL - {ROSTER_READ}, self.family
        )

    def target(self, user: str = "42", column: int = 1, scopes: frozenset[str] = ALL) -> LineItemTarget:
        self.columns.setdefault(column, {"label": "Week 1", "scoreMaximum": 100, "resourceId": f"r{column}"})
        return LineItemTarget(self.registration.registration, self.column_url(column), user, scopes, self.family)

    def outcome(self, sourcedid: str = "sid-42") -> OutcomeTarget:
        return OutcomeTarget(f"lti11:{KEY}", f"{self.url}/outcomes?x=1&y=", "link-7", sourcedid, self.family)

    def roster(self) -> RosterTarget:
        return RosterTarget(self.registration.registration, f"{self.url}/members?a=b", "course-1", "link-7")

    def column_url(self, column: int) -> str:
        return f"{self.url}/lineitem/{column}?type_id=1"

    def given(self, user: str = "42", column: int = 1) -> float | None:
        """What a teacher sees."""
        return self.results.get((column, user), {}).get("resultScore")

    # --- how families differ -------------------------------------------------------------------

    def take_score(self, column: int, score: dict[str, Any]) -> int:
        """Take a score as the family does; the HTTP status."""
        user = score.get("userId")
        for name in ("timestamp", "activityProgress", "gradingProgress", "userId"):
            if name not in score:
                return 400
        if user not in self.students:
            return {"moodle": 400, "canvas": 422}.get(self.family, 404)
        if "scoreGiven" in score and not score.get("scoreMaximum", 0) > 0:
            return 400
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", score["timestamp"]), score["timestamp"]
        before = self.results.get((column, user), {}).get("timestamp", "")
        # Moodle keeps seconds: the same second is not later.
        new, old = (score["timestamp"][:19], before[:19]) if self.family == "moodle" else (score["timestamp"], before)
        if new <= old if self.family == "moodle" else new < old:
            return 409
        self.scores.append({**score, "column": column})
        final = score["gradingProgress"] == "FullyGraded"
        given = score.get("scoreGiven") if final else None
        if self.family == "openedx" and not given:
            given = self.given(user, column)
        maximum = self.columns[column]["scoreMaximum"]
        if given is not None:
            given = min(given / score["scoreMaximum"], 1.0) * maximum
        self.results[column, user] = {
            "userId": user,
            "resultScore": given,
            "resultMaximum": maximum,
            "comment": score.get("comment", ""),
            "timestamp": score["timestamp"],
        }
        return {"openedx": 201, "sakai": 204}.get(self.family, 200)

    def link_header(self, path: str, query: dict[str, Any]) -> list[tuple[str, str]]:
        """Where the list goes on, as each family writes it."""
        absolute = f"{self.url}{path}?{urlencode(query)}"
        if self.family == "moodle":
            text = f"<{absolute.replace('&', '&amp;')}>; rel=\u201cnext\u201d"
            return [("Link", text.encode().decode("latin-1"))]
        if self.family == "canvas":
            first = f'<{self.url}{path}?page=first,1>; rel="current first"'
            return [("Link", f'{first},<{absolute}>; rel="next",<{absolute}9>; rel="last"')]
        if self.family == "sakai":
            return [("Link", f"<{path}?page=1>; rel=first"), ("Link", f"<{path}?{urlencode(query)}>;title=x; REL=Next")]
        return [("Link", f'<{absolute}>; rel="next"')]

    def checked_assertion(self, form: dict[str, list[str]]) -> str | None:
        """What is wrong with a request for a token, as a strict platform says it."""
        assertion = form.get("client_assertion", [""])[0]
        try:
            kid = jwt.get_unverified_header(assertion)["kid"]
            claims = jwt.decode(
                assertion,
                self.keys[kid],
                algorithms=["RS256"],
                audience="https://lms.example.org/aud",
                issuer=CLIENT,
                leeway=self.leeway,
                options={"require": ["iss", "sub", "aud", "iat", "exp", "jti"]},
            )
        except (jwt.PyJWTError, KeyError):
            return "invalid_client"
        if claims["sub"] != CLIENT or claims["exp"] - claims["iat"] > 300 or claims["jti"] in self.seen:
            return "invalid_client"
        self.seen.add(claims["jti"])
        if form.get("grant_type") != ["client_credentials"] or form.get("client_assertion_type") != [
            "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
        ]:
            return "invalid_request"
        return None if set(form["scope"][0].split()) <= self.allowed else "invalid_scope"


class Handler(RequestHandler):
    """All services; `kind` is which."""

    platform: FakePlatform
    kind: str
    needs: dict[str, str | None]

    def initialize(self, platform: FakePlatform, kind: str, **needs: str | None) -> None:
        self.platform, self.kind, self.needs = platform, kind, needs

    def set_default_headers(self) -> None:
        self.clear_header("Server")

    async def prepare(self) -> None:
        self.key = (self.kind, self.request.path, self.get_argument("user", ""))
        if self.kind == "scores":
            self.key += (json.loads(self.request.body or b"{}").get("userId"),)
        platform = self.platform
        platform.requests.append((self.request.method or "", self.request.uri or "", dict(self.request.headers)))
        for key in (self.key, "all"):
            platform.under_way[key] += 1
        platform.most_at_once = max(platform.most_at_once, platform.under_way["all"])
        platform.same_at_once = max(platform.same_at_once, platform.under_way[self.key])
        self.fault = platform.faults[self.kind].popleft() if platform.faults[self.kind] else ""
        await self._break()
        scope = self.needs.get(self.request.method or "")
        if not self._finished and scope is not None:
            self._check_token(scope)

    def on_finish(self) -> None:
        self._left()

    def on_connection_close(self) -> None:
        """The other side has ended, as when its process was killed."""
        self._left()

    def _left(self) -> None:
        if self.key:
            for key in (self.key, "all"):
                self.platform.under_way[key] -= 1
            self.key = ()

    async def _break(self) -> None:
        """A fault before anything is done, or the time that it takes."""
        await asyncio.sleep(self.platform.delay)
        if self.fault == "silent":
            await asyncio.sleep(self.platform.silence)
        elif self.fault == "late":
            await asyncio.sleep(self.platform.silence / 2)
        elif self.fault == "cut-before":
            self.cut()
        elif self.fault.isdigit():
            if self.platform.retry_after is not None:
                self.set_header("Retry-After", self.platform.retry_after)
            self.set_status(int(self.fault))
            self.finish("the platform's own words" if self.fault != "503" else "<html>closed</html>")
        elif self.fault == "rate":
            self.set_status(403)
            self.finish("403 Forbidden (Rate Limit Exceeded)")
        elif self.fault in {"redirect", "redirect-elsewhere"}:
            self.set_status(307)
            own = self.request.uri
            self.set_header("Location", own if self.fault == "redirect" else self.platform.elsewhere)
            self.finish()
        elif self.fault == "html":
            self.finish("<html><body>Please log in</body></html>")
        elif self.fault == "endless":
            self.set_header("Content-Type", "application/json")
            for _ in range(100):
                self.write(b" " * 65536)
            self.finish()

    def cut(self) -> None:
        """End the connection without an answer."""
        self._left()
        self.detach().close()  # type: ignore[no-untyped-call]
        self._finished = True

    def answer(self, status: int = 200, body: Any = None, kind: str = "application/json") -> None:
        """The answer, unless a fault comes after what was asked for has been done."""
        if self.fault == "cut":
            self.cut()
            return
        if self.fault == "500-after":
            status, body = 500, "a traceback"
        self.set_status(status)
        if body is None:
            self.clear_header("Content-Type")
            self.finish()
            return
        self.set_header("Content-Type", kind)
        self.finish(body if isinstance(body, str | bytes) else json.dumps(body))

    def _check_token(self, scope: str) -> None:
        token = self.request.headers.get("Authorization", "").removeprefix("Bearer ")
        until, scopes = self.platform.tokens.get(token, (0.0, frozenset()))
        if time.time() >= until:
            self.set_status(401)
            self.finish(json.dumps({"error": f"expired {token}"}))
        elif scope not in scopes and not (self.request.method == "GET" and f"{scope}.readonly" in scopes):
            self.set_status(403)
            self.finish(json.dumps({"error": f"insufficient_scope for {token}"}))

    def paged(self, entries: list[Any]) -> list[Any]:
        """One page; `from` says where it starts, `limit` how long it is, at most."""
        start = int(self.get_argument("from", "0"))
        end = start + min(self.platform.page, int(self.get_argument("limit", "1000")))
        if end < len(entries) and self.platform.family != "openedx":
            query = {name: self.get_argument(name) for name in self.request.query_arguments} | {"from": end}
            for name, value in self.platform.link_header(self.request.path, query):
                self.add_header(name, value)
            return entries[start:end]
        return entries[start:]

    def accepts(self, kind: str) -> bool:
        if self.request.headers.get("Accept") == kind:
            return True
        self.set_status(406)
        self.finish()
        return False


class Token(Handler):
    def post(self) -> None:
        platform = self.platform
        platform.token_requests += 1
        form = parse_qs(self.request.body.decode())
        if (error := platform.checked_assertion(form)) is not None:
            self.answer(400, {"error": error})
            return
        value = f"token-{platform.token_requests}-{hashlib.sha256(platform.url.encode()).hexdigest()}"
        platform.tokens[value] = (time.time() + platform.lives, frozenset(form["scope"][0].split()))
        self.answer(200, {"access_token": value, "token_type": "bearer", "expires_in": platform.lives})


class LineItems(Handler):
    def get(self) -> None:
        assert self.get_argument("type_id") == "1"
        if not self.accepts("application/vnd.ims.lis.v2.lineitemcontainer+json"):
            return
        found = [self.platform.columns[key] | {"id": self.platform.column_url(key)} for key in self.platform.columns]
        filters = {"resource_id": "resourceId", "tag": "tag", "resource_link_id": "resourceLinkId"}
        for name, member in filters.items():
            if self.platform.family != "sakai" and (value := self.get_argument(name, None)) is not None:
                found = [one for one in found if one.get(member) == value]
        self.answer(200, self.paged(found), "application/vnd.ims.lis.v2.lineitemcontainer+json")

    def post(self) -> None:
        body = json.loads(self.request.body)
        if not self.valid(body):
            self.answer(400, {"error": "not valid"})
            return
        key = max(self.platform.columns, default=0) + 1
        self.platform.columns[key] = body
        self.answer(201, body | {"id": self.platform.column_url(key)}, "application/vnd.ims.lis.v2.lineitem+json")

    def valid(self, body: dict[str, Any]) -> bool:
        if self.request.headers["Content-Type"] != "application/vnd.ims.lis.v2.lineitem+json" or not body.get("label"):
            return False
        if self.platform.family == "openedx":
            whole = isinstance(body["scoreMaximum"], int)
            return whole and bool(body.get("resourceId") or body.get("resourceLinkId"))
        return body["scoreMaximum"] > 0


class LineItem(LineItems):
    def get(self, key: str) -> None:  # type: ignore[override]
        self.answer(200, self.platform.columns[int(key)] | {"id": self.platform.column_url(int(key))})

    def put(self, key: str) -> None:
        body = json.loads(self.request.body)
        if int(key) not in self.platform.columns or not self.valid(body):
            self.answer(404 if int(key) not in self.platform.columns else 400, {"error": "no"})
            return
        body.pop("id", None)
        self.platform.columns[int(key)] = body
        self.answer(200, body | {"id": self.platform.column_url(int(key))})

    def delete(self, key: str) -> None:
        self.answer(204 if self.platform.columns.pop(int(key), None) else 404)


class Scores(Handler):
    def post(self, key: str) -> None:
        platform = self.platform
        if self.get_argument("type_id", "") != "1" or int(key) not in platform.columns:
            self.answer(404, {"error": "no such line item"})
            return
        if self.request.headers["Content-Type"] != "application/vnd.ims.lis.v1.score+json":
            self.answer(415)
            return
        score = json.loads(self.request.body)
        status = platform.take_score(int(key), score)
        if self.fault == "duplicate":
            platform.take_score(int(key), score)
        self.answer(status, None if status < 300 else {"error": {"message": "not gradable"}})


class Results(Handler):
    def get(self, key: str) -> None:
        if not self.accepts("application/vnd.ims.lis.v2.resultcontainer+json"):
            return
        user = self.get_argument("user_id", None)
        found = [
            {name: value for name, value in result.items() if value is not None and name != "timestamp"}
            for (column, _), result in self.platform.results.items()
            if column == int(key) and user in {None, result["userId"]}
        ]
        self.answer(200, self.paged(found))


class Members(Handler):
    def get(self) -> None:
        platform = self.platform
        assert self.get_argument("a") == "b"
        if not self.accepts("application/vnd.ims.lti-nrps.v2.membershipcontainer+json"):
            return
        if len(platform.members) > platform.most_members:
            self.answer(403, {"error": "above_response_limit"})
            return
        found = self.paged(platform.members)
        role = self.get_argument("role", None)
        found = [one for one in found if role is None or role in one["roles"]]
        if platform.family == "canvas":
            self.add_header("Link", f'<{platform.url}/members?since=9&a=b>; rel="differences"')
        if self.get_argument("rlid", None) != "link-7":
            found = [
                {k: v for k, v in one.items() if k != "message"} if isinstance(one, dict) else one for one in found
            ]
        container: dict[str, Any] = {"id": f"{platform.url}/members", "members": found}
        if platform.context is not None:
            container["context"] = {"id": platform.context}
        self.answer(200, container)


class Outcomes(Handler):
    def post(self) -> None:
        body = self.request.body
        said = self._unsigned(body)
        root = ElementTree.fromstring(body)
        action = next(
            element.tag.rpartition("}")[2] for element in root.iter() if element.tag.endswith("ResultRequest")
        )
        sourcedid = root.findtext(f".//{{{NAMESPACE}}}sourcedId") or ""
        if said is None:
            said, value = self._do(action.removesuffix("Request"), sourcedid, root)
            if self.fault == "duplicate":
                self._do(action.removesuffix("Request"), sourcedid, root)
        else:
            value = None
        self.answer(200, self._envelope(said, action, value), "application/xml")

    def _do(self, action: str, sourcedid: str, root: Any) -> tuple[str, str | None]:
        platform = self.platform
        text = root.findtext(f".//{{{NAMESPACE}}}textString")
        if platform.family == "openedx" and text is None:
            return "Invalid request: score is missing", None
        if sourcedid not in platform.sourcedids:
            return "SourcedId hash not valid", None
        if action == "readResult":
            return "", platform.outcomes.get(sourcedid, "")
        if action == "deleteResult":
            platform.outcomes.pop(sourcedid, None)
            return "", None
        try:
            if not 0 <= float(text or "") <= 1:
                return "Score not between 0.0 and 1.0", None
        except ValueError:
            return "Score must be numeric", None
        platform.outcomes[sourcedid] = text or ""
        platform.outcome_log.append((sourcedid, text or ""))
        return "", None

    def _unsigned(self, body: bytes) -> str | None:
        given = dict(re.findall(r'(\w+)="([^"]*)"', self.request.headers["Authorization"]))
        given = {name: unquote(value) for name, value in given.items()}
        client: Any = Client(
            KEY, client_secret=SECRET, signature_method=SIGNATURE_HMAC_SHA1, signature_type=SIGNATURE_TYPE_AUTH_HEADER,
            timestamp=given["oauth_timestamp"], nonce=given["oauth_nonce"],
        )  # fmt: skip
        url = f"{self.platform.url}{self.request.uri}"
        _, theirs, _ = client.sign(url, "POST", body.decode(), {"Content-Type": "application/xml"})
        expected = {n: unquote(v) for n, v in re.findall(r'(\w+)="([^"]*)"', theirs["Authorization"])}
        digest = base64.b64encode(hashlib.sha1(body).digest()).decode()
        if expected != given or given["oauth_body_hash"] != digest or given["oauth_nonce"] in self.platform.seen:
            return "Message signature not valid"
        self.platform.seen.add(given["oauth_nonce"])
        return None

    @staticmethod
    def _envelope(said: str, action: str, value: str | None) -> str:
        result = (
            "" if value is None else f"<result><resultScore><textString>{value}</textString></resultScore></result>"
        )
        name = action.replace("Request", "Response")
        return (
            f'<?xml version="1.0" encoding="UTF-8"?><imsx_POXEnvelopeResponse xmlns="{NAMESPACE}"><imsx_POXHeader>'
            "<imsx_POXResponseHeaderInfo><imsx_version>V1.0</imsx_version><imsx_statusInfo>"
            f"<imsx_codeMajor>{'failure' if said else 'success'}</imsx_codeMajor><imsx_severity>status</imsx_severity>"
            f"<imsx_description>{said}</imsx_description></imsx_statusInfo></imsx_POXResponseHeaderInfo>"
            f"</imsx_POXHeader><imsx_POXBody><{name}>{result}</{name}></imsx_POXBody></imsx_POXEnvelopeResponse>"
        )


def application(platform: FakePlatform) -> Application:
    def service(kind: str, **needs: str) -> dict[str, Any]:
        return {"platform": platform, "kind": kind, **needs}

    return Application(
        [
            ("/token", Token, service("token")),
            ("/lineitems", LineItems, service("lineitems", GET=LINE_ITEM, POST=LINE_ITEM)),
            ("/lineitem/([0-9]+)", LineItem, service("lineitem", PUT=LINE_ITEM, DELETE=LINE_ITEM)),
            ("/lineitem/([0-9]+)/scores", Scores, service("scores", POST=SCORE)),
            ("/lineitem/([0-9]+)/results", Results, service("results", GET=RESULT_READ)),
            ("/members", Members, service("members", GET=ROSTER_READ)),
            ("/outcomes", Outcomes, service("outcomes")),
        ],
        log_function=lambda _: None,
    )


@asynccontextmanager
async def fake_platform(family: str = "moodle", **how: Any) -> AsyncIterator[FakePlatform]:
    """A running platform in this event loop."""
    platform = FakePlatform(family, **how)
    sockets = bind_sockets(0, "127.0.0.1")
    platform.port = sockets[0].getsockname()[1]
    server = HTTPServer(application(platform))
    server.add_sockets(sockets)
    try:
        yield platform
    finally:
        server.stop()


@dataclass
class Tool:
    """The code under test, put together as a hub does it."""

    http: ServiceHttp
    tokens: AccessTokens
    platforms: Platforms
    books: Gradebooks
    outcomes: BasicOutcomes
    rosters: Rosters
    deliver: Delivery


@asynccontextmanager
async def tool(
    *platforms: FakePlatform,
    clock: Callable[[], float] = time.time,
    timeout: float = 2.0,
    secret: str = SECRET,
    key: Callable[[Registration], ToolKey] = lambda _: tool_key(),
    **how: Any,
) -> AsyncIterator[Tool]:
    """The services of a hub that knows these platforms."""
    known = {platform.registration.registration: platform.registration for platform in platforms}
    http = ServiceHttp(frozenset({"127.0.0.1"}), timeout=timeout)
    tokens = AccessTokens(http, key, clock=clock)
    asked = Platforms(http, tokens, known.get, clock=clock)
    books = Gradebooks(asked)
    outcomes = BasicOutcomes(http, {KEY: Consumer(KEY, (secret,))}.get, clock=clock)
    try:
        yield Tool(http, tokens, asked, books, outcomes, Rosters(asked), Delivery(books, outcomes, **how))
    finally:
        http.close()
