"""`coursewarehub lti test`: ask a platform everything that a launch will need of it."""

from __future__ import annotations

import argparse
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from coursewarehub.cli.doctor import Finding, Level

if TYPE_CHECKING:
    from coursewarehub.cli import Subparsers
    from coursewarehub.model.load import LoadedSite
    from coursewarehub.model.lti import Lti11Provider, Lti13Provider
    from coursewarehub.site.lti.fetch import Fetcher

SKEW: Final = 60
"""Seconds that a token of LTI 1.3 may be off; half of it is worth a note."""
_DISCOVERY: Final = ("/.well-known/openid-configuration", "/mod/lti/openid-configuration.php")
_PROMISED: Final = {
    "issuer": "issuer",
    "authorization_endpoint": "auth_url",
    "jwks_uri": "jwks_url",
    "token_endpoint": "token_url",
}


def add_test(verbs: Subparsers) -> None:
    """Add the verb."""
    parser = verbs.add_parser("test", help="ask the platform what a launch will need of it")
    parser.add_argument("name", metavar="NAME")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print what was found, one line each; 1 when something is bad."""
    import asyncio

    from coursewarehub.cli.errors import CommandError
    from coursewarehub.model.load import load_site
    from coursewarehub.model.lti import LtiPlatform
    from coursewarehub.model.problems import ConfigurationError, quoted

    root: Path = args.site.resolve()
    loaded = load_site(root)
    provider = loaded.site.login.get(args.name)
    if not isinstance(provider, LtiPlatform):
        if wrong := [p for p in loaded.problems if p.file == f"platforms.d/{args.name}.yaml"]:
            raise ConfigurationError(wrong)
        known = ", ".join(n for n, p in loaded.site.login.items() if isinstance(p, LtiPlatform)) or "none"
        raise CommandError(f"There is no platform {quoted(args.name)} (platforms: {known}).")
    return asyncio.run(_report(root, loaded, args.name, provider))


async def _report(root: Path, loaded: LoadedSite, name: str, provider: Any) -> int:
    is_bad = False
    async for finding in findings(root, loaded, name, provider):
        print(f"{finding.level:<4}  {finding.text}", flush=True)
        is_bad = is_bad or finding.level is Level.BAD
    return 1 if is_bad else 0


async def findings(
    root: Path, loaded: LoadedSite, name: str, provider: Lti13Provider | Lti11Provider
) -> AsyncIterator[Finding]:
    """Everything worth telling about a platform; its addresses are the operator's, so they may be private."""
    from coursewarehub.model.lti import Lti13Provider
    from coursewarehub.site.lti.fetch import Fetcher

    async for finding in _ourselves(loaded, name):
        yield finding
    if isinstance(provider, Lti13Provider):
        urls = [provider.issuer, provider.auth_url, provider.jwks_url, provider.token_url or provider.jwks_url]
        fetcher = Fetcher(frozenset(urlsplit(url).netloc.lower() for url in urls))
        async for finding in _of_13(provider, fetcher):
            yield finding
    else:
        async for finding in _of_11(root, provider, Fetcher(frozenset({urlsplit(provider.url).netloc.lower()}))):
            yield finding


async def _ourselves(loaded: LoadedSite, name: str) -> AsyncIterator[Finding]:
    """What the platform needs of this site."""
    from coursewarehub.model.addresses import public_url

    url = public_url(loaded.site)
    if not url.startswith("https:"):
        yield Finding(
            Level.NOTE, f"this site is {url}, without https: browsers keep no cookies for it in a platform's frame"
        )
    if not loaded.site.edge.is_public():
        yield Finding(
            Level.NOTE, f"only this machine can reach {url}: a platform elsewhere cannot fetch the tool's keys"
        )
    courses = [c.id for c in loaded.courses.values() if name in {login.name for login in c.logins}]
    if courses:
        yield Finding(Level.GOOD, f"courses that use it: {', '.join(courses)}")
    else:
        yield Finding(Level.NOTE, f"no course uses it: name it in `authentication` of a course (`use: {name}`)")


async def _of_13(provider: Lti13Provider, fetcher: Fetcher) -> AsyncIterator[Finding]:
    from coursewareauthenticator.lti.launch import LaunchRefused
    from coursewareauthenticator.lti.tokens import read_key_set
    from coursewarehub.site.lti.fetch import FetchFailed

    try:
        answer = await fetcher.ask(provider.jwks_url)
        read_key_set(answer.body)
        yield Finding(Level.GOOD, f"its keys can be fetched from {provider.jwks_url}")
        yield _clock(answer.headers, SKEW)
    except FetchFailed as failure:
        yield Finding(Level.BAD, f"`jwks_url`: {_lower(failure)}")
    except LaunchRefused as refusal:
        yield Finding(Level.BAD, f"`jwks_url`: {_lower(refusal)}")
    yield await _reached(fetcher, "auth_url", provider.auth_url)
    if provider.token_url is None:
        yield Finding(Level.NOTE, "`token_url` is not set: grades and rosters cannot be exchanged")
    else:
        yield await _reached(fetcher, "token_url", provider.token_url)
    async for finding in _issuer(provider, fetcher):
        yield finding


async def _reached(fetcher: Fetcher, key: str, url: str) -> Finding:
    """Whether anything answers at an address that refuses what it is asked here."""
    from coursewarehub.site.lti.fetch import Failure, FetchFailed

    try:
        answer = await fetcher.ask(url, refusals=True)
    except FetchFailed as failure:
        if failure.failure is not Failure.REDIRECTED:
            return Finding(Level.BAD, f"`{key}`: {_lower(failure)}")
        return Finding(Level.GOOD, f"`{key}` answers")
    if answer.status == 404 or answer.status >= 500:
        return Finding(Level.BAD, f"`{key}`: {url} answers with HTTP {answer.status}: check the address")
    return Finding(Level.GOOD, f"`{key}` answers")


async def _issuer(provider: Lti13Provider, fetcher: Fetcher) -> AsyncIterator[Finding]:
    """Compare with what the platform publishes of itself, where it does."""
    from coursewarehub.site.lti.fetch import FetchFailed

    document: Mapping[str, Any] | None = None
    for path in _DISCOVERY if provider.issuer.startswith(("https:", "http:")) else ():
        try:
            document = await fetcher.json(provider.issuer.rstrip("/") + path)
            break
        except FetchFailed:
            continue
    if document is None:
        yield Finding(Level.NOTE, "it does not publish what it is, so its issuer shows at the first launch only")
        return
    different = False
    for name, key in _PROMISED.items():
        said, ours = document.get(name), getattr(provider, key)
        if isinstance(said, str) and ours is not None and said != ours:
            different = True
            yield Finding(Level.BAD, f"`{key}` is {ours}, but the platform says {said}: correct it")
    if not different:
        yield Finding(Level.GOOD, f"the platform says of itself that it is {provider.issuer}")


async def _of_11(root: Path, provider: Lti11Provider, fetcher: Fetcher) -> AsyncIterator[Finding]:
    import os

    from coursewarehub.model.problems import ConfigurationError
    from coursewarehub.site.lti.fetch import Failure, FetchFailed

    for key in ("secret", "former_secret"):
        reference = getattr(provider, key)
        try:
            if reference is not None:
                reference.resolve(root, os.environ)
                yield Finding(Level.GOOD, f"`{key}` can be read")
        except ConfigurationError as error:
            yield Finding(Level.BAD, f"`{key}`: {error.problems[0].message}")
    try:
        answer = await fetcher.ask(provider.url, refusals=True)
        yield Finding(Level.GOOD, f"{provider.url} answers")
        yield _clock(answer.headers, provider.window or SKEW)
    except FetchFailed as failure:
        redirected = failure.failure is Failure.REDIRECTED
        yield Finding(Level.GOOD if redirected else Level.BAD, f"`url`: {_lower(failure)}")
    yield Finding(Level.NOTE, "whether its key and secret are the same shows at the first launch only")


def _clock(headers: Mapping[str, str], most: float) -> Finding:
    """How far the platform's clock is from ours, by its `Date` header (RFC 9110 §6.6.1), which has whole seconds."""
    import time
    from email.utils import parsedate_to_datetime

    try:
        theirs = parsedate_to_datetime(headers["Date"]).timestamp()
    except (KeyError, ValueError):
        return Finding(Level.NOTE, "it does not tell its time, so clocks cannot be compared")
    apart = round(abs(time.time() - theirs))
    if apart > most:
        return Finding(
            Level.BAD,
            f"its clock is {apart} s from this machine's and {most:g} s are allowed: set one of the two (NTP)",
        )
    level = Level.NOTE if apart > most / 2 else Level.GOOD
    return Finding(level, f"its clock is {apart} s from this machine's")


def _lower(error: Exception) -> str:
    """A sentence as the second half of another."""
    text = str(error).removesuffix(".")
    return text if text[:4] == "http" else text[:1].lower() + text[1:]
