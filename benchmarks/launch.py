"""Students who come from a learning platform at the same time, by LTI 1.1 and 1.3, against stock with ltiauthenticator.

Run ``python -m benchmarks.launch`` (or ``python benchmarks/launch.py``); ``--help`` lists the options.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx

CHECKOUT = Path(__file__).resolve().parent.parent
sys.path[:0] = [folder for folder in (str(CHECKOUT), str(CHECKOUT / "tests")) if folder not in sys.path]

from support.learning_platform import CLIENT, CROSS_SITE, LearningPlatform, running_platform  # noqa: E402
from support.lti import KEY, SECRET  # noqa: E402

from benchmarks.measure import Aim, Row  # noqa: E402
from benchmarks.ours import Ours  # noqa: E402
from benchmarks.processes import StackError  # noqa: E402
from benchmarks.report import Machine, note, parser, positive, publish, run, stacks  # noqa: E402
from benchmarks.stack import Address, Stack  # noqa: E402
from benchmarks.stock import Stock  # noqa: E402

VERSIONS = ("1.1", "1.3")
FORM = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "text/html", **CROSS_SITE}
PAGE = {"Accept": "text/html", **CROSS_SITE}

STOCK = {
    "1.1": """
c.JupyterHub.authenticator_class = "ltiauthenticator.lti11.auth.LTI11Authenticator"
c.LTI11Authenticator.consumers = {{{key!r}: {secret!r}}}
c.LTI11Authenticator.username_key = "user_id"
""",
    "1.3": """
c.JupyterHub.authenticator_class = "ltiauthenticator.lti13.auth.LTI13Authenticator"
c.LTI13Authenticator.issuer = {issuer!r}
c.LTI13Authenticator.authorize_url = {issuer!r} + "/auth"
c.LTI13Authenticator.jwks_endpoint = {issuer!r} + "/jwks"
c.LTI13Authenticator.client_id = {{{client!r}}}
c.LTI13Authenticator.username_key = "sub"
""",
}

Samples = dict[tuple[str, str], list[float]]


class StockLti(Stock):
    """Two stock hubs: one authenticator is for one version of LTI."""

    def __init__(self, platform: LearningPlatform) -> None:
        super().__init__(len(VERSIONS))
        for course, version in zip(self.courses, VERSIONS, strict=True):
            values = {"key": KEY, "secret": SECRET, "issuer": platform.url, "client": CLIENT}
            with (self.folder / course.id / "jupyterhub_config.py").open("a") as file:
                file.write(STOCK[version].format(**values))

    def places(self) -> dict[str, tuple[Address, str, str]]:
        """By version: the course, where a launch begins, and where one of LTI 1.3 ends."""
        first, second = self.courses
        lti13 = f"{second.url}hub/lti13/"
        return {
            "1.1": (first, f"{first.url}hub/lti/launch", ""),
            "1.3": (second, f"{lti13}oauth_login", f"{lti13}oauth_callback"),
        }


class OursLti(Ours):
    """One course for both versions."""

    def __init__(self, platform: LearningPlatform) -> None:
        login = {"moodle": platform.registration(), "old": platform.consumer(secret="file:secrets/password")}
        super().__init__(1, settings=f"login: {json.dumps(login)}\n")
        (self._site / "secrets" / "password").write_text(SECRET)
        logins = [{"method": "lti13", "use": "moodle"}, {"method": "lti11", "use": "old"}]
        course = {
            "id": self.courses[0].id,
            "title": "Benchmark",
            "state": "open",
            "authentication": [{**login, "contexts": "any"} for login in logins],
        }
        (self._site / "courses.d" / f"{self.courses[0].id}.yaml").write_text(json.dumps(course))

    def places(self) -> dict[str, tuple[Address, str, str]]:
        """By version: the course, where a launch begins, and where one of LTI 1.3 ends."""
        course = self.courses[0]
        lti = f"{course.url}hub/lti/"
        return {"1.1": (course, f"{lti}launch", ""), "1.3": (course, f"{lti}login", f"{lti}callback")}


async def wait_for_hub(client: httpx.AsyncClient, stack: Stack, course: Address) -> None:
    """Return when the hub's API answers; `StackError` after a minute."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        stack.check()
        try:
            if (await client.get(course.api)).status_code == httpx.codes.OK:
                return
        except httpx.HTTPError:
            pass
        await asyncio.sleep(0.1)
    raise StackError(f"{stack.name}: the hub of {course.id} does not answer")


async def _by_11(client: httpx.AsyncClient, platform: LearningPlatform, user: str, place: tuple[str, str]) -> None:
    body = platform.form(place[0], user)
    _arrived(await client.post(place[0], content=body, headers=FORM))


async def _by_13(client: httpx.AsyncClient, platform: LearningPlatform, user: str, place: tuple[str, str]) -> None:
    course_url = place[0].partition("hub/lti")[0]
    fields = platform.initiation(course_url, user, target_link_uri=f"{course_url}hub/home")
    begun = await client.get(place[0], params=fields, headers=PAGE)
    asked = parse_qs(urlsplit(begun.headers.get("Location", "")).query)
    if "nonce" not in asked:
        raise StackError(f"a login was answered with {begun.status_code}: {begun.text[-300:]}")
    nonce, state = asked["nonce"][0], asked["state"][0]
    token = platform.id_token(nonce, user, course_url, target_link_uri=f"{course_url}hub/home")
    _arrived(await client.post(place[1], data={"state": state, "id_token": token}, headers=PAGE))


def _arrived(answer: httpx.Response) -> None:
    if answer.status_code not in (302, 303) or "hub/login" in answer.headers["Location"]:
        raise StackError(f"a launch was answered with {answer.status_code}: {answer.text[-300:]}")


BY: dict[str, Callable[..., Awaitable[None]]] = {"1.1": _by_11, "1.3": _by_13}


async def storm(stack: Any, platform: LearningPlatform, options: argparse.Namespace, samples: Samples) -> None:
    """All launches of each version, so many at once; each is somebody new with a browser of their own."""
    for version, (course, begin, end) in stack.places().items():
        async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
            await wait_for_hub(client, stack, course)
        come_in = partial(_come_in, BY[version], platform, (begin, end))
        free = asyncio.Semaphore(options.at_once)
        await come_in(free, "the-first")  # what is imported or fetched once
        start = time.perf_counter()
        launches = (come_in(free, f"user-{number}") for number in range(options.launches))
        samples[stack.name, version] += await asyncio.gather(*launches)
        samples[stack.name, f"{version} rate"].append(options.launches / (time.perf_counter() - start))


async def _come_in(
    by: Callable[..., Awaitable[None]],
    platform: LearningPlatform,
    place: tuple[str, str],
    free: asyncio.Semaphore,
    user: str,
) -> float:
    """The seconds that one launch takes, once it is its turn."""
    async with free, httpx.AsyncClient(trust_env=False, timeout=60) as client:
        start = time.perf_counter()
        await by(client, platform, user, place)
        return time.perf_counter() - start


def rows(samples: Samples) -> list[Row]:
    """One line for the rate and two for the time, for each version."""
    found = []
    for version in VERSIONS:
        times = [tuple(samples.get((name, version), ())) for name in ("stock", "ours")]
        rates = [tuple(samples.get((name, f"{version} rate"), ())) for name in ("stock", "ours")]
        found += [
            Row(f"LTI {version}: launches per second", "1/s", rates[0], rates[1]),
            Row(f"LTI {version}: one launch", "s", times[0], times[1]),
            Row(f"LTI {version}: one launch, p95", "s", times[0], times[1], Aim(value=2), share=0.95),
        ]
    return found


def main() -> int:
    """Measure, print, and return the exit code."""
    options = arguments()
    machine = Machine()
    samples: Samples = defaultdict(list)
    for number in range(options.rounds):
        for name in stacks(options):
            note(f"round {number + 1} of {options.rounds}: {name}")
            with running_platform() as platform, {"stock": StockLti, "ours": OursLti}[name](platform) as stack:
                stack.start()
                asyncio.run(storm(stack, platform, options, samples))
    notes = [
        f"{options.launches} launches of each version, {options.at_once} at once, each of somebody new, up to the "
        "answer that sends the browser into the course",
        "stock has a hub for each version, since an authenticator is for one; ours one for both",
    ]
    return publish("launch", options, rows(samples), machine, notes)


def arguments() -> argparse.Namespace:
    """The command line."""
    found = parser("Launches from a learning platform, against stock with ltiauthenticator.", rounds=3)
    found.add_argument("--launches", type=positive, default=100, help="of each version (default 100)")
    found.add_argument("--at-once", type=positive, default=20, help="launches under way at a time (default 20)")
    return found.parse_args()


if __name__ == "__main__":
    run(main)
