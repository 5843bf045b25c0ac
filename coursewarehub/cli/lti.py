"""`coursewarehub lti`: learning platforms and the tool's keys."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from coursewarehub.cli.lti_register import add_register
from coursewarehub.cli.lti_sheet import add_sheet
from coursewarehub.cli.lti_test import add_test

if TYPE_CHECKING:
    from coursewarehub.cli import Subparsers
    from coursewarehub.model.load import LoadedSite


def register(subparsers: Subparsers) -> None:
    """Add the command and its verbs."""
    parser = subparsers.add_parser("lti", help="register, list and test learning platforms")
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    for add in _VERBS:
        add(verbs)


def _add_list(verbs: Subparsers) -> None:
    parser = verbs.add_parser("list", help="list the platforms, and which courses use them")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.set_defaults(run=run_list)


def _add_rotate(verbs: Subparsers) -> None:
    parser = verbs.add_parser("rotate-keys", help="make the next key that platforms check our messages with")
    parser.set_defaults(run=run_rotate)


_VERBS: tuple[Callable[[Subparsers], None], ...] = (add_register, _add_list, add_test, _add_rotate, add_sheet)


def run_list(args: argparse.Namespace) -> int:
    """Print the platforms; a broken file is a problem at the end and exit code 2."""
    import json

    from coursewarehub.model.load import load_site
    from coursewarehub.model.problems import ConfigurationError

    loaded = load_site(args.site)
    found = platforms(loaded)
    print(json.dumps(found, indent=2, ensure_ascii=False) if args.json else _listing(found))
    if loaded.problems:
        raise ConfigurationError(loaded.problems)
    return 0


def platforms(loaded: LoadedSite) -> list[dict[str, Any]]:
    """Return each platform's `name`, `method`, `platform` (issuer and client, or key), `file` and `courses`."""
    from coursewarehub.model.lti import Lti13Provider, LtiPlatform

    found = []
    for name, provider in loaded.site.login.items():
        if isinstance(provider, LtiPlatform):
            if isinstance(provider, Lti13Provider):
                platform = f"{provider.issuer} {provider.client_id}"
            else:
                platform = f"{provider.url} {provider.key}"
            source = loaded.platforms.get(name)
            found.append(
                {
                    "name": name,
                    "method": provider.method,
                    "platform": platform,
                    "file": source.file if source is not None else "site.yaml",
                    "courses": [c.id for c in loaded.courses.values() if name in {login.name for login in c.logins}],
                }
            )
    return found


def _listing(found: list[dict[str, Any]]) -> str:
    if not found:
        return "There are no learning platforms: register one with `coursewarehub lti register`."
    width = max(len(platform["name"]) for platform in found)
    lines = []
    for platform in found:
        courses = ", ".join(platform["courses"]) or "no course"
        lines.append(f"{platform['name']:{width}}  {platform['method']}  {platform['platform']}  ({courses})")
    return "\n".join(lines)


def run_rotate(args: argparse.Namespace) -> int:
    """Make the next key; it signs when every platform has had time to see it."""
    import time
    from datetime import UTC, datetime

    from coursewareauthenticator.lti.keys import SETTLE, KeysUnusable, ToolKeys
    from coursewarehub.cli.errors import CommandError
    from coursewarehub.model.load import load_site
    from coursewarehub.state.folders import SiteFolders

    root = args.site.resolve()
    folder = SiteFolders.of(root, load_site(root).site).lti_keys
    now = time.time()
    try:
        key = ToolKeys(folder).rotate(now)
        signing = ToolKeys(folder).signing(now)
    except KeysUnusable as error:
        raise CommandError(f"{error}.") from None
    print(f"The key {key.kid} is published now.")
    if signing.kid != key.kid:
        then = datetime.fromtimestamp(key.made + SETTLE, UTC).strftime("%Y-%m-%d %H:%M UTC")
        print(f"It signs from {then} on, when platforms have fetched it; until then {signing.kid} does.")
    return 0
