"""`coursewarehub lti register`: write a platform's file, or make a link by which the platform registers itself."""

from __future__ import annotations

import argparse
import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from coursewarehub.cli.errors import CommandError

if TYPE_CHECKING:
    from coursewarehub.cli import Subparsers
    from coursewarehub.model.load import LoadedSite

_OF_13 = ("issuer", "client_id", "auth_url", "token_url", "jwks_url", "token_audience", "deployments", "formerly")
_OF_11 = ("url", "key", "secret", "former_secret", "window")
_NEEDED = {"lti13": ("issuer", "client_id", "auth_url", "jwks_url"), "lti11": ("url",)}
_OPTION = {"deployments": "deployment", "origins": "origin"}


def add_register(verbs: Subparsers) -> None:
    """Add the verb."""
    parser = verbs.add_parser("register", help="register a platform, or make a link by which it registers itself")
    parser.add_argument("name", metavar="NAME", help="what courses will call the platform")
    parser.add_argument("--lti", choices=("1.3", "1.1"), default="1.3", help="version of LTI (default: 1.3)")
    parser.add_argument("--title", help="what people call their account there")
    parser.add_argument(
        "--origin", dest="origins", action="append", metavar="URL", help="a further host of its pages; may be repeated"
    )
    parser.add_argument(
        "--anonymous", action="store_true", help="let people in of whom the platform does not say who they are"
    )
    link = parser.add_argument_group("by dynamic registration (LTI 1.3: Moodle, Canvas)")
    link.add_argument("--link", action="store_true", help="make a one-time link for the platform's administrator")
    link.add_argument(
        "--private-host",
        metavar="HOST[:PORT]",
        help="the platform is in a private network: ask this host also there and, in development mode, without https",
    )
    _add_13(parser)
    _add_11(parser)
    parser.set_defaults(run=run)


def _add_13(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("by hand, LTI 1.3: what the platform shows")
    group.add_argument("--moodle", metavar="URL", help="a Moodle at this address: fills in all but --client-id")
    group.add_argument("--canvas", action="store_true", help="Canvas in the cloud: fills in all but --client-id")
    group.add_argument("--issuer", help="issuer (platform id)")
    group.add_argument("--client-id", metavar="ID", help="client id")
    group.add_argument("--auth-url", metavar="URL", help="authentication request (OIDC login) URL")
    group.add_argument("--token-url", metavar="URL", help="access token URL")
    group.add_argument("--jwks-url", metavar="URL", help="public keyset URL")
    group.add_argument("--token-audience", metavar="TEXT", help="audience of token requests, if not the token URL")
    group.add_argument(
        "--deployment", dest="deployments", action="append", metavar="ID", help="only this deployment; may be repeated"
    )
    group.add_argument("--formerly", metavar="NAME", help="the entry by which the same platform came with LTI 1.1")


def _add_11(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("by hand, LTI 1.1")
    group.add_argument("--url", help="the platform's own address")
    group.add_argument("--key", help="consumer key (default: NAME)")
    group.add_argument("--secret", metavar="REF", help="`file:PATH` or `env:NAME` (default: a new file)")
    group.add_argument("--former-secret", metavar="REF", help="the secret of before, while links are changed")
    group.add_argument("--window", metavar="DURATION", help="how far the platform's clock may be off")
    group.add_argument("--show-secret", action="store_true", help="print the secret too")


def run(args: argparse.Namespace) -> int:
    """Write `platforms.d/NAME.yaml` unless the name is taken, and print what to enter in the platform."""
    from coursewarehub.model.load import load_site
    from coursewarehub.model.platforms import NAME_RULE, is_platform_name, platform_file
    from coursewarehub.model.problems import quoted

    root: Path = args.site.resolve()
    if not is_platform_name(args.name):
        raise CommandError(f"{quoted(args.name)} cannot be the name of a platform: {NAME_RULE}.")
    loaded = load_site(root)
    file = platform_file(root, args.name)
    if args.name in loaded.site.login or file.exists() or file.is_symlink():
        raise CommandError(f"There is a {quoted(args.name)} already: see `coursewarehub lti list`.")
    return _make_link(root, loaded, args) if args.link else _write(root, loaded, args)


# --- a link ------------------------------------------------------------------------------------


def _make_link(root: Path, loaded: LoadedSite, args: argparse.Namespace) -> int:
    import time

    from coursewarehub.model.addresses import public_url
    from coursewarehub.site.lti.tool import Addresses
    from coursewarehub.state.folders import SiteFolders
    from coursewarehub.state.lti_links import LIFETIME, Link, Links

    _refuse_others(args, (*_OF_13, *_OF_11, "title", "origins", "moodle", "canvas", "anonymous", "show_secret"))
    if args.lti != "1.3":
        raise _wrong("`--link` is for LTI 1.3")
    host = args.private_host.lower() if args.private_host else None
    if host is not None and re.fullmatch(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]{1,5})?", host) is None:
        raise _wrong("`--private-host` must be the name of a host, perhaps with a port")
    now = time.time()
    links = Links(SiteFolders.of(root, loaded.site).lti_links)
    token = links.make(Link(args.name, now + LIFETIME, host), now)
    print("Give this address to the platform, within a day; it holds good once:")
    print(Addresses(public_url(loaded.site)).of(f"register/{token}"))
    print('Moodle: Site administration > Plugins > External tool > Manage tools, "Tool URL".')
    print('Canvas: Admin > Apps > Manage > "Install a New App" > Dynamic Registration.')
    return 0


def _refuse_others(args: argparse.Namespace, names: tuple[str, ...]) -> None:
    given = [f"`--{_option(name)}`" for name in names if getattr(args, name)]
    if given:
        raise _wrong(f"{', '.join(given)} cannot be given with `--link`: the platform says it itself")


def _option(name: str) -> str:
    return _OPTION.get(name, name).replace("_", "-")


# --- by hand -----------------------------------------------------------------------------------


def _write(root: Path, loaded: LoadedSite, args: argparse.Namespace) -> int:
    from coursewarehub.cli.files import create_file
    from coursewarehub.cli.lti_sheet import course_lines, pasted
    from coursewarehub.model.load import load_site, usable
    from coursewarehub.model.platforms import load_platforms, platform_file, platform_text

    values = _values(args)
    file = platform_file(root, args.name)
    secret = None
    if values["method"] == "lti11" and not values.get("secret"):
        secret = Path("secrets") / f"lti-{args.name}"
        values["secret"] = f"file:{secret}"
    text = platform_text(args.name, values)
    if secret is not None:
        _make_secret(root / secret)
    try:
        file.parent.mkdir(exist_ok=True)
        create_file(file, text)
        found = load_platforms(root, loaded.sources[""], loaded.site.login)
        if wrong := [problem for problem in found.problems if problem.file == f"platforms.d/{file.name}"]:
            from coursewarehub.model.problems import ConfigurationError

            file.unlink()
            raise ConfigurationError(wrong)
    except BaseException:
        if secret is not None:
            (root / secret).unlink()
        raise
    print(f"Wrote platforms.d/{file.name}.")
    if values["method"] == "lti11":
        _tell_secret(root, values, args)
    print("\nEnter in the platform:\n")
    print(pasted(loaded.site, found.platforms[args.name]))
    print("\nIn the file of each course that its people may enter:\n")
    print(course_lines(args.name, values["method"]))
    for problem in usable(load_site(root)).problems:
        if problem.file == f"platforms.d/{file.name}":
            print(f"Before it can be used: {problem}", file=sys.stderr)
    return 0


def _values(args: argparse.Namespace) -> dict[str, Any]:
    """The platform's settings. Raises ConfigurationError when one is missing, or goes with the other version."""
    method = "lti13" if args.lti == "1.3" else "lti11"
    own, others = (_OF_13, _OF_11) if method == "lti13" else (_OF_11, _OF_13)
    extra = ("moodle", "canvas") if method == "lti11" else ("show_secret",)
    if foreign := [f"`--{_option(name)}`" for name in (*others, *extra) if getattr(args, name)]:
        raise _wrong(f"{', '.join(foreign)} goes with `--lti {'1.1' if method == 'lti13' else '1.3'}`")
    if args.private_host:
        raise _wrong("`--private-host` goes with `--link`")
    if args.moodle and args.canvas:
        raise _wrong("give one of `--moodle` and `--canvas`")
    values: dict[str, Any] = {"method": method, "title": args.title, "origins": args.origins}
    values |= {"anonymous": True} if args.anonymous else {}
    values |= _usual(args) if method == "lti13" else {"key": args.name}
    values |= {name: getattr(args, name) for name in own if getattr(args, name)}
    if missing := [f"`--{_option(name)}`" for name in _NEEDED[method] if not values.get(name)]:
        hint = ", or `--link` if the platform can register itself" if method == "lti13" else ""
        raise _wrong(f"needs {', '.join(missing)}{hint}")
    return {name: value for name, value in values.items() if value}


def _usual(args: argparse.Namespace) -> dict[str, Any]:
    """The addresses that every Moodle has, or Canvas in the cloud."""
    if args.moodle:
        base = args.moodle.rstrip("/")
        if urlsplit(base).scheme not in {"https", "http"}:
            raise _wrong("`--moodle` must be an address such as `https://moodle.example.org`")
        files = {"auth_url": "auth.php", "token_url": "token.php", "jwks_url": "certs.php"}
        return {"issuer": base, **{name: f"{base}/mod/lti/{file}" for name, file in files.items()}}
    if args.canvas:
        return {
            "issuer": "https://canvas.instructure.com",
            "auth_url": "https://sso.canvaslms.com/api/lti/authorize_redirect",
            "token_url": "https://sso.canvaslms.com/login/oauth2/token",
            "jwks_url": "https://sso.canvaslms.com/api/lti/security/jwks",
        }
    return {}


def _make_secret(file: Path) -> None:
    import secrets

    from coursewarehub.state.files import create_text

    file.parent.mkdir(exist_ok=True, mode=0o700)
    try:
        create_text(file, secrets.token_urlsafe(32) + "\n", mode=0o600)
    except FileExistsError:
        raise CommandError(f"{file} exists already: name it with `--secret file:...`, or remove it.") from None


def _tell_secret(root: Path, values: dict[str, Any], args: argparse.Namespace) -> None:
    import os

    from coursewarehub.model.secret import SecretRef

    reference = SecretRef.parse(values["secret"])
    print(f"The secret is in {reference}.")
    if args.show_secret:
        print(f"It is: {reference.resolve(root, os.environ).get_secret_value()}")
    elif reference.kind == "file":
        print(f"See it with: cat {shlex.quote(str(root / reference.name))}")


def _wrong(message: str) -> Exception:
    """A command line that is wrong: exit code 2."""
    from coursewarehub.model.problems import ConfigurationError, Problem

    return ConfigurationError([Problem("coursewarehub lti register", None, message)])
