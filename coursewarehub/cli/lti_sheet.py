"""`coursewarehub lti sheet`: what to enter where, to copy and paste."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from coursewarehub.cli import Subparsers
    from coursewarehub.model.platforms import Platform
    from coursewarehub.model.site import Site
    from coursewarehub.site.lti.tool import Addresses

PLATFORMS = ("openedx", "moodle", "canvas")
Rows = list[tuple[str, str]]


def add_sheet(verbs: Subparsers) -> None:
    """Add the verb."""
    parser = verbs.add_parser("sheet", help="print what to enter in a platform, field by field")
    parser.add_argument("name", metavar="NAME", help="the platform; it need not be registered yet for LTI 1.3")
    parser.add_argument("--for", dest="kind", choices=PLATFORMS, required=True, help="what kind of platform it is")
    parser.add_argument("--course", metavar="ID", help="links that lead to this course")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the sheet."""
    from coursewarehub.cli.errors import CommandError
    from coursewarehub.model.addresses import public_url
    from coursewarehub.model.load import load_site
    from coursewarehub.model.lti import LtiPlatform
    from coursewarehub.model.problems import quoted
    from coursewarehub.site.lti.tool import Addresses

    loaded = load_site(args.site.resolve())
    provider = loaded.site.login.get(args.name)
    if provider is not None and not isinstance(provider, LtiPlatform):
        raise CommandError(f"{quoted(args.name)} is a provider of logins, not a learning platform.")
    if args.course is not None and args.course not in loaded.courses:
        known = ", ".join(loaded.courses) or "none"
        raise CommandError(f"There is no course {quoted(args.course)} (courses: {known}).")
    addresses = Addresses(public_url(loaded.site))
    key = getattr(provider, "key", None)
    title = loaded.site.title.text(loaded.site.language)
    print(aligned(sheet(args.kind, addresses, title, key=key, course=args.course)))
    if provider is None:
        print("\nThen, with what the platform shows:\n")
        print(f"coursewarehub lti register {args.name} {_then(args.kind)}")
    return 0


def _then(kind: str) -> str:
    options = {"moodle": "--moodle URL --client-id ID", "canvas": "--canvas --client-id ID"}
    return options.get(kind, "--issuer URL --client-id ID --auth-url URL --jwks-url URL --token-url URL")


def sheet(kind: str, addresses: Addresses, title: str, *, key: str | None = None, course: str | None = None) -> Rows:
    """Return (field, value) in the order of the platform's own form; with a `key` it is that of LTI 1.1."""
    launch, login, jwks = addresses.launch(course), addresses.of("login"), addresses.of("jwks")
    callbacks = addresses.callbacks
    if key is not None:
        return _sheet_11(kind, launch, title, key)
    if kind == "moodle":
        return [
            ("Tool name", title),
            ("Tool URL", launch),
            ("LTI version", "LTI 1.3"),
            ("Public key type", "Keyset URL"),
            ("Public keyset", jwks),
            ("Initiate login URL", login),
            ("Redirection URI(s)", "\n".join(callbacks)),
            ("Default launch container", "New window"),
            ("Supports Deep Linking (Content-Item Message)", "yes"),
            ("Content Selection URL", launch),
            ("Share launcher's name with tool", "Always"),
            ("Share launcher's email with tool", "Always"),
        ]
    if kind == "canvas":
        query = f"?course={course}" if course else ""
        return [
            ("Key Name", title),
            ("Redirect URIs", "\n".join(callbacks)),
            ("Method", "Enter URL"),
            ("JSON URL", addresses.of("config.json") + query),
        ]
    return [
        ("LTI Version", "LTI 1.3"),
        ("Tool Launch URL", launch),
        ("Registered Redirect URIs", "[" + ", ".join(f'"{url}"' for url in callbacks) + "]"),
        ("Tool Initiate Login URL", login),
        ("Tool Public Key Mode", "Keyset URL"),
        ("Tool Keyset URL", jwks),
        ("Deep linking", "True"),
        ("Deep Linking Launch URL", launch),
        ("LTI Launch Target", "New Window"),
        ("Request user's username", "True"),
        ("Request user's email", "True"),
    ]


def _sheet_11(kind: str, launch: str, title: str, key: str) -> Rows:
    hidden = "(the content of the secret's file)"
    if kind == "moodle":
        return [
            ("Tool name", title),
            ("Tool URL", launch),
            ("LTI version", "LTI 1.0/1.1"),
            ("Consumer key", key),
            ("Shared secret", hidden),
            ("Default launch container", "New window"),
            ("Share launcher's name with tool", "Always"),
            ("Share launcher's email with tool", "Always"),
        ]
    if kind == "canvas":
        return [
            ("Configuration Type", "By URL"),
            ("Name", title),
            ("Consumer Key", key),
            ("Shared Secret", hidden),
            ("Config URL", launch.replace("/launch", "/config.xml", 1)),
        ]
    return [
        ("LTI Passports", f'"{key}:{key}:SECRET"'),
        ("LTI Version", "LTI 1.1/1.2"),
        ("LTI ID", key),
        ("LTI URL", launch),
        ("LTI Launch Target", "New Window"),
        ("Request user's username", "True"),
        ("Request user's email", "True"),
    ]


def pasted(site: Site, platform: Platform) -> str:
    """What every platform asks for, in the words of the specification."""
    from coursewarehub.model.addresses import public_url
    from coursewarehub.site.lti.tool import Addresses

    addresses = Addresses(public_url(site))
    if platform.method == "lti11":
        return aligned([("Launch URL", addresses.launch()), ("Consumer key", platform.key)])
    return aligned(
        [
            ("Target link (tool) URL", addresses.launch()),
            ("Initiate login URL", addresses.of("login")),
            ("Redirect URIs", "\n".join(addresses.callbacks)),
            ("Public keyset (JWKS) URL", addresses.of("jwks")),
            ("Deep linking URL", addresses.launch()),
        ]
    )


def course_lines(name: str, method: str) -> str:
    """What a course's file says of the platform."""
    return f"authentication:\n  - method: {method}\n    use: {name}"


def aligned(rows: Sequence[tuple[str, Any]]) -> str:
    """Fields and values in two columns; a value of several lines keeps its column."""
    width = max(len(field) for field, _ in rows)
    lines = []
    for field, value in rows:
        first, *rest = str(value).splitlines() or [""]
        lines += [f"{field:{width}}  {first}".rstrip(), *(f"{'':{width}}  {line}" for line in rest)]
    return "\n".join(lines)
