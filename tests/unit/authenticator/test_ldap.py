"""Login by a real slapd: who gets in, what a name may not do, how a directory that fails is told (A34, B21, F19)."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, TypeAdapter
from support.slapd import (
    BASE,
    GROUPS,
    PEOPLE,
    SEARCHER,
    SEARCHER_PASSWORD,
    UUID,
    Directory,
    person,
    running_directory,
)

from coursewareauthenticator.ldap import LdapMethod
from coursewareauthenticator.methods import (
    BROKEN_DIRECTORY,
    BUSY,
    SLOW_DIRECTORY,
    UNREACHABLE_DIRECTORY,
    UNTRUSTED_DIRECTORY,
    LoginFailedError,
)
from coursewarehub.model import Arrival, Identity
from coursewarehub.model.login import LdapProvider

pytestmark = pytest.mark.slow

MANY = 10_000


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Directory]:
    with running_directory(tmp_path_factory.mktemp("slapd") / "d") as running:
        yield running


def a_method(url: str, authority: Path | None = None, **settings: Any) -> LdapMethod:
    values: dict[str, Any] = {"method": "ldap", "server": url, **settings}
    if "user_dn" not in values and "search" not in values:
        values["user_dn"] = f"uid={{username}},{PEOPLE}"
    if authority is not None:
        values["ca"] = str(authority)
    if "bind_dn" in values:
        values["bind_password"] = "env:X"
    password = SecretStr(settings.get("secret", SEARCHER_PASSWORD)) if "bind_dn" in values else None
    values.pop("secret", None)
    return LdapMethod("ldap", TypeAdapter(LdapProvider).validate_python(values), Path("/"), password)


def check(method: LdapMethod, name: str, password: str | None = None) -> Arrival | None:
    return asyncio.run(method.check(name, f"{name}-password" if password is None else password))


def failure(method: LdapMethod, name: str = "sam") -> str:
    with pytest.raises(LoginFailedError) as error:
        check(method, name)
    return error.value.sentence


SEARCH = {"search": {"base": PEOPLE}, "bind_dn": SEARCHER}
ALL_GROUPS = {"groups": {"base": GROUPS}}


@pytest.mark.parametrize("way", [{}, SEARCH, {"search": {"base": PEOPLE, "only": "(sn=*)"}}])
@pytest.mark.parametrize("secure", [True, False])
def test_a34_right_password_by_template_and_by_search(directory: Directory, way: dict[str, Any], secure: bool) -> None:
    method = a_method(directory.secure_url if secure else directory.url, directory.authority, **way, **ALL_GROUPS)
    lab = f"cn=lab,{GROUPS}"
    found = check(method, "sam")
    assert found == Arrival(
        Identity("ldap", f"{UUID}02"), "sam", frozenset({"lab", lab, "round", f"cn=round,{GROUPS}"})
    )
    assert check(method, "SAM", "sam-password") == found, "one person, however the name is written"
    assert check(method, "sam", "wrong") is None
    assert check(method, "nobody") is None
    assert check(method, "eve") == Arrival(Identity("ldap", f"{UUID}03"), "eve")
    assert check(method, "renée") is not None


@pytest.mark.parametrize("way", [{}, SEARCH])
def test_a34_nested_groups_also_in_a_circle(directory: Directory, way: dict[str, Any]) -> None:
    nested = {"groups": {"base": GROUPS, "nested": True}}
    method = a_method(directory.url, directory.authority, **way, **nested)
    found = check(method, "sam")
    assert found is not None and {"lab", "python", "round", "circle"} <= found.groups and "staff" not in found.groups


INJECTIONS = [
    "*", "s*", "sam)(uid=*", "*)(uid=*))(|(uid=*", "sam)(|(password=*)", "sam\\2a", "sam*", "(sam)", "&", "|(uid=sam)",
    f"sam,{PEOPLE}", f"sam,{PEOPLE},{PEOPLE}", "sam+cn=sam", "sam;x", 'sam"', "sam<", "sam>", "sam=sam", "#73616d",
    "\\73am",
    "{username}", "{0}", "%s", "sam\\", "sam\\,ou=people",
]  # fmt: skip


@pytest.mark.parametrize("way", [{}, SEARCH])
@pytest.mark.parametrize("name", INJECTIONS)
def test_a34_injections_find_nobody(directory: Directory, way: dict[str, Any], name: str) -> None:
    assert check(a_method(directory.url, directory.authority, **way), name, "sam-password") is None


@pytest.mark.parametrize("way", [{}, SEARCH])
@pytest.mark.parametrize("password", ["", " ", "\0", "sam-password\0", "\0sam-password", "sam-password "])
def test_a34_empty_and_nul_passwords(directory: Directory, way: dict[str, Any], password: str) -> None:
    assert check(a_method(directory.url, directory.authority, **way), "sam", password) is None


@pytest.mark.parametrize("name", ["", " ", "a\0b", "sam\0", "a/b", "x" * 65, "\u200bsam"])
def test_a34_impossible_names(directory: Directory, name: str) -> None:
    assert check(a_method(directory.url, directory.authority), name, "sam-password") is None


def test_a34_a_referral_is_not_followed(directory: Directory) -> None:
    """The referral goes to a port where somebody waits for the password."""
    with socket.create_server(("127.0.0.1", 0)) as attacker:
        attacker.settimeout(0.5)
        ref = f"ldap://127.0.0.1:{attacker.getsockname()[1]}/ou=trap,{BASE}"
        base = f"ou=trap,{BASE}"
        directory.modify(
            f"dn: {base}\nchangetype: add\nobjectClass: referral\nobjectClass: extensibleObject\nou: trap\nref: {ref}\n"
        )
        assert check(a_method(directory.url, directory.authority, user_dn=f"uid={{username}},{base}"), "sam") is None
        assert check(a_method(directory.url, directory.authority, search={"base": base}), "sam") is None
        found = check(a_method(directory.url, directory.authority, search={"base": BASE}), "sam")
        assert found is not None, "referrals beside an entry are passed over"
        with pytest.raises(TimeoutError):
            attacker.accept()


def test_b21_entries_of_odd_shapes(directory: Directory) -> None:
    by_search = a_method(directory.url, directory.authority, **SEARCH)
    by_template = a_method(directory.url, directory.authority)
    assert check(by_search, "two") is None, "two names: nobody can say which"
    found = check(by_template, "two")
    assert found is not None and found.username == "two"
    binary = a_method(directory.url, directory.authority, subject="jpegPhoto")
    found = check(binary, "sam")
    assert found is not None and found.identity.subject == "hex:ffd8ffe00010"
    assert asyncio.run(binary.look_again(found)) == found
    assert failure(binary, "eve") == BROKEN_DIRECTORY, "no subject, no identity"
    by_dn = a_method(directory.url, directory.authority, subject="dn", **SEARCH)
    found = check(by_dn, "sam")
    assert found is not None and found.identity.subject == f"uid=sam,{PEOPLE}"
    assert asyncio.run(by_dn.look_again(found)) == found


def test_b21_ten_thousand_groups(tmp_path: Path) -> None:
    with running_directory(tmp_path / "d", groups=MANY) as many:
        for way in ({}, SEARCH):
            begin = time.monotonic()
            found = check(a_method(many.url, many.authority, **way, **ALL_GROUPS), "sam")
            assert time.monotonic() - begin < 8
            assert found is not None
            # Who is not the searching account gets what the directory's limits allow in pages: all of it here.
            assert {f"g{n}" for n in range(MANY)} <= found.groups


def test_looking_again_follows_groups_names_and_removal(directory: Directory) -> None:
    method = a_method(directory.url, directory.authority, **SEARCH, **ALL_GROUPS)
    directory.modify(person("kim", 40).replace(f",{PEOPLE}\n", f",{PEOPLE}\nchangetype: add\n", 1))
    before = check(method, "kim")
    assert before is not None and before.groups == frozenset()
    directory.modify(f"dn: cn=staff,{GROUPS}\nchangetype: modify\nadd: member\nmember: uid=kim,{PEOPLE}\n")
    again = asyncio.run(method.look_again(before))
    assert again is not None and "staff" in again.groups and again.identity == before.identity
    directory.modify(f"dn: uid=kim,{PEOPLE}\nchangetype: delete\n")
    assert asyncio.run(method.look_again(before)) is None
    alone = a_method(directory.url, directory.authority, **ALL_GROUPS)
    assert asyncio.run(alone.look_again(before)) == before, "nobody to ask as"


def test_a34_only_the_searching_account_reads_groups(tmp_path: Path) -> None:
    with running_directory(tmp_path / "d", groups_for="none") as shy:
        found = check(a_method(shy.url, shy.authority, **ALL_GROUPS), "sam")
        assert found is not None and found.groups == frozenset()
        found = check(a_method(shy.url, shy.authority, **ALL_GROUPS, **SEARCH), "sam")
        assert found is not None and "lab" in found.groups


# -- directories that fail ----------------------------------------------------------------------------------------


class Silent:
    """Accepts, says `answer` (an LDAP operation) to every message, or nothing; remembers what it was told."""

    def __init__(self, answer: bytes = b"") -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"ldap://127.0.0.1:{self._listening.getsockname()[1]}"
        self.secure_url = self.url.replace("ldap:", "ldaps:")
        self._answer = answer
        self.heard = b""
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection = self._listening.accept()[0]
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            while data := connection.recv(65536):
                self.heard += data
                if self._answer:
                    message_id = data[2 : 4 + data[3]]
                    body = message_id + self._answer
                    connection.sendall(bytes([0x30, len(body)]) + body)
        except OSError:
            pass

    def close(self) -> None:
        with contextlib.suppress(OSError):  # closed already
            self._listening.shutdown(socket.SHUT_RDWR)  # or the thread in `accept` would still take one
        self._listening.close()


@pytest.fixture
def silent() -> Iterator[Silent]:
    server = Silent()
    yield server
    server.close()


@pytest.mark.parametrize(("secure", "starttls"), [(True, True), (False, True), (False, False)])
def test_f19_silent_directory_fails_in_time_and_delays_nobody(silent: Silent, secure: bool, starttls: bool) -> None:
    method = a_method(silent.secure_url if secure else silent.url, starttls=starttls)

    async def many() -> tuple[list[Any], list[float]]:
        logins = [asyncio.create_task(method.check(f"s{n}", "x")) for n in range(40)]
        gaps, last = [], time.monotonic()
        while not all(login.done() for login in logins):
            await asyncio.sleep(0.005)
            gaps.append(time.monotonic() - last)
            last = time.monotonic()
        return await asyncio.gather(*logins, return_exceptions=True), gaps

    begin = time.monotonic()
    answers, gaps = asyncio.run(many())
    assert time.monotonic() - begin < 14, "also those whose thread must end"
    assert {str(answer) for answer in answers} == {SLOW_DIRECTORY}
    assert max(gaps) < 0.05 or sorted(gaps)[-3] < 0.05, sorted(gaps)[-5:]


def test_f19_one_login_by_a_silent_directory_ends_within_ten_seconds(silent: Silent) -> None:
    begin = time.monotonic()
    assert failure(a_method(silent.url, **SEARCH)) == SLOW_DIRECTORY
    assert time.monotonic() - begin < 10


def test_f19_too_many_at_once_are_told_so(silent: Silent) -> None:
    method = a_method(silent.url)

    async def many() -> list[Any]:
        logins = [asyncio.create_task(method.check(f"s{n}", "x")) for n in range(100)]
        return await asyncio.gather(*logins, return_exceptions=True)

    answers = [str(answer) for answer in asyncio.run(many())]
    assert answers.count(BUSY) == 36 and answers.count(SLOW_DIRECTORY) == 64


def test_f19_refused(silent: Silent) -> None:
    silent.close()
    for url in (silent.url, silent.secure_url):
        assert failure(a_method(url)) == UNREACHABLE_DIRECTORY
    assert failure(a_method("ldap://no.such.host.invalid")) == UNREACHABLE_DIRECTORY


def test_f19_expired_certificate(tmp_path: Path) -> None:
    with running_directory(tmp_path / "d", expired=True) as old:
        for url in (old.url, old.secure_url):
            assert failure(a_method(url, old.authority)) == UNTRUSTED_DIRECTORY


def test_a34_certificate_of_another_authority_or_host(directory: Directory) -> None:
    for url in (directory.url, directory.secure_url):
        assert failure(a_method(url)) == UNTRUSTED_DIRECTORY
        other = url.replace("localhost", "127.0.0.1")
        assert failure(a_method(other, directory.authority)) == UNTRUSTED_DIRECTORY


def test_a34_stripped_starttls_sends_no_password() -> None:
    """Somebody in between answers that the directory cannot encrypt (protocolError to the extended request)."""
    between = Silent(bytes.fromhex("78070a010204000400"))
    try:
        assert failure(a_method(between.url)) == UNTRUSTED_DIRECTORY
        assert b"1.3.6.1.4.1.1466.20037" in between.heard and b"sam" not in between.heard
    finally:
        between.close()


def test_a34_a_searching_account_that_is_refused_is_no_wrong_password(directory: Directory) -> None:
    method = a_method(directory.url, directory.authority, **SEARCH, secret="wrong")
    assert failure(method) == BROKEN_DIRECTORY
    assert "wrong" not in repr(method) and SEARCHER_PASSWORD not in repr(method)
