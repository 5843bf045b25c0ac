"""A course whose network has few addresses, on the real Swarm: Docker alone would start the next one later, unasked."""

from __future__ import annotations

import time

import pytest
from support.deployed import DeployedSite
from support.invariants import owners, running
from support.workload import enter, lost, reason_of_failure, stop_server, work

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("whole"), pytest.mark.timeout(600)]

SPAWNER = {"course_network": 28}
PLACES = 4  # of the 8 addresses for servers, one is for broadcasts and each machine has one


def test_f22_a_full_course_is_told_and_has_room_again(site: DeployedSite) -> None:
    sessions = work(site, [f"f22-{i}" for i in range(PLACES)], at_once=2)
    begin = time.monotonic()
    reason = reason_of_failure(site, "f22-late", seconds=10)
    assert time.monotonic() - begin < 10
    assert f"all {PLACES} places of its network are taken" in reason, reason
    time.sleep(10)
    assert running(site) == sorted(session.name for session in sessions), "one started later by itself"
    assert lost(sessions) == []
    assert enter(site, "f22-elsewhere", "beta"), "another course has places of its own"
    stop_server(site, "f22-elsewhere", "beta")
    stop_server(site, sessions[0].name)
    enter(site, "f22-late")
    assert owners(site) == {"f22-late", *(session.name for session in sessions[1:])}
