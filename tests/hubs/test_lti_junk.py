"""A hundred thousand malformed launches: no crash, no memory kept, no long line in the log, and real ones go on."""

from __future__ import annotations

import http.client
import os
import random
import re
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlencode, urlsplit

import pytest
from support.learning_platform import Launched, form_fields, launched_site, running_platform, visitor

pytestmark = [pytest.mark.long, pytest.mark.timeout(3600)]

COUNT = int(os.environ.get("COURSEWARE_JUNK", "100000"))
WORKERS = 6
SEED = 20260401
BITS = [
    "", "\x00", "\r\nSet-Cookie: a=b", "\u202e", "'; drop table users; --", "<script>", "%s%n", "a" * 3000,
    "\U0001f600", "../../..", "{{7*7}}", "null", "-1", "1e999", "e30=", "\ud7ff", "[]", "true",
]  # fmt: skip


@pytest.fixture(scope="module")
def alpha(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launched]:
    logins = [
        {"method": "lti13", "use": "moodle", "contexts": "any"},
        {"method": "lti11", "use": "old", "contexts": "any"},
    ]
    root = tmp_path_factory.mktemp("junk") / "site"
    with running_platform() as platform, launched_site(root, platform, authentication=logins) as launched:
        yield launched


def resident(pid: int) -> float:
    """Megabytes."""
    return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) / 1024  # type: ignore[index]


def junk(chance: random.Random, good: dict[str, dict[str, str]]) -> tuple[str, str, bytes]:
    """A method, the name of a page, and a body that is no launch."""
    page = chance.choice(["launch", "launch", "callback", "callback", "login", "open", "choose"])
    fields = dict(good[page])
    for _ in range(chance.randrange(1, 4)):
        name = chance.choice([*fields, chance.choice(BITS)])
        fields[name] = chance.choice([*BITS, fields.get(name, "") + chance.choice(BITS), fields.get(name, "")[1:]])
    body = urlencode(fields, errors="surrogatepass").encode()
    if chance.random() < 0.3:
        raw = bytearray(body)
        for _ in range(chance.randrange(1, 8)):
            raw[chance.randrange(len(raw))] = chance.randrange(256)
        body = bytes(raw)
    return chance.choice(["POST", "POST", "POST", "GET"]), page, body


def send(alpha: Launched, worker: int, good: dict[str, dict[str, str]], statuses: Counter[int]) -> None:
    chance = random.Random(SEED + worker)
    base = urlsplit(alpha.lti(""))
    for _ in range(COUNT // WORKERS):
        method, page, body = junk(chance, good)
        path = base.path + page + ("" if method == "POST" else f"?{quote(body, safe='=&%+')[:2000]}")
        connection = http.client.HTTPConnection(str(base.hostname), base.port, timeout=60)
        kind = chance.choice(["application/x-www-form-urlencoded"] * 8 + ["text/plain", ""])
        connection.request(method, path, body if method == "POST" else None, {"Content-Type": kind})
        statuses[connection.getresponse().status] += 1
        connection.close()


def test_a30_b02_b03_b04_junk_of_every_kind(alpha: Launched) -> None:
    platform = alpha.platform
    form = form_fields(platform.form(alpha.lti("launch"), "x"))
    token = {"state": "a.b", "id_token": platform.id_token("n", "42", alpha.url)}
    good = {
        "launch": form,
        "callback": token,
        "login": platform.initiation(alpha.url),
        "open": {"launch": "a.b"},
        "choose": {"launch": "a.b", "item": "start.ipynb"},
    }
    good["launch"]["oauth_signature"] = "x" + form["oauth_signature"]
    assert alpha.launch13(visitor(), "before").status_code == 303
    pid = alpha.site.hub("alpha")["pid"]
    before = resident(pid)
    statuses: Counter[int] = Counter()
    threads = [threading.Thread(target=send, args=(alpha, worker, good, statuses)) for worker in range(WORKERS)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert sum(statuses.values()) == COUNT // WORKERS * WORKERS, statuses
    assert not [status for status in statuses if status >= 500], statuses
    assert resident(pid) - before < 20, (before, resident(pid))
    assert alpha.site.hub("alpha")["pid"] == pid
    log = (alpha.site.folder.root / "state" / "logs" / "hub-alpha.log").read_text(errors="replace")
    assert max(map(len, log.split("\n"))) <= 1024 and "Traceback" not in log
    assert alpha.launch13(visitor(), "after").status_code == 303
