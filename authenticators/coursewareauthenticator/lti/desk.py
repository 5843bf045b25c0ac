"""Where launches are taken in: everything between a request and the page that answers it.

Runs in: hub. `handlers` speaks HTTP around this; what is decided is decided by the pure modules; what blocks (the
database, files of keys) is done in threads.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs

from sqlalchemy import create_engine
from sqlalchemy.exc import SQLAlchemyError

from coursewareauthenticator.lti import deep_linking, lti11, lti13
from coursewareauthenticator.lti.jwks import PlatformKeys
from coursewareauthenticator.lti.keys import KeysUnusable, ToolKeys
from coursewareauthenticator.lti.launch import (
    LARGEST_BODY,
    BadSignature,
    Launch,
    LaunchRefused,
    Message,
    Once,
    is_web_address,
)
from coursewareauthenticator.lti.launches import LaunchStore, unanswered
from coursewareauthenticator.lti.login import Callback, Login, Parameters, Pending, begin_login, unseal
from coursewareauthenticator.lti.nonces import NonceStore
from coursewareauthenticator.lti.platforms import Platform, Platforms, arrival_of, check_context
from coursewareauthenticator.lti.target import Host, Target, resolve
from coursewareauthenticator.lti.tokens import KeySet
from coursewarehub.i18n import N_
from coursewarehub.model.access import STAFF, Arrival

SITE_PATH: Final = "/lti/"
"""Where the site takes launches for its courses."""
Notebooks = Callable[[], Sequence[str]]
_LONGEST_CALLED: Final = 80


@dataclass(frozen=True)
class Setup:
    """What a course's desk needs to know.

    `base` is the path of the course (`/courses/python/`), `public` the site's public address, empty where it is taken
    from each request. `seal` is the secret of the site that seals `state` and tickets, `keys_folder` where the tool's
    keys are, `database_url` the hub's. `images` are what links may ask for, the usual one first; without `choose_image`
    there is nothing to choose, and servers are as they are. `notebooks` lists the published ones, by their path in a
    learner's home folder.
    """

    course: str
    base: str
    public: str
    platforms: Platforms
    seal: bytes = field(repr=False)
    keys_folder: Path
    database_url: str = field(repr=False)
    images: tuple[str, ...] = ()
    choose_image: bool = False
    notebooks: Notebooks = tuple
    clock: Callable[[], float] = time.time


@dataclass(frozen=True)
class Admission:
    """A launch that may come in: who, and where to. `choosing` when content is to be chosen."""

    launch: Launch
    platform: Platform
    arrival: Arrival
    choosing: deep_linking.Request | None = None


class Desk:
    """Takes launches in for one course."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.keys = PlatformKeys(setup.platforms.unencrypted)
        self._lock = threading.Lock()
        self._stores: tuple[NonceStore, LaunchStore] | None = None

    def now(self) -> float:
        """Seconds since 1970."""
        return self.setup.clock()

    # -- addresses ---------------------------------------------------------------------------------------------

    def public(self, protocol: str, host: str) -> str:
        """The site's public address, without a slash at the end. LaunchRefused 400 when the request names none."""
        if self.setup.public:
            return self.setup.public.rstrip("/")
        scheme = "https" if protocol == "https" else "http"
        found = f"{scheme}://{host.lower().removesuffix({'http': ':80', 'https': ':443'}[scheme])}"
        if not is_web_address(found) or "/" in host:
            raise LaunchRefused(400, "Host", N_("The request names no host: set `edge.public_url` in site.yaml."))
        return found

    def addresses(self, name: str, public: str) -> tuple[str, str]:
        """The public addresses under which one of `launch`, `login`, `callback`, `jwks` is known: course's, site's."""
        return f"{public}{self.setup.base}hub/lti/{name}", f"{public}{SITE_PATH}{name}"

    # -- LTI 1.1 -----------------------------------------------------------------------------------------------

    def verify_form(self, request: lti11.Request, public: str) -> Launch:
        """What a signed form says, whichever of our addresses it was signed for. LaunchRefused."""
        form = parse_qs(request.body[:LARGEST_BODY].decode("utf-8", "replace"))
        key = form.get("oauth_consumer_key", [""])[0]
        refusal: LaunchRefused | None = None
        for url in self.addresses("launch", public):
            tried = lti11.Request(request.method, url, request.query, request.body, request.content_type)
            try:
                return lti11.verify(tried, self.setup.platforms.consumers, self.now(), self.setup.platforms.window(key))
            except BadSignature as bad:
                refusal = refusal or bad
        assert refusal is not None
        raise refusal

    # -- LTI 1.3 -----------------------------------------------------------------------------------------------

    def begin(self, parameters: Parameters, public: str, browser: str, *, via_site: bool) -> Login:
        """Where to send a browser that a platform wants to log in. LaunchRefused."""
        redirect_uri = self.addresses("callback", public)[via_site]
        setup = self.setup
        registrations = setup.platforms.registrations
        return begin_login(parameters, registrations, redirect_uri, setup.seal, browser, self.now(), setup.course)

    def pending(self, callback: Callback) -> Pending:
        """The login that is ending. LaunchRefused."""
        return unseal(callback.state, self.setup.seal, self.now())

    async def verify_token(self, callback: Callback, pending: Pending) -> Launch:
        """What a signed token says. LaunchRefused; keys that are not at hand are waited for, by this launch only."""
        platforms = self.setup.platforms
        platform = platforms.of_client(pending.issuer, pending.client_id)
        rules = lti13.Rules(self.now())

        def work(keys: KeySet) -> Launch:
            return lti13.verify(
                callback.id_token, pending, platforms.registrations, keys, rules, consumers=platform.former
            )

        return await self.keys.check(platform.known.jwks_url, work)  # type: ignore[union-attr]

    # -- both --------------------------------------------------------------------------------------------------

    async def admit(self, launch: Launch) -> Admission:
        """Use a verified launch up, connect its context, say who it is. LaunchRefused."""
        platform = self.setup.platforms.of(launch.registration)
        arrival = arrival_of(self.setup.platforms, launch)
        await self._blocking(self._use_and_connect, platform, launch, arrival.username)
        if launch.message is Message.SUBMISSION_REVIEW and platform.roles(launch) not in STAFF:
            raise LaunchRefused(403, "roles", N_("Only those who teach may look at the work of others."))
        choosing = None
        if launch.message is Message.DEEP_LINKING:
            choosing = deep_linking.read_request(launch, platform.login.roles.by_name())
        return Admission(launch, platform, arrival, choosing)

    def target(self, admission: Admission, public: str, user_name: str) -> Target:
        """Where somebody who has come in goes. LaunchRefused."""
        origins = admission.platform.provider.own_origins()
        host = Host(
            origins=frozenset({public}),
            base=self.setup.base,
            course=self.setup.course,
            images=frozenset(self.setup.images),
            choose_image=self.setup.choose_image,
            site_launch=f"{SITE_PATH}launch",
            logout_origins=origins,
        )
        return resolve(admission.launch, host, user_name)

    async def remember(self, admission: Admission, user_name: str, role: str) -> None:
        """Keep what grades and rosters will need. LaunchRefused 503."""
        await self._blocking(self._remember, admission.launch, admission.platform.name, user_name, role)

    async def called(self, user_name: str) -> str:
        """What the platform last called somebody, with the user name; the user name alone where it did not."""
        links = list(await self._blocking(lambda: self.open()[1].links(name=user_name)))
        said = next((link.person.name for link in links if link.person.name), None)
        return f"{said[:_LONGEST_CALLED]} ({user_name})" if said else user_name

    async def use(self, once: Once) -> None:
        """Use a nonce up. LaunchRefused."""
        await self._blocking(self._use, once)

    async def key_set(self) -> dict[str, Any]:
        """The tool's public keys. LaunchRefused 503."""
        document: dict[str, Any] = await self._signing(ToolKeys(self.setup.keys_folder).document)
        return document

    async def signing_key(self) -> Any:
        """The key to sign with now. LaunchRefused 503."""
        return await self._signing(ToolKeys(self.setup.keys_folder).signing)

    async def _signing(self, ask: Callable[[float], Any]) -> Any:
        try:
            return await asyncio.to_thread(ask, self.now())
        except (KeysUnusable, OSError) as error:
            raise LaunchRefused(
                503, "keys", N_("The keys of this site cannot be used (%(why)s): tell its operator."), why=error
            ) from error

    async def _blocking(self, work: Callable[..., Any], *values: Any) -> Any:
        try:
            return await asyncio.to_thread(work, *values)
        except SQLAlchemyError as error:
            raise unanswered() from error

    def open(self) -> tuple[NonceStore, LaunchStore]:
        """The tables, made when they are first needed. Blocks; SQLAlchemy's errors when the database is away."""
        with self._lock:
            if self._stores is None:
                engine = create_engine(self.setup.database_url, pool_pre_ping=True)
                stores = NonceStore(engine), LaunchStore(engine)
                for store in stores:
                    store.create()
                self._stores = stores
            return self._stores

    def _use(self, once: Once) -> None:
        self.open()[0].use(once, self.now())

    def _use_and_connect(self, platform: Platform, launch: Launch, name: str) -> None:
        nonces, store = self.open()
        nonces.use(launch.once, self.now())
        claimed = store.claimed(platform.registration) if platform.login.contexts is None else None
        if check_context(platform, launch, claimed):
            check_context(platform, launch, store.claim(launch, name))

    def _remember(self, launch: Launch, platform: str, name: str, role: str) -> None:
        self.open()[1].remember(launch, platform, name, role)
