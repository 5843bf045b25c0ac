"""The label that says what a container may reach, and the names of labels."""

from __future__ import annotations

import json

import pytest

from coursewarehub.wire import labels
from coursewarehub.wire.policy import EGRESS, NetworkPolicy

POLICY = NetworkPolicy("10.180.0.1", 8081, 8082, "registries", others=("10.0.0.5", "10.1.0.0/16"))


@pytest.mark.parametrize("policy", [POLICY, *(NetworkPolicy("10.180.0.10", 1, 65535, egress) for egress in EGRESS)])
def test_a_policy_reads_back(policy: NetworkPolicy) -> None:
    assert NetworkPolicy.decode(policy.encode()) == policy


def test_the_label_is_small_and_stays_the_same() -> None:
    assert POLICY.encode() == (
        '{"egress":"registries","others":["10.0.0.5","10.1.0.0/16"],"port":8081,"registries_port":8082,'
        '"server_port":8888,"site":"10.180.0.1"}'
    )


@pytest.mark.parametrize(
    "change",
    [
        {"egress": "all"},
        {"egress": None},
        {"port": "8081"},
        {"port": 0},
        {"port": True},
        {"registries_port": 65536},
        {"server_port": None},
        {"site": "example.org"},
        {"site": "10.180.0.1 -j ACCEPT"},
        {"site": 3},
        {"others": ["0.0.0.0/99"]},
        {"others": ["10.0.0.0/0.255.255.255"]},
        {"others": ["10.0.0.0/255.0.0.0"]},
        {"others": ["10.1.2.3/8"]},
        {"others": ["10.0.0.0/8 -j ACCEPT"]},
        {"others": "10.0.0.0/8"},
        {"egress": ["open"]},
        {"others": [3]},
        {"others": None},
        {"more": 1},
    ],
)
def test_anything_else_is_no_policy(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="not a network policy"):
        NetworkPolicy.decode(json.dumps(json.loads(POLICY.encode()) | change))


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", "open", "[" * 100_000, "1" * 10_000])
def test_other_text_is_no_policy(text: str) -> None:
    with pytest.raises(ValueError, match="not a network policy"):
        NetworkPolicy.decode(text)


def test_a_node_is_ready_for_an_image_of_a_site() -> None:
    names = {labels.ready(site, image) for site in ("a", "b") for image in ("x:1", "x:2")}
    assert len(names) == 4
    assert all(name.startswith("courseware.ready.") and len(name) <= 63 for name in names)
    assert labels.ready("a", "x:1") == labels.ready("a", "x:1")
