"""What must hold after every fault: I1 to I9 of the reliability cases, as far as each can be asked from outside."""

from __future__ import annotations

import json
from typing import Any

import requests

from support.sites import eventually


def hub_view(site: Any, course: str = "alpha") -> dict[str, dict[str, Any]]:
    """Users as the hub knows them, by name."""
    token = {"Authorization": f"token {site.token(course)}"}
    answer = requests.get(f"{site.course_url(course)}hub/api/users", headers=token, timeout=30)
    assert answer.status_code == 200, answer.text[:300]
    return {user["name"]: user for user in answer.json()}


def owners(site: Any, course: str = "alpha") -> set[str]:
    """Who has a server, says the hub; nobody may be pending."""
    return {name for name, user in hub_view(site, course).items() if user["server"]}


def running(site: Any, course: str = "alpha") -> list[str]:
    """Whose services Docker has, sorted; each once when all is well."""
    labels = [service["Spec"]["Labels"] for service in site.services()]
    return sorted(each["coursewarehub.user"] for each in labels if each["coursewarehub.course"] == course)


def routes(site: Any, course: str = "alpha") -> set[str]:
    """Whose servers the edge has routes to."""
    file = site.folder.root / "state" / "edge" / "routes" / f"course-{course}.yaml"
    text = file.read_text()
    found = json.loads(text) if text.lstrip().startswith("{") else _yaml(text)
    data = found.get("jupyterhub", {}).get("routes", {})
    return {route["data"]["user"] for route in data.values() if "user" in route.get("data", {})}


def _yaml(text: str) -> Any:
    from ruamel.yaml import YAML

    return YAML(typ="safe").load(text)


def assert_i1_three_views_agree(site: Any, course: str = "alpha", seconds: float = 60) -> set[str]:
    """I1 and I3: hub, Docker and edge know the same servers, and nothing else is left; who has one."""
    seen: dict[str, Any] = {}

    def agree() -> bool:
        users = hub_view(site, course)
        seen["pending"] = [name for name, user in users.items() if user["pending"]]
        seen["hub"] = sorted(name for name, user in users.items() if user["server"])
        seen["docker"] = running(site, course)
        seen["edge"] = sorted(routes(site, course))
        return not seen["pending"] and seen["hub"] == seen["docker"] == seen["edge"]

    try:
        eventually(agree, seconds, every=1)
    except AssertionError:
        raise AssertionError(f"hub, Docker and edge do not agree: {seen}") from None
    return set(seen["hub"])


def assert_i6_plain_page(answer: requests.Response) -> None:
    """I6: no traceback and no path of ours in what a person gets."""
    for forbidden in ("Traceback", "site-packages", "/opt/courseware", 'File "'):
        assert forbidden not in answer.text, f"{forbidden!r} in a page: {answer.text[:500]}"


def assert_i7_no_secret_in_logs(site: Any) -> None:
    """I7: no generated secret stands in any log of the site."""
    root = site.folder.root
    files = [file for file in (root / "state" / "secrets").rglob("*") if file.is_file()]
    secrets = {file.read_text().strip() for file in files} - {""}
    for log in (root / "state" / "logs").rglob("*.log"):
        text = log.read_text(errors="replace")
        assert not [secret for secret in secrets if secret in text], f"a secret stands in {log.name}"


def assert_i8_loop_never_blocked(site: Any, course: str = "alpha") -> None:
    """I8: the hub's event loop was never held up for more than a second, by its own metric."""
    token = {"Authorization": f"token {site.token(course)}"}
    text = requests.get(f"{site.course_url(course)}hub/metrics", headers=token, timeout=30).text
    within, total = _interval_counts(text)
    assert total > 0, "the hub does not measure its event loop"
    assert within == total, f"{total - within:.0f} of {total:.0f} turns of the hub's loop took more than a second"


def _interval_counts(text: str) -> tuple[float, float]:
    name = "jupyterhub_event_loop_interval_seconds_bucket"
    buckets = {}
    for line in text.splitlines():
        if line.startswith(name):
            bound = line.split('le="')[1].split('"')[0]
            buckets[float(bound)] = float(line.rsplit(" ", 1)[1])
    within = max((count for bound, count in buckets.items() if bound <= 1.0), default=0.0)
    return within, buckets.get(float("inf"), 0.0)
