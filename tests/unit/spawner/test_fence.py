"""How long a lost server is waited for."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from coursewarespawner.fence import Lost

LOST = Lost(1000.0, "n2", "node-id", "spawn-id", leased=True)


@pytest.mark.parametrize(
    ("now", "fence", "left"),
    [
        (1000.0, 75.0, 75.0),
        (1030.0, 75.0, 45.0),
        (1075.0, 75.0, 0.0),
        (2000.0, 75.0, -925.0),
        (500.0, 75.0, 75.0),
        (1000.0, 0.0, 0.0),
    ],
)
def test_seconds_left(now: float, fence: float, left: float) -> None:
    assert LOST.seconds_left(now, fence) == left


@pytest.mark.parametrize("now", [1000.0, 1e9])
def test_without_a_lease_it_never_stops_by_itself(now: float) -> None:
    assert replace(LOST, leased=False).seconds_left(now, 75.0) == math.inf


def test_confirmed_later_counts_anew() -> None:
    assert LOST.from_now(1050.0) == replace(LOST, since=1050.0)


def test_is_kept_as_json() -> None:
    assert Lost.from_state(json.loads(json.dumps(LOST.to_state()))) == LOST


@pytest.mark.parametrize("state", [None, "x", {}, {"since": "yesterday"}, []])
def test_what_is_no_lost_server_is_none(state: object) -> None:
    assert Lost.from_state(state) is None


def test_unknown_words_of_a_later_version_do_no_harm() -> None:
    assert Lost.from_state({"since": 5, "more": "x", "leased": "x"}) == Lost(5.0)
