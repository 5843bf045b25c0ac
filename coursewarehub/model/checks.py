"""Checks that reach beyond one file: other files, the environment, one setting against another."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from coursewarehub.model.content import Content
from coursewarehub.model.course import Course, CourseState
from coursewarehub.model.database import DATABASE_URL, is_database_url
from coursewarehub.model.login import DummyAuthentication, LdapProvider, ProviderAuthentication, provider_secrets
from coursewarehub.model.lti import Lti11Provider, Lti13Provider, LtiAuthentication, LtiPlatform
from coursewarehub.model.mail import Mail
from coursewarehub.model.networks import capacity, course_network, courses_that_fit
from coursewarehub.model.problems import ConfigurationError, Problem, quoted
from coursewarehub.model.secret import SecretRef
from coursewarehub.model.site import Site, Tls
from coursewarehub.model.spawner import ContainerSpawner, LocalSpawner
from coursewarehub.model.yaml_source import KeyPath, Source


def site_problems(
    root: Path,
    site: Site,
    source: Source,
    courses: Sequence[Course] = (),
    environ: Mapping[str, str] | None = None,
) -> Iterator[Problem]:
    """Yield what is wrong with `site.yaml` beyond its text: files, secrets, room for the courses."""
    if site.edge.tls is not None:
        yield from _tls_problems(root, site.edge.tls, source)
    if isinstance(site.database.url, SecretRef):
        yield from _database_problems(root, site.database.url, source, os.environ if environ is None else environ)
    yield from _login_problems(root, site, source, os.environ if environ is None else environ)
    if site.mail is not None:
        yield from _mail_problems(root, site, site.mail, source, os.environ if environ is None else environ)
    if isinstance(site.spawner, ContainerSpawner):
        yield from _pool_problems(site.spawner, courses, source)
        yield from _port_problems(site.edge.port, site.spawner, source)


def _database_problems(
    root: Path, reference: SecretRef, source: Source, environ: Mapping[str, str]
) -> Iterator[Problem]:
    path: KeyPath = ("database", "url")
    try:
        url = reference.resolve(root, environ).get_secret_value()
    except ConfigurationError as error:
        for problem in error.problems:
            yield source.problem(path, problem.message, problem.hint)
        return
    if not is_database_url(url):
        yield source.problem(path, f"what `database.url` refers to, {quoted(str(reference))}, is not {DATABASE_URL}")


def _pool_problems(spawner: ContainerSpawner, courses: Sequence[Course], source: Source) -> Iterator[Problem]:
    room = courses_that_fit(spawner)
    wanted = sum(course.state is not CourseState.ARCHIVED for course in courses)
    if wanted > room:
        message = (
            f"`spawner.addresses` {spawner.addresses} has room for the networks of {room} courses, not of {wanted}"
        )
        hint = "take a larger network, a higher `course_network`, or archive courses that are over"
        yield source.problem(("spawner", "addresses"), message, hint)


def _port_problems(edge_port: int, spawner: ContainerSpawner, source: Source) -> Iterator[Problem]:
    if edge_port in {spawner.port, spawner.port + 1}:
        message = f"`spawner.port` needs {spawner.port} and {spawner.port + 1}, and `edge.port` is {edge_port}"
        yield source.problem(("spawner", "port"), message, "give one of the two another number")


def course_problems(
    root: Path, site: Site, course: Course, source: Source, environ: Mapping[str, str]
) -> Iterator[Problem]:
    """Yield why a course cannot run on this site; an archived course does not have to."""
    if course.state is CourseState.ARCHIVED:
        return
    yield from login_problems(site, course, source)
    yield from _secret_problems(root, course, source, environ)
    if course.content is not None and course.content.folder is not None:
        yield from _folder_problems(root, course.content, course.content.folder, source)
    if isinstance(site.spawner, ContainerSpawner):
        yield from _room_problems(site.spawner, course, source)


def login_problems(site: Site, course: Course, source: Source) -> Iterator[Problem]:
    """Yield why a course's login methods must not, or cannot, be used on this site."""
    for login in course.logins:
        place = course.login_key(login)
        if isinstance(login, DummyAuthentication):
            yield from _workshop_problems(site, login, place, source)
        elif isinstance(login, ProviderAuthentication | LtiAuthentication):
            yield from _provider_problems(site, login, place, source)


def _workshop_problems(site: Site, login: DummyAuthentication, place: KeyPath, source: Source) -> Iterator[Problem]:
    if site.mode == "production" and not login.workshop:
        yield source.problem(
            (*place, "method"),
            "`authentication.method` is `dummy`, one password shared by everybody, which production mode refuses",
            "write `workshop: true` in `authentication` if that is what you want",
        )
    unguarded = isinstance(site.spawner, LocalSpawner) and not site.spawner.accept_strangers
    if login.self_chosen_names and unguarded and site.edge.is_public():
        yield source.problem(
            (*place, "self_chosen_names"),
            "`authentication.self_chosen_names` lets strangers run programs on this machine, "
            "because the site is public and the spawner is `local`",
            "remove it, listen on `127.0.0.1`, or accept it with `accept_strangers: true` in `spawner` of site.yaml",
        )


def _provider_problems(
    site: Site, login: ProviderAuthentication | LtiAuthentication, place: KeyPath, source: Source
) -> Iterator[Problem]:
    provider = site.login.get(login.name)
    key = "use" if login.use else "method"
    if provider is None:
        there = ", ".join(quoted(name) for name in site.login) or "nothing"
        message = f"`login` of site.yaml has no {quoted(login.name)}"
        yield source.problem((*place, key), message, f"it has {there}; the site's operator adds providers there")
    elif provider.method != login.method:
        message = f"{quoted(login.name)} in `login` of site.yaml is for `{provider.method}`, not for `{login.method}`"
        yield source.problem((*place, key), message)


def _room_problems(spawner: ContainerSpawner, course: Course, source: Source) -> Iterator[Problem]:
    room = capacity(course_network("site", course.id, spawner, 0), 0)
    if course.limits.servers is not None and course.limits.servers > room:
        message = (
            f"`limits.servers` is {course.limits.servers}, but a course's network of /{spawner.course_network} has "
            f"addresses for {room} servers"
        )
        yield source.problem(("limits", "servers"), message, "lower it, or lower `course_network` in site.yaml")


def _secret_problems(root: Path, course: Course, source: Source, environ: Mapping[str, str]) -> Iterator[Problem]:
    login = course.workshop
    if login is not None and login.password is not None:
        yield from _unresolved(root, login.password, (*course.login_key(login), "password"), source, environ)


def _unresolved(
    root: Path, reference: SecretRef, path: KeyPath, source: Source, environ: Mapping[str, str]
) -> Iterator[Problem]:
    try:
        reference.resolve(root, environ)
    except ConfigurationError as error:
        for problem in error.problems:
            yield source.problem(path, problem.message, problem.hint)


def _login_problems(root: Path, site: Site, source: Source, environ: Mapping[str, str]) -> Iterator[Problem]:
    """Why providers of `login` in `site.yaml` cannot be used; those of `platforms.d` stand elsewhere."""
    for name in site.login:
        path: KeyPath = ("login", name)
        if path in source.lines:
            yield from provider_problems(root, site, name, path, source, environ)


def provider_problems(
    root: Path, site: Site, name: str, path: KeyPath, source: Source, environ: Mapping[str, str]
) -> Iterator[Problem]:
    """Yield why a provider, written at `path` of `source`, cannot be used: secrets, files, what it says unencrypted."""
    provider = site.login[name]
    for key, reference in provider_secrets(provider):
        yield from _unresolved(root, reference, (*path, key), source, environ)
    if isinstance(provider, LdapProvider):
        if provider.ca is not None and not (root / provider.ca).is_file():
            yield source.problem((*path, "ca"), f"the file {quoted(provider.ca)} does not exist")
        if site.mode == "production" and provider.server.startswith("ldap://") and not provider.starttls:
            message = "`starttls: false` sends passwords unencrypted, which production mode refuses"
            yield source.problem((*path, "starttls"), message, "remove it, or use `ldaps://`")
    formerly = provider.formerly if isinstance(provider, Lti13Provider) else None
    if formerly is not None and not isinstance(site.login.get(formerly), Lti11Provider):
        message = f"`login` has no {quoted(formerly)} with `method: lti11`"
        yield source.problem((*path, "formerly"), message)
    who = "a learning platform" if isinstance(provider, LtiPlatform) else "an identity provider"
    for key in ("issuer", "url", "auth_url", "token_url", "jwks_url"):
        url = getattr(provider, key, None) or ""
        if site.mode == "production" and url.startswith("http:"):
            message = f"{quoted(url)} is not encrypted, which production mode refuses"
            yield source.problem((*path, key), message, f"{who} has an `https://` address")


def _mail_problems(root: Path, site: Site, mail: Mail, source: Source, environ: Mapping[str, str]) -> Iterator[Problem]:
    """Why no mail can be sent, or not as it should be."""
    if mail.password is not None:
        yield from _unresolved(root, mail.password, ("mail", "password"), source, environ)
    here = mail.host in {"localhost", "127.0.0.1", "::1"}
    if site.mode == "production" and mail.tls == "none" and not here:
        message = "`mail.tls: none` sends links to passwords unencrypted, which production mode refuses"
        yield source.problem(("mail", "tls"), message, "remove it, or use `tls`")


def _folder_problems(root: Path, content: Content, folder: str, source: Source) -> Iterator[Problem]:
    path: KeyPath = ("content", "folder")
    if not (root / folder).is_dir():
        yield source.problem(path, f"the content folder {quoted(folder)} does not exist")
        return
    private = _private_folder(root, folder)
    if private is not None:
        message = f"the content folder {quoted(folder)} would show students {private}"
        yield source.problem(path, message, "give the materials a folder of their own")
    elif content.start is not None and not (root / folder / content.start).is_file():
        message = f"the content folder has no file {quoted(content.start)}"
        yield source.problem(("content", "start"), message)


def _private_folder(root: Path, folder: str) -> str | None:
    """Return which part of the site, not meant for students, `folder` holds or is in."""
    content = (root / folder).resolve()
    for name, what in (("state", "the site's secrets"), ("homes", "the homes of others")):
        private = (root / name).resolve()
        if content.is_relative_to(private) or private.is_relative_to(content):
            return what
    return None


def _tls_problems(root: Path, tls: Tls, source: Source) -> Iterator[Problem]:
    files = {"certificate": root / tls.certificate, "key": root / tls.key}
    missing = False
    for key, file in files.items():
        if not (file.is_file() and os.access(file, os.R_OK)):
            missing = True
            message = f"the {key} file {quoted(getattr(tls, key))} does not exist or is unreadable"
            yield source.problem(("edge", "tls", key), message)
    if missing:
        return
    if files["key"].stat().st_mode & 0o007:
        message = f"the key file {quoted(tls.key)} can be read by everybody"
        yield source.problem(("edge", "tls", "key"), message, f"run `chmod 600 {tls.key}`")
    reason = _mismatch(files["certificate"], files["key"])
    if reason is not None:
        yield source.problem(("edge", "tls"), reason)


def _mismatch(certificate: Path, key: Path) -> str | None:
    """Return why the two files do not make a certificate that a server can use."""
    import ssl  # large, and few sites have a certificate of their own

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key, password="")
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            return "the key does not belong to the certificate"
        return "the certificate and key are not PEM files with a certificate and an open key"
    except (OSError, ValueError):
        return "the certificate and key cannot be read"
    return None
