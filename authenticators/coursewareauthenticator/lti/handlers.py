"""HTTP around `desk`: launches of LTI 1.1 and 1.3, choosing content, keys.

Runs in: hub.

A platform often shows a tool in a frame, where browsers keep cookies from it. So nobody is logged in inside a frame:
the page there has one button, which goes on in a window of its own, and works without scripts. Pages below `hub/lti/`
act for nobody by the hub's cookies; what they need is signed by the platform or sealed by us (`tickets`), which is why
they need no XSRF token and may be framed by the registered platforms.

    1.1  launch ──► enter
    1.3  login ──► platform ──► callback ──► enter
         in a frame: login ──► login, with the cookie ──► platform ...
                                  without ──► button ──► login in a window of its own ...
    enter: logged in and on to the page;  in a frame: button ──► open, in a window of its own ──► logged in
           somebody else may be signed in: open, which asks whether to go on as the other
    choosing content: callback ──► picker ──► choose ──► platform
"""

from __future__ import annotations

import asyncio
import secrets
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qsl

from jupyterhub.handlers.base import BaseHandler
from jupyterhub.handlers.login import LogoutHandler
from tornado.web import HTTPError, stream_request_body

from coursewareauthenticator import linking
from coursewareauthenticator.base import address_of
from coursewareauthenticator.login import ARRIVAL, LAUNCH, SOMEBODY, RefusedError
from coursewareauthenticator.login import Launch as LoginByLaunch
from coursewareauthenticator.lti import deep_linking, lti11, tickets
from coursewareauthenticator.lti.desk import Admission, Desk
from coursewareauthenticator.lti.launch import (
    LARGEST_BODY,
    Launch,
    LaunchRefused,
    Message,
    Once,
    check_form,
    check_size,
    return_address,
)
from coursewareauthenticator.lti.login import LIFETIME, Parameters, Pending, read_callback
from coursewareauthenticator.lti.target import Target
from coursewarehub.i18n import LANGUAGE_COOKIE, N_, choose, translations
from coursewarehub.model.access import Reason
from coursewarehub.wire.audit import launch_refused

VIA_SITE: Final = "site"
"""What `via` says in the query of a login that the site has sent on: the platform knows the site's addresses."""
_BROWSER: Final = "courseware-lti-"
_LEAVE: Final = "courseware-leave"
_AGAIN: Final = "courseware_again"
_INITIATION: Final = (
    "iss",
    "login_hint",
    "target_link_uri",
    "client_id",
    "lti_message_hint",
    "lti_deployment_id",
    "lti_storage_target",
)
_IN_A_FRAME: Final = frozenset({"iframe", "frame", "object", "embed"})


@stream_request_body
class LtiPage(BaseHandler):
    """A page below `hub/lti/`: reads its own body, at most 64 KB of it, and says every refusal in one sentence."""

    desk: Desk
    asked_once = True
    """Of the address: the language switch cannot ask for it again."""

    async def prepare(self) -> None:
        """As everywhere in the hub; the body is collected beside it."""
        self._read = bytearray()
        self.script_nonce = secrets.token_urlsafe(16)
        await super().prepare()

    def data_received(self, chunk: bytes) -> None:
        """Keep as much of the body as is looked at."""
        if len(self._read) <= LARGEST_BODY:
            self._read += chunk

    def check_xsrf_cookie(self) -> None:
        """Nothing here is done for whoever the browser's cookies say; what counts is signed or sealed."""

    @property
    def xsrf_token(self) -> bytes:
        """None: a form from another site comes without cookies, and a new token would spoil other windows'."""
        return b""

    @property
    def content_security_policy(self) -> str:
        """Framed by registered platforms only; one script of ours, and nothing from elsewhere."""
        ancestors = " ".join(sorted(self.desk.setup.platforms.origins))
        return (
            f"default-src 'none'; style-src 'self'; img-src 'self'; font-src 'self'; base-uri 'none'; "
            f"frame-ancestors 'self' {ancestors}"
        )

    def _allow_script(self) -> None:
        policy = f"{self.content_security_policy}; script-src 'nonce-{self.script_nonce}'"
        self.set_header("Content-Security-Policy", policy)

    def set_default_headers(self) -> None:
        """As everywhere in the hub; addresses and pages of launches are of nobody else's concern."""
        super().set_default_headers()
        self.set_header("Referrer-Policy", "no-referrer")
        self.set_header("Cache-Control", "no-store")

    # -- the request -------------------------------------------------------------------------------------------

    @property
    def public(self) -> str:
        """The site's public address."""
        return self.desk.public(self.request.protocol, self.request.host)

    @property
    def framed(self) -> bool:
        """Whether the browser says that this is shown inside another page."""
        return self.request.headers.get("Sec-Fetch-Dest", "") in _IN_A_FRAME

    @property
    def may_be_framed(self) -> bool:
        """Whether that cannot be known: a browser that does not say, over plain http or an old one."""
        unsaid = "Sec-Fetch-Dest" not in self.request.headers
        return unsaid and "text/html" in self.request.headers.get("Accept", "")

    def form(self) -> Parameters:
        """The form that was sent, or the query of a GET. LaunchRefused 413, 415."""
        check_size(len(self._read) + len(self.request.query))
        if self.request.method != "POST":
            return _parameters(self.request.query.encode("latin-1", "replace"))
        check_form(self.request.headers.get("Content-Type", ""))
        return _parameters(bytes(self._read))

    # -- the answer --------------------------------------------------------------------------------------------

    async def answer(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do the work of a request; what is refused becomes a page with the sentence and one button."""
        try:
            await work()
        except LaunchRefused as refusal:
            await self.refuse(refusal)

    async def refuse(self, refusal: LaunchRefused, launch: Launch | None = None) -> None:
        """Say what is wrong, with the way back."""
        self.log.warning("Launch refused (%s): %s", refusal.values["field"], refusal.sentence)
        said = defaultdict(lambda: "…", field=refusal.values["field"])  # no words of the platform's own
        self._tell_refused(refusal.template % said)
        await self._refused(refusal.status, refusal, launch)

    def _tell_refused(self, reason: str, method: str = "lti", person: str = "") -> None:
        self.authenticator.record(launch_refused(person, method=method, reason=reason, address=address_of(self)))

    async def _refused(self, status: int, sentence: Any, launch: Launch | None = None) -> None:
        self.set_status(status)
        if status == HTTPStatus.METHOD_NOT_ALLOWED:
            self.set_header("Allow", "POST")
        await self.page(sentence=sentence, back=self._way_back(sentence, launch), refused=True)

    def _way_back(self, sentence: Any, launch: Launch | None) -> str | None:
        """The platform's page, told what is wrong: in the person's language, and for its administrators in English."""
        if launch is None:
            return None
        wanted = self.request.headers.get("Accept-Language")
        gettext = translations(choose(self.get_cookie(LANGUAGE_COOKIE), wanted, launch.locale or "")).gettext
        if not isinstance(sentence, LaunchRefused):
            return return_address(launch.return_url, error=gettext(str(sentence)), log=str(sentence))
        said = sentence.translated(gettext)
        return return_address(launch.return_url, error=said, log=f"{sentence.values['field']}: {sentence.sentence}")

    async def page(self, **values: Any) -> None:
        """The page of launches, with what `lti.html` describes."""
        if values.get("form"):
            self._allow_script()
        self.finish(await self.render_template("lti.html", nonce=self.script_nonce, **values))

    # -- what launches of all kinds end with -------------------------------------------------------------------

    async def take_in(self, launch: Launch) -> None:
        """A verified launch: the notebook, a button that leads to it, or the page for choosing content."""
        try:
            admission = await self.desk.admit(launch)
            if admission.choosing is not None:
                await self._offer(admission, admission.choosing)
            else:
                await self._enter(admission)
        except LaunchRefused as refusal:
            await self.refuse(refusal, launch)
        except HTTPError as error:
            message = str(error.log_message)
            self.log.warning("Launch refused: %s", message)
            await self._refused(error.status_code, message, launch)

    async def _enter(self, admission: Admission) -> None:
        try:
            name, verdict = await self.authenticator.enter(admission.arrival)
        except RefusedError as error:
            self._tell_refused(str(error.log_message), admission.arrival.identity.registration, error.name)
            raise
        role = str(verdict.role)
        target = self.desk.target(admission, self.public, name)
        await self.desk.remember(admission, name, role)
        self.log.info("Launch by %s: %s as %s", admission.platform.name, name, role)
        self._check_image(name, target)
        in_frame = self.framed or self.may_be_framed
        if in_frame or self._another_may_be_here(name):
            fields = [name, target.path, target.logout]
            ticket = self._ticket(tickets.ENTER, fields)
            await self.page(form=_Form("open", {"launch": ticket}, new_window=in_frame), title=_title(admission))
        else:
            await self._go(admission.arrival, target)

    async def _go(self, arrival: Any, target: Target) -> None:
        user = await self.login_user({ARRIVAL: arrival, LAUNCH: LoginByLaunch(target.path)})
        if user is None:  # what JupyterHub itself was told, such as names that are blocked
            raise HTTPError(403, str(Reason.NOT_A_MEMBER))
        if target.logout is not None:
            self._set_cookie(_LEAVE, target.logout, encrypted=True, path=self.hub.base_url)
        else:
            self.clear_cookie(_LEAVE, path=self.hub.base_url)
        self.redirect(target.path, status=303)

    def _another_may_be_here(self, name: str) -> bool:
        """Whether somebody else is signed in in this browser, or may be: other sites' forms lack the hub's cookie."""
        user = self.current_user
        return user.name != name if user is not None else self.get_cookie(SOMEBODY) is not None

    def _check_image(self, name: str, target: Target) -> None:
        """Raise LaunchRefused 409 when the server of `name` runs with another image than the link asks for."""
        user = self.find_user(name)
        spawner = user.spawners.get("") if user is not None else None
        if target.image is None or spawner is None or not spawner.active:
            return
        running = str(spawner.user_options.get("image") or self.desk.setup.images[0])
        if running != target.image:
            raise LaunchRefused(
                409,
                "course_image",
                N_(
                    "Your server runs with %(running)s, and this link asks for %(wanted)s: stop it on the page of the "
                    "course, then open the link again."
                ),
                running=running,
                wanted=target.image,
            )

    def _ticket(self, purpose: str, fields: Sequence[Any]) -> str:
        setup = self.desk.setup
        return tickets.seal(purpose, setup.course, fields, setup.seal, self.desk.now())

    def _opened(self, purpose: str, field: str = "launch") -> tickets.Ticket:
        setup = self.desk.setup
        ticket = _one(self.form(), field)
        return tickets.unseal(purpose, setup.course, ticket, setup.seal, self.desk.now())

    # -- choosing content --------------------------------------------------------------------------------------

    async def _offer(self, admission: Admission, request: deep_linking.Request) -> None:
        """The page on which somebody who teaches chooses; needs no login, so it works in a frame."""
        launch = admission.launch
        verdict = self.authenticator.decide(admission.arrival.username, admission.arrival)
        if not verdict.allowed:
            raise HTTPError(403, str(verdict.reason))
        fields = [
            launch.registration,
            launch.deployment,
            request.return_url,
            request.multiple,
            sorted(request.types),
            request.line_items,
            request.data,
        ]
        notebooks = await asyncio.to_thread(self.desk.setup.notebooks)
        await self.page(
            picker={
                "ticket": self._ticket(tickets.CHOOSE, fields),
                "notebooks": notebooks,
                "multiple": request.most > 1,
                "some": request.most > 0,
            }
        )


class _Form:
    """A form with one button, which a script presses; for a `new_window` not when the page is in a frame."""

    def __init__(self, action: str, fields: Mapping[str, str], *, new_window: bool = False) -> None:
        self.action = action
        self.fields = fields
        self.new_window = new_window


class LaunchHandler(LtiPage):
    """`hub/lti/launch`: a form of LTI 1.1. Some platforms send the end of a login of LTI 1.3 here as well."""

    async def get(self) -> None:
        """Somebody who typed the address, or a platform that sends launches by GET."""
        await self.answer(self._launch)

    async def post(self) -> None:
        """A launch."""
        is_login = b"id_token=" in self._read or b"&error=" in self._read
        if is_login and b"oauth_signature=" not in self._read:
            await self.answer(lambda: end_login(self))
        else:
            await self.answer(self._launch)

    async def _launch(self) -> None:
        request = lti11.Request(
            method=str(self.request.method),
            url="",
            query=self.request.query.encode("latin-1", "replace"),
            body=bytes(self._read),
            content_type=self.request.headers.get("Content-Type", ""),
        )
        await self.take_in(self.desk.verify_form(request, self.public))


class LoginHandler(LtiPage):
    """`hub/lti/login`: a platform wants to log somebody in (LTI 1.3)."""

    async def get(self) -> None:
        """By a redirect."""
        await self.answer(self._begin)

    async def post(self) -> None:
        """By a form."""
        await self.answer(self._begin)

    async def _begin(self) -> None:
        parameters = self.form()
        via_site = self.get_query_argument("via", "") == VIA_SITE
        browser, cookie = _browser_of(self) or (secrets.token_urlsafe(24), f"{_BROWSER}{secrets.token_hex(4)}")
        login = self.desk.begin(parameters, self.public, browser, via_site=via_site)
        asked = self.get_query_argument(_AGAIN, "") or next(iter(parameters.get(_AGAIN, ())), "")
        if self.framed and not asked:
            # Does a cookie come back in this frame? The same request once more says it.
            _keep_browser(self, browser, cookie)
            query = "&".join(part for part in (self.request.query, f"{_AGAIN}=frame") if part)
            self.redirect(f"{self.request.path}?{query}", status=307)
        elif (self.framed and _browser_of(self) is None) or (self.may_be_framed and not asked):
            # The login has to begin and end where cookies are kept.
            fields = {name: parameters[name][0] for name in _INITIATION if parameters.get(name)}
            action = f"login?via={VIA_SITE}" if via_site else "login"
            await self.page(form=_Form(action, fields | {_AGAIN: "window"}, new_window=True))
        else:
            _keep_browser(self, browser, cookie)
            self.redirect(login.url)


class CallbackHandler(LtiPage):
    """`hub/lti/callback`: the end of a login of LTI 1.3."""

    async def get(self) -> None:
        """Somebody who typed the address."""
        await self.answer(self._only_post)

    async def post(self) -> None:
        """The platform's answer."""
        await self.answer(lambda: end_login(self))

    async def _only_post(self) -> None:
        raise LaunchRefused(
            405,
            "method",
            N_("A launch is a form sent by POST, not %(method)s: open the link in your course again."),
            method=self.request.method,
        )


async def end_login(page: LtiPage) -> None:
    """Check the platform's answer and take the launch in. LaunchRefused."""
    parameters = page.form()
    callback = read_callback(parameters)
    pending = page.desk.pending(callback)
    if not _is_same_browser(page, pending):
        if _AGAIN in parameters:
            pending.check_browser(None)
        # A form from another site comes without some cookies; the same form from our own page has them.
        fields = {"state": callback.state, "id_token": callback.id_token, _AGAIN: "1"}
        await page.page(form=_Form("callback", fields))
        return
    await page.take_in(await page.desk.verify_token(callback, pending))


class OpenHandler(LtiPage):
    """`hub/lti/open`: the button of a page in a frame was pressed."""

    async def get(self) -> None:
        """Somebody who came back to the address."""
        self.redirect(self.base_url)

    async def post(self) -> None:
        """Log in, once; on to the page."""
        await self.answer(self._open)

    async def _open(self) -> None:
        ticket = self._opened(tickets.ENTER)
        name, path, logout = ticket.fields
        user = self.current_user
        if user is not None and user.name == name:
            self.redirect(path, status=303)
            return
        if self.framed:
            await self.page(form=_Form("open", {"launch": _one(self.form(), "launch")}, new_window=True))
            return
        await self.authenticator.prepare()
        arrival = self.authenticator.identities.last_arrival(name)
        if user is not None and arrival is not None and linking.wanted(self) == arrival.identity.registration:
            await self.desk.use(ticket.once)
            linking.take(self, arrival)
            return
        if user is not None and not self._wants_to_leave(user.name, name):
            await self._ask_who(user.name, name)
            return
        await self.desk.use(ticket.once)
        if user is not None:
            # The old login ends with the tokens that this browser has by it.
            self.clear_login_cookie()
            self.set_session_cookie()
        try:
            if arrival is None:
                raise HTTPError(403, str(Reason.NOT_A_MEMBER))
            await self._go(arrival, Target(path, logout=logout))
        except HTTPError as error:
            await self._refused(error.status_code, str(error.log_message))

    def _wants_to_leave(self, here: str, name: str) -> bool:
        """Whether the button of `_ask_who` was pressed, by whoever is signed in and on no page of somebody else's."""
        if "leave" not in self.form():
            return False
        return list(self._opened(tickets.LEAVE, "leave").fields) == [here, name]

    async def _ask_who(self, here: str, name: str) -> None:
        """The page that says who is signed in and for whom the link was opened, with a button each way."""
        fields = {"launch": _one(self.form(), "launch"), "leave": self._ticket(tickets.LEAVE, [here, name])}
        await self.page(
            asking={"here": await self.desk.called(here), "new": await self.desk.called(name), "fields": fields}
        )


class ChooseHandler(LtiPage):
    """`hub/lti/choose`: somebody who teaches has chosen content; the answer goes to the platform, signed."""

    async def post(self) -> None:
        """Sign what was chosen; nothing chosen is an answer as well."""
        await self.answer(self._choose)

    async def _choose(self) -> None:
        ticket = self._opened(tickets.CHOOSE)
        registration, deployment, return_url, multiple, types, line_items, data = ticket.fields
        request = deep_linking.Request(
            return_url=return_url,
            types=frozenset(types),
            targets=(),
            multiple=multiple,
            line_items=line_items,
            auto_create=False,
            data=data,
        )
        launch = Launch(
            version="1.3",
            message=Message.DEEP_LINKING,
            registration=registration,
            subject=None,
            once=Once("", "", 0),
            deployment=deployment,
        )
        known = self.desk.setup.platforms.of(registration).known
        there = await asyncio.to_thread(self.desk.setup.notebooks)
        items = list(self._items(self.form().get("item", ()), frozenset(there)))
        claims = deep_linking.answer(launch, request, items, known, self.desk.now())  # type: ignore[arg-type]
        key = await self.desk.signing_key()
        await self.page(form=_Form(return_url, {"JWT": await asyncio.to_thread(key.sign, claims)}))

    def _items(self, chosen: Iterable[str], there: frozenset[str]) -> Iterable[deep_linking.Item]:
        """Links to what was chosen: a notebook by its path, the course for an empty one. LaunchRefused 400."""
        url = self.desk.addresses("launch", self.public)[0]
        course = self.settings["template_vars"]["course"]
        title = str(course["title"].text(course["language"]))
        for path in chosen:
            if not path:
                yield deep_linking.Item(url, title, new_window=True)
            elif path in there:
                name = path.rpartition("/")[2].removesuffix(".ipynb")
                yield deep_linking.Item(url, name, custom={"notebook": path}, new_window=True)
            else:
                raise LaunchRefused(
                    400, "item", N_("The course has no notebook %(path)s: choose one of the list."), path=path
                )


class KeySetHandler(LtiPage):
    """`hub/lti/jwks`: the tool's public keys."""

    async def get(self) -> None:
        """The JWKS document (RFC 7517 §5)."""
        await self.answer(self._document)

    async def _document(self) -> None:
        document = await self.desk.key_set()
        self.set_header("Content-Type", "application/json")
        self.set_header("Cache-Control", "public, max-age=3600")
        self.set_header("Access-Control-Allow-Origin", "*")
        self.finish(document)


class LeaveHandler(LogoutHandler):
    """Logging out leads to where the link of the last launch said (`logout-redirect-url`), if it said so."""

    async def render_logout_page(self) -> None:
        """On to that page, or the usual one."""
        leave = (self.get_secure_cookie(_LEAVE) or b"").decode("utf-8", "replace")
        self.clear_cookie(_LEAVE, path=self.hub.base_url)
        self.clear_cookie(SOMEBODY, path=self.hub.base_url)
        if leave:
            self.redirect(leave)
        else:
            await super().render_logout_page()


def handlers_of(desk: Desk) -> list[tuple[str, type[Any]]]:
    """Paths below the hub's, and handlers."""
    pages = {
        "launch": LaunchHandler,
        "login": LoginHandler,
        "callback": CallbackHandler,
        "open": OpenHandler,
        "choose": ChooseHandler,
        "jwks": KeySetHandler,
    }
    found: list[tuple[str, type[Any]]] = [
        (f"/lti/{name}", type(kind.__name__, (kind,), {"desk": desk})) for name, kind in pages.items()
    ]
    return [*found, ("/logout", LeaveHandler)]


def _parameters(encoded: bytes) -> Parameters:
    """Names with all their values; what is not UTF-8 is refused where it is read."""
    text = encoded.decode("utf-8", "surrogateescape")
    try:
        pairs = parse_qsl(text, keep_blank_values=True, errors="surrogateescape", max_num_fields=1000)
    except ValueError:
        raise LaunchRefused(
            413, "body", N_("The launch has more than 1000 parameters: remove custom parameters.")
        ) from None
    found: dict[str, list[str]] = {}
    for name, value in pairs:
        found.setdefault(name, []).append(value)
    return found


def _one(parameters: Parameters, name: str) -> str:
    values = parameters.get(name, ())
    if len(values) != 1:
        raise LaunchRefused(
            400, name, N_("The request has no `%(field)s`: open the link in your course, or have it set up anew.")
        )
    return values[0]


def _title(admission: Admission) -> str | None:
    link = admission.launch.resource_link
    return link.title if link is not None else None


# --- the browser that begins a login ------------------------------------------------------------


def _browsers(page: LtiPage) -> dict[str, str]:
    """Random values that this browser keeps, by cookie; two logins that begin at the same moment make two."""
    return {
        name: morsel.value
        for name, morsel in page.cookies.items()
        if name.startswith(_BROWSER) and 20 <= len(morsel.value) <= 64
    }


def _browser_of(page: LtiPage) -> tuple[str, str] | None:
    """A value that is there already, and the name of its cookie."""
    return next(((value, name) for name, value in _browsers(page).items()), None)


def _keep_browser(page: LtiPage, value: str, name: str) -> None:
    """Set the cookie: for all courses, since a login may end in another's hub, and for forms from other sites."""
    secure = page.public.startswith("https:")
    options: dict[str, Any] = {"samesite": "None", "secure": True} if secure else {}
    page.set_cookie(name, value, path="/", httponly=True, max_age=LIFETIME, **options)


def _is_same_browser(page: LtiPage, pending: Pending) -> bool:
    for value in _browsers(page).values():
        try:
            pending.check_browser(value)
        except LaunchRefused:
            continue
        return True
    return False
