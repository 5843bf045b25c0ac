"""Where a launch goes: a path of this course's hub, or a refusal. Pure.

What an author of links can set, by custom parameters (LTI 1.1 and 1.3) or in the query of the launch address:

* `next`: a path of the hub, or its whole address, such as `/hub/user-redirect/git-pull?repo=...`;
* `notebook`: a file in the home folder; `urlpath`: any page of the learner's server;
* `course_server`: this course by its id (the site has sent the launch to it), or a named server that the hub has;
* `course_image`: one of the images that the course lists;
* `logout-redirect-url`: a page to see after logging out.

These are the names that NII's CoursewareHub has, so that its links keep working. All are untrusted: a path is taken
apart and put together again from its parts, so that what comes out cannot be of another host or course.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from coursewareauthenticator.lti.launch import Launch, LaunchRefused, is_web_address
from coursewarehub.i18n import N_

LONGEST: Final = 4096
"""Characters of a parameter."""
IMAGE_OPTION: Final = "opt-image"
"""The option of JupyterHub's page that starts a server, by which `coursewarespawner` takes an image."""
_PAGES: Final = ("next", "urlpath", "notebook")
_NAMES: Final = (*_PAGES, "course_server", "course_image", "logout-redirect-url")
_PLACES: Final = frozenset({"hub", "user", "services"})
_HUB_PAGES: Final = frozenset({"home", "spawn", "user-redirect"})
_IN_A_SEGMENT: Final = "-._~!$&'()*+,;=:@"
_BASE: Final = re.compile(r"/(?:[A-Za-z0-9._~-]+/)*", re.ASCII)
_DEPTH: Final = 3


@dataclass(frozen=True)
class Host:
    """What a launch may reach.

    `origins` are the public addresses of the hub (`https://host` or with a port), `base` its path, `launch_path` the
    part of it where launches arrive; `site_launch` is the path where the site takes them for all courses. `course` is
    what `course_server` may say for the usual server. Without `choose_image` a link may name one of `images`, and it
    changes nothing. `opens` stands before a notebook's path. `logout_origins` are
    other hosts where people may be sent after logging out.
    Raises ValueError when one of these cannot be right.
    """

    origins: frozenset[str]
    base: str
    course: str = ""
    servers: frozenset[str] = frozenset()
    images: frozenset[str] = frozenset()
    choose_image: bool = True
    opens: str = "lab/tree"
    launch_path: str = "hub/lti"
    logout_origins: frozenset[str] = frozenset()
    site_launch: str | None = None

    def __post_init__(self) -> None:
        if not self.origins or not all(is_web_address(one) and _origin(one) == one for one in self._all_origins()):
            raise ValueError("origins are written as https://host or https://host:port, in lower case")
        if _BASE.fullmatch(self.base) is None or _BASE.fullmatch(f"/{self.opens}/") is None:
            raise ValueError("the base is a path with a slash at both ends; `opens` is one without")

    def _all_origins(self) -> frozenset[str]:
        return self.origins | self.logout_origins


@dataclass(frozen=True)
class Target:
    """A path of our host with its query; the server and image to start; where to go after logging out."""

    path: str
    server: str | None = None
    image: str | None = None
    logout: str | None = None


def resolve(launch: Launch, host: Host, user_name: str) -> Target:
    """Where `user_name` goes. Raises LaunchRefused 400 for what is no place here, 403 for what the course has not."""
    wanted = _wanted(launch, host)
    server = _server(wanted, host)
    image = _image(wanted, host)
    return Target(_path(wanted, host, server, image, user_name), server, image, _logout(wanted, host))


def _wanted(launch: Launch, host: Host) -> Mapping[str, str]:
    """The parameters by their names above; where the link itself names a page, the signed address does not."""
    custom = {}
    for name in _NAMES:
        # Platforms write custom parameters of LTI 1.1 with `_` for everything that is no letter or digit.
        for written in (name, re.sub(r"[^a-z0-9]", "_", name)):
            if launch.custom.get(written):
                custom[name] = launch.custom[written]
    found = {} if launch.target_link_uri is None else _of_address(launch.target_link_uri, host)
    if not custom.keys().isdisjoint(_PAGES):
        found = {name: value for name, value in found.items() if name not in _PAGES}
    found |= custom
    for name, value in found.items():
        if len(value) > LONGEST or any(unicodedata.category(char) in {"Cc", "Cs", "Zl", "Zp"} for char in value):
            raise LaunchRefused(
                400, name, N_("`%(field)s` is too long or has control characters in it: correct the link.")
            )
    return found


def _of_address(uri: str, host: Host) -> dict[str, str]:
    """What a signed `target_link_uri` asks for: its query if it is the launch address, otherwise the page itself."""
    if len(uri) > LONGEST or not is_web_address(uri) or _origin(uri) not in host.origins:
        raise _no_place(uri, "target_link_uri")
    parts = urlsplit(uri)
    if parts.path in {"", host.base, host.base.rstrip("/")} or _is_launch(parts.path, host):
        pairs = ((name.removeprefix("custom_"), value) for name, value in parse_qsl(parts.query))
        return {name: value for name, value in pairs if name in _NAMES}
    return {"next": _page(uri, host, "target_link_uri")}


def _is_launch(path: str, host: Host) -> bool:
    start = f"{host.base}{host.launch_path}"
    return path in {start, host.site_launch} or path.startswith(f"{start}/")


def _path(wanted: Mapping[str, str], host: Host, server: str | None, image: str | None, user_name: str) -> str:
    """`next` before `urlpath` before `notebook`; the usual page of the server without any of them."""
    redirect = f"{host.base}hub/user-redirect/"
    if "next" in wanted:
        page = _page(wanted["next"], host, "next")
        if image is None or not page.startswith(redirect):
            return page
        below = page.removeprefix(redirect)
    elif "urlpath" in wanted:
        below = _below(wanted["urlpath"], host, "urlpath")
    elif "notebook" in wanted:
        below = f"{host.opens}/{_segments(wanted['notebook'].removeprefix('/'), 'notebook', decode=False)}"
    else:
        below = ""
    if server is None and image is None:
        return f"{redirect}{below}"
    name = quote(user_name, safe="") if server is None else f"{quote(user_name, safe='')}/{quote(server, safe='')}"
    chosen = {} if image is None else {IMAGE_OPTION: image}
    return f"{host.base}hub/spawn/{name}?{urlencode({**chosen, 'next': f'{host.base}user/{name}/{below}'})}"


def _page(text: str, host: Host, field: str, depth: int = 0) -> str:
    """A page of this hub as path and query, from a path or a whole address of ours."""
    if not text.startswith("/"):
        if not is_web_address(text) or _origin(text) not in host.origins:
            raise _no_place(text, field)
        parts = urlsplit(text)
        text = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
    path, _, query = text.partition("#")[0].partition("?")
    rest = path.removeprefix(host.base) if path.startswith(host.base) else path.removeprefix("/")
    parts_ = _segments(rest, field).split("/")
    if parts_[0] not in _PLACES or len(parts_) == 1 or (parts_[0] == "hub" and parts_[1] not in _HUB_PAGES):
        raise _no_place(text, field)
    return host.base + "/".join(parts_) + _query(query, host, field, depth)


def _below(text: str, host: Host, field: str, depth: int = 0) -> str:
    """A page of the learner's server, relative to it, with its query."""
    path, _, query = text.partition("#")[0].partition("?")
    return _segments(path, field) + _query(query, host, field, depth)


def _query(query: str, host: Host, field: str, depth: int) -> str:
    """A query written anew; what in it is a further place must be one of ours too."""
    pairs = []
    for name, value in parse_qsl(query, keep_blank_values=True):
        place = {"next": _page, "urlpath": _below}.get(name)
        if place is not None and depth >= _DEPTH:
            raise _no_place(value, field)
        pairs.append((name, place(value, host, field, depth + 1) if place and value else value))
    return f"?{urlencode(pairs)}" if pairs else ""


def _segments(path: str, field: str, *, decode: bool = True) -> str:
    """A relative path written anew, each part in percent-encoding. LaunchRefused 400 for all that could leave it."""
    found = []
    parts = path.split("/")
    for index, part in enumerate(parts):
        plain = _decoded(part, field) if decode else part
        is_last = index == len(parts) - 1
        if (not plain and not is_last) or any(
            _leaves(form) for form in (plain, unquote(plain), unquote(unquote(plain)))
        ):
            raise _no_place(path, field)
        found.append(quote(plain, safe=_IN_A_SEGMENT))
    return "/".join(found)


def _decoded(part: str, field: str) -> str:
    try:
        return unquote(part, errors="strict")
    except UnicodeDecodeError:
        raise _no_place(part, field) from None


def _leaves(part: str) -> bool:
    """Whether a part of a path could mean another folder or host to anybody who reads it."""
    shut = {"Cc", "Cs", "Zl", "Zp"}
    return part.strip() in {".", ".."} or any(char in "/\\" or unicodedata.category(char) in shut for char in part)


def _logout(wanted: Mapping[str, str], host: Host) -> str | None:
    """The front door, a page of this hub, or a page of a host that the course names."""
    name = "logout-redirect-url"
    text = wanted.get(name)
    if text is None:
        return None
    if text in {"/", host.base}:
        return text
    if is_web_address(text) and _origin(text) in host.logout_origins:
        return text
    return _page(text, host, name)


def _server(wanted: Mapping[str, str], host: Host) -> str | None:
    """A named server that the hub has; None for the usual one, which the course's own id means too."""
    value = wanted.get("course_server", "")
    if value in {"", host.course}:
        return None
    if value not in host.servers:
        raise LaunchRefused(
            403,
            "course_server",
            N_(
                "`%(field)s` names the course %(value)s, and this is the launch address of %(course)s: "
                "have the link use the site's launch address, or correct it."
            ),
            value=value,
            course=host.course or host.base,
        )
    return value


def _image(wanted: Mapping[str, str], host: Host) -> str | None:
    """An image that the course lists; None when there is nothing to choose."""
    value = wanted.get("course_image", "")
    if value and value not in host.images:
        raise LaunchRefused(
            403,
            "course_image",
            N_("`%(field)s` asks for %(value)s, which this course does not have: correct the link."),
            value=value,
        )
    return value or None if host.choose_image else None


def _origin(url: str) -> str:
    """Scheme and host of a web address in lower case, without the default port."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.lower().removesuffix({'http': ':80', 'https': ':443'}[parts.scheme])}"


def _no_place(text: str, field: str) -> LaunchRefused:
    return LaunchRefused(
        400,
        field,
        N_("`%(field)s` leads to %(place)s, which is no page of this course: correct the link."),
        place=text or "nothing",
    )
