"""Login by a directory, on ldapauthenticator: its way from a name to a bind, in threads of our own and in time.

No other request waits for a directory, no referral is followed, and a password is only sent to a directory that is
who it claims to be.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic
from typing import Any, Final

import ldap3
from ldap3.core.exceptions import (
    LDAPBindError,
    LDAPCertificateError,
    LDAPCommunicationError,
    LDAPException,
    LDAPStartTLSError,
)
from ldap3.utils.conv import escape_bytes, escape_filter_chars
from ldapauthenticator.ldapauthenticator import LDAPAuthenticator, TlsStrategy
from pydantic import SecretStr

from coursewareauthenticator.methods import (
    BROKEN_DIRECTORY,
    BUSY,
    SLOW_DIRECTORY,
    UNREACHABLE_DIRECTORY,
    UNTRUSTED_DIRECTORY,
    LoginFailedError,
)
from coursewarehub.model.access import Arrival, Identity
from coursewarehub.model.login import LdapProvider
from coursewarehub.model.names import normalise_name, valid_name

CONNECT_SECONDS: Final = 3
ANSWER_SECONDS: Final = 4
SECONDS: Final = 8.0
"""Longest that a login takes, whatever the directory does."""

THREADS: Final = 8
MOST_WAITING: Final = 64
"""Logins at once; further ones are told to try again."""

MOST_GROUPS: Final = 20_000
DEEPEST: Final = 8
_PAGE: Final = 500
_BATCH: Final = 50
"""Groups that are asked about in one search for the groups they are in."""


_TROUBLE: Final = re.compile("busy|unavailable|other|operationsError|Required|LimitExceeded")
"""What a directory answers to a bind when that says nothing about the password."""


class DirectoryClient(LDAPAuthenticator):
    """ldapauthenticator with time-outs, verified certificates, no referrals, and groups by search."""

    def __init__(self, provider: LdapProvider, root: Path, bind_password: SecretStr | None) -> None:
        self.provider = provider
        self._secret = bind_password
        self._opened = threading.local()
        host, _, port = provider.server.partition("://")[2].rpartition(":")
        address = host if host and port.isdigit() else provider.server.partition("://")[2]
        secure = provider.server.startswith("ldaps:")
        plain = TlsStrategy.before_bind if provider.starttls else TlsStrategy.insecure
        search = provider.search
        more: dict[str, Any] = {"bind_dn_template": [provider.user_dn]} if provider.user_dn else {}
        if search is not None:
            more = {
                "lookup_dn": True,
                "user_search_base": search.base,
                "user_attribute": search.attribute,
                "lookup_dn_user_dn_attribute": search.attribute,
                "lookup_dn_search_filter": f"(&({{login_attr}}={{login}}){search.only or ''})",
                "lookup_dn_search_user": provider.bind_dn,
                "lookup_dn_search_password": bind_password.get_secret_value() if bind_password else None,
            }
        super().__init__(
            server_address=address.strip("[]"),
            **({"server_port": int(port)} if host and port.isdigit() else {}),
            tls_strategy=TlsStrategy.on_connect if secure else plain,
            tls_kwargs={
                "validate": ssl.CERT_REQUIRED,
                "ca_certs_file": str(root / provider.ca) if provider.ca else None,
                "sni": address.strip("[]"),
            },
            # What can be a name has been checked; ldapauthenticator escapes it.
            valid_username_regex=r"^.+$",
            use_lookup_dn_username=True,
            **more,
        )

    def get_connection(self, userdn: str | None, password: str | None) -> Any:
        """A bound connection, or None when name and password do not fit. ldap3's errors otherwise."""
        early = self.tls_strategy == TlsStrategy.before_bind
        server = ldap3.Server(
            self.server_address,
            port=self.server_port,
            use_ssl=self.tls_strategy == TlsStrategy.on_connect,
            tls=ldap3.Tls(**self.tls_kwargs),
            get_info=ldap3.NONE,
            connect_timeout=CONNECT_SECONDS,
        )
        try:
            connection = ldap3.Connection(
                server,
                user=userdn,
                password=password,
                auto_bind=ldap3.AUTO_BIND_TLS_BEFORE_BIND if early else ldap3.AUTO_BIND_NO_TLS,
                auto_referrals=False,
                read_only=True,
                receive_timeout=ANSWER_SECONDS,
                check_names=False,
            )
        except LDAPBindError as error:
            if (userdn is not None and userdn == self.provider.bind_dn) or _TROUBLE.search(str(error)):
                raise
            return None
        self._opened.connections = [*getattr(self._opened, "connections", []), connection]
        return connection

    def close(self) -> None:
        """End the connections that this thread has opened."""
        for connection in getattr(self._opened, "connections", []):
            with contextlib.suppress(LDAPException, OSError):
                connection.unbind()
        self._opened.connections = []

    def resolve_username(self, username_supplied_by_user: str) -> tuple[str | None, str | None]:
        """The name and distinguished name of the only entry that fits; the latter as a template without places."""
        name, dn = super().resolve_username(username_supplied_by_user)
        if not isinstance(name, str) or not isinstance(dn, str):
            return None, None
        return name, dn.replace("{", "{{").replace("}", "}}")

    def get_user_attributes(self, conn: Any, userdn: str) -> dict[str, Any]:
        """What `LdapMethod` needs of the person who has just proved who they are."""
        return self.about(self.searcher() if self.provider.bind_dn else conn, userdn)

    def searcher(self) -> Any:
        """A connection of the account that searches."""
        secret = self._secret.get_secret_value() if self._secret else None
        return self.get_connection(self.provider.bind_dn, secret)

    def about(self, conn: Any, dn: str) -> dict[str, Any]:
        """`dn`, `names`, `subject` and `groups` of an entry; empty when there is none."""
        wanted = [self.name_attribute, *([] if self.provider.subject == "dn" else [self.provider.subject])]
        conn.search(dn, "(objectClass=*)", search_scope=ldap3.BASE, attributes=wanted)
        found = next(_entries(conn.response), None)
        if found is None:
            return {}
        values = {key.lower(): value for key, value in found["raw_attributes"].items()}
        names = [_readable(value) for value in values.get(self.name_attribute.lower(), [])]
        subjects = values.get(self.provider.subject.lower(), [])
        subject = dn.lower() if self.provider.subject == "dn" else _readable(subjects[0]) if subjects else ""
        groups = self._groups(conn, found["dn"], names)
        return {"dn": found["dn"], "names": names, "subject": subject, "groups": groups}

    @property
    def name_attribute(self) -> str:
        """The attribute that holds what people type."""
        if self.provider.search is not None:
            return self.provider.search.attribute
        before = (self.provider.user_dn or "").partition("={username}")[0]
        return re.split(r"[,+]", before)[-1].strip() or "uid"

    def _groups(self, conn: Any, dn: str, names: Iterable[str]) -> frozenset[str]:
        """Names (by the provider's attribute) and distinguished names of the groups somebody is in."""
        groups = self.provider.groups
        if groups is None:
            return frozenset()
        begin = monotonic()
        asked = "".join(f"(memberUid={escape_filter_chars(name)})" for name in names)
        level = [_member(dn) + asked]
        found: dict[str, str] = {}
        for _ in range(DEEPEST if groups.nested else 1):
            fresh: dict[str, str] = {}
            for conditions in level:
                answers = self._search_groups(conn, f"(|{conditions})")
                fresh |= {group: name for group, name in answers if group not in found}
                if len(found) + len(fresh) >= MOST_GROUPS or monotonic() - begin > ANSWER_SECONDS:
                    break
            found |= fresh
            above = [_member(group) for group in fresh]
            level = ["".join(above[start : start + _BATCH]) for start in range(0, len(above), _BATCH)]
        return frozenset(found) | frozenset(name for name in found.values() if name)

    def _search_groups(self, conn: Any, condition: str) -> Iterator[tuple[str, str]]:
        groups = self.provider.groups
        assert groups is not None
        pages = conn.extend.standard.paged_search(
            groups.base, condition, attributes=[groups.attribute], paged_size=_PAGE, generator=True
        )
        for entry in _entries(pages):
            values = {key.lower(): value for key, value in entry["raw_attributes"].items()}
            yield entry["dn"], _readable((values.get(groups.attribute.lower()) or [b""])[0])


class LdapMethod:
    """The form, checked by a directory."""

    def __init__(self, name: str, provider: LdapProvider, root: Path, bind_password: SecretStr | None = None) -> None:
        self.name = name
        self._provider = provider
        self._client = DirectoryClient(provider, root, bind_password)
        self._pool: ThreadPoolExecutor | None = None
        self._waiting = 0

    def __repr__(self) -> str:
        return f"LdapMethod({self.name!r}, {self._provider.server!r})"

    def __deepcopy__(self, _: object) -> LdapMethod:
        """traitlets copies what is configured; there is one pool of threads."""
        return self

    async def check(self, username: str, password: str) -> Arrival | None:
        """Who that is by the directory; None when name and password do not fit. LoginFailedError."""
        try:
            name = valid_name(username)
        except ValueError:
            return None
        if not password.strip() or "\0" in password:
            return None
        found: Arrival | None = await self._in_thread(self._bind, name, password)
        return found

    async def look_again(self, arrival: Arrival) -> Arrival | None:
        """As the directory knows the person now, where an account may search; otherwise as before."""
        if self._provider.bind_dn is None or self._provider.search is None:
            return arrival
        found: Arrival | None = await self._in_thread(self._search, arrival)
        return found

    def _bind(self, username: str, password: str) -> Arrival | None:
        # A coroutine that waits for nothing: it ends in its first step.
        model = asyncio.run(self._client.authenticate(None, {"username": username, "password": password}))
        return None if model is None else self._arrival(model["auth_state"]["user_attributes"], username)

    def _search(self, arrival: Arrival) -> Arrival | None:
        search, subject = self._provider.search, arrival.identity.subject
        assert search is not None
        conn = self._client.searcher()
        dn: str | None = subject
        if self._provider.subject != "dn":
            value = (
                escape_bytes(bytes.fromhex(subject[4:])) if subject.startswith("hex:") else escape_filter_chars(subject)
            )
            conn.search(search.base, f"(&({self._provider.subject}={value}){search.only or ''})", attributes=[])
            dn = next((entry["dn"] for entry in _entries(conn.response)), None)
        about = self._client.about(conn, dn) if dn else {}
        return self._arrival(about, arrival.username) if about else None

    def _arrival(self, about: dict[str, Any], typed: str) -> Arrival:
        names = about.get("names") or []
        if not about.get("subject") or not names:
            missing = self._client.name_attribute if about.get("subject") else self._provider.subject
            raise LoginFailedError(BROKEN_DIRECTORY, f"the entry has no readable `{missing}`", 502)
        name = next((each for each in names if normalise_name(each) == normalise_name(typed)), names[0])
        return Arrival(Identity(self.name, str(about["subject"])[:512]), name, about["groups"])

    def _step(self, step: Any, *arguments: Any) -> Any:
        try:
            return step(*arguments)
        finally:
            self._client.close()

    async def _in_thread(self, step: Any, *arguments: Any) -> Any:
        """What a step gives, off the event loop and in time. LoginFailedError."""
        if self._waiting >= MOST_WAITING:
            raise LoginFailedError(BUSY, "too many logins wait for the directory", 503)
        if self._pool is None:
            self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix=f"ldap-{self.name}")
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            return await asyncio.wait_for(loop.run_in_executor(self._pool, self._step, step, *arguments), SECONDS)
        except TimeoutError:
            raise LoginFailedError(SLOW_DIRECTORY, "no answer in time", 503) from None
        except (LDAPException, OSError) as error:
            raise _explained(error) from None
        finally:
            self._waiting -= 1


def _explained(error: Exception) -> LoginFailedError:
    """Which of the sentences an error of ldap3 is; ldap3 tells most in its text only."""
    text = str(error).lower()
    detail = f"{type(error).__name__}: {str(error)[:200]}"
    if "timed out" in text or "temporarily unavailable" in text or "timeout" in text:
        return LoginFailedError(SLOW_DIRECTORY, detail, 503)
    if isinstance(error, LDAPStartTLSError | LDAPCertificateError) or "certificate" in text or "ssl" in text:
        return LoginFailedError(UNTRUSTED_DIRECTORY, detail, 502)
    if isinstance(error, LDAPCommunicationError | OSError):
        return LoginFailedError(UNREACHABLE_DIRECTORY, detail, 503)
    return LoginFailedError(BROKEN_DIRECTORY, detail, 502)


def _entries(response: Iterable[Any] | None) -> Iterator[Any]:
    """Entries of an answer, without the referrals to other directories."""
    return (entry for entry in response or () if entry.get("type") == "searchResEntry")


def _member(dn: str) -> str:
    value = escape_filter_chars(dn)
    return f"(member={value})(uniqueMember={value})"


def _readable(value: bytes) -> str:
    """A value as text; one that is none in hexadecimal."""
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError:
        return f"hex:{value.hex()}"
    return text if text.isprintable() else f"hex:{value.hex()}"
