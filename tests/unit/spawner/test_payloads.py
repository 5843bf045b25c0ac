"""A plan as the Docker Engine hears it, as whole values."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from coursewarespawner.payloads import container_payload, service_payload
from coursewarespawner.plan import ContainerPlan, Mount

MIB = 1024**2
GIB = 1024**3
PLAN = ContainerPlan(
    name="jupyter-alpha-sam-x",
    image="teaching/base:1",
    command=("coursewarehub-singleuser", "--x"),
    environment={"HOME": "/home/learner", "TEXT": "a=b c"},
    labels={"coursewarehub.site": "s"},
    user="100001:100001",
    memory=2 * GIB,
    cpu=1.5,
    pids=512,
    network="course-net",
    mounts=(Mount("/srv/h", "/home/learner"), Mount("/srv/c", "/srv/courseware/content", read_only=True)),
    tmpfs={"/tmp": 256 * MIB, "/run": 16 * MIB},
    groups=("100002",),
    memory_guarantee=GIB,
    cpu_guarantee=0.25,
    shared_memory=64 * MIB,
    open_files=4096,
    ulimits={"memlock": 65536, "core": 5},
    hosts={"pypi.org": "10.180.0.10"},
    constraints=("node.labels.zone==campus",),
    preferences=("node.labels.rack",),
)
PLAIN = replace(
    PLAN,
    command=(),
    groups=(),
    hosts={},
    mounts=(),
    memory_guarantee=0,
    cpu_guarantee=0.0,
    ulimits={},
    constraints=(),
    preferences=(),
)
ULIMITS = [
    {"Name": "nofile", "Soft": 4096, "Hard": 4096},
    {"Name": "core", "Soft": 5, "Hard": 5},
    {"Name": "memlock", "Soft": 65536, "Hard": 65536},
]
CONTAINER: dict[str, Any] = {
    "Image": "teaching/base:1",
    "Cmd": ["coursewarehub-singleuser", "--x"],
    "Env": ["HOME=/home/learner", "TEXT=a=b c"],
    "Labels": {"coursewarehub.site": "s"},
    "User": "100001:100001",
    "WorkingDir": "/home/learner",
    "ExposedPorts": {"8888/tcp": {}},
    "StopTimeout": 30,
    "HostConfig": {
        "NetworkMode": "course-net",
        "Privileged": False,
        "CapDrop": ["ALL"],
        "SecurityOpt": ["no-new-privileges"],
        "ReadonlyRootfs": True,
        "IpcMode": "private",
        "Init": True,
        "PidsLimit": 512,
        "Memory": 2 * GIB,
        "MemorySwap": 2 * GIB,
        "MemoryReservation": GIB,
        "NanoCpus": 1_500_000_000,
        "CpuShares": 256,
        "ShmSize": 64 * MIB,
        "Ulimits": ULIMITS,
        "Mounts": [
            {
                "Type": "bind",
                "Source": "/srv/h",
                "Target": "/home/learner",
                "ReadOnly": False,
                "BindOptions": {"Propagation": "rprivate"},
            },
            {
                "Type": "bind",
                "Source": "/srv/c",
                "Target": "/srv/courseware/content",
                "ReadOnly": True,
                "BindOptions": {"Propagation": "rprivate"},
            },
        ],
        "Tmpfs": {
            "/tmp": "size=268435456,mode=1777,nosuid,nodev,exec",
            "/run": "size=16777216,mode=0755,uid=100001,gid=100001,nosuid,nodev,noexec",
        },
        "GroupAdd": ["100002"],
        "ExtraHosts": ["pypi.org:10.180.0.10"],
        "LogConfig": {"Type": "json-file", "Config": {"max-size": "10485760", "max-file": "3"}},
        "RestartPolicy": {"Name": "no"},
        "AutoRemove": False,
    },
    "NetworkingConfig": {"EndpointsConfig": {"course-net": {}}},
}
SHM = {"Type": "tmpfs", "Target": "/dev/shm", "TmpfsOptions": {"SizeBytes": 64 * MIB, "Mode": 0o1777}}


TMP = {
    "Type": "volume",
    "Source": f"jupyter-alpha-sam-x-{256 * MIB}",
    "Target": "/tmp",
    "VolumeOptions": {
        "NoCopy": True,
        "Labels": {"coursewarehub.site": "s"},
        "DriverConfig": {
            "Name": "local",
            "Options": {"type": "tmpfs", "device": "tmpfs", "o": CONTAINER["HostConfig"]["Tmpfs"]["/tmp"]},
        },
    },
}
NEW_TMP = {
    "Type": "tmpfs",
    "Target": "/tmp",
    "TmpfsOptions": {"SizeBytes": 256 * MIB, "Mode": 0o1777, "Options": [["exec"]]},
}
RUN = {"Type": "tmpfs", "Target": "/run", "TmpfsOptions": {"SizeBytes": 16 * MIB, "Mode": 0o1777}}
BINDS = [
    {"Type": "bind", "Source": "/srv/h", "Target": "/home/learner", "ReadOnly": False},
    {"Type": "bind", "Source": "/srv/c", "Target": "/srv/courseware/content", "ReadOnly": True},
]
SERVICE: dict[str, Any] = {
    "Name": "jupyter-alpha-sam-x",
    "Labels": {"coursewarehub.site": "s"},
    "TaskTemplate": {
        "ContainerSpec": {
            "Image": "teaching/base:1",
            "Args": ["coursewarehub-singleuser", "--x"],
            "Env": ["HOME=/home/learner", "TEXT=a=b c"],
            "Labels": {"coursewarehub.site": "s"},
            "User": "100001:100001",
            "Groups": ["100002"],
            "Dir": "/home/learner",
            "Init": True,
            "ReadOnly": True,
            "CapabilityDrop": ["ALL"],
            "Ulimits": ULIMITS,
            "Hosts": ["10.180.0.10 pypi.org"],
            "StopGracePeriod": 30_000_000_000,
            "Mounts": [*BINDS, TMP, RUN, SHM],
        },
        "Resources": {
            "Limits": {"MemoryBytes": 2 * GIB, "NanoCPUs": 1_500_000_000, "Pids": 512},
            "Reservations": {"MemoryBytes": GIB, "NanoCPUs": 250_000_000},
        },
        "RestartPolicy": {"Condition": "none"},
        "Placement": {
            "Constraints": ["node.labels.zone==campus"],
            "Preferences": [{"Spread": {"SpreadDescriptor": "node.labels.rack"}}],
        },
        "Networks": [{"Target": "course-net"}],
        "LogDriver": {"Name": "json-file", "Options": {"max-size": "10485760", "max-file": "3"}},
    },
    "Mode": {"Replicated": {"Replicas": 1}},
    "EndpointSpec": {"Mode": "dnsrr"},
}


def without(payload: dict[str, Any], *paths: str) -> dict[str, Any]:
    """A copy in which the keys at these paths are missing."""
    copy: dict[str, Any] = json.loads(json.dumps(payload))
    for path in paths:
        *folders, last = path.split("/")
        place = copy
        for folder in folders:
            place = place[folder]
        del place[last]
    return copy


def changed(payload: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """A copy in which the values at these paths are others."""
    copy: dict[str, Any] = json.loads(json.dumps(payload))
    for path, value in changes.items():
        *folders, last = path.split("/")
        place = copy
        for folder in folders:
            place = place[folder]
        place[last] = value
    return copy


def test_container_says_everything() -> None:
    assert container_payload(PLAN) == CONTAINER


def test_container_with_nothing_special() -> None:
    expected = without(CONTAINER, "Cmd", "HostConfig/MemoryReservation", "HostConfig/CpuShares")
    nothing: dict[str, Any] = {"HostConfig/Mounts": [], "HostConfig/GroupAdd": [], "HostConfig/ExtraHosts": []}
    core = {"Name": "core", "Soft": 0, "Hard": 0}
    assert container_payload(PLAIN) == changed(expected, {**nothing, "HostConfig/Ulimits": [ULIMITS[0], core]})


def test_container_with_gpus_disk_and_runtime() -> None:
    made = container_payload(replace(PLAN, gpus=2, disk=5 * GIB, runtime="runsc"))
    assert made == changed(
        CONTAINER,
        {
            "HostConfig/DeviceRequests": [{"Count": 2, "Capabilities": [["gpu"]]}],
            "HostConfig/StorageOpt": {"size": str(5 * GIB)},
            "HostConfig/Runtime": "runsc",
        },
    )


def test_service_says_everything() -> None:
    assert service_payload(PLAN) == SERVICE


def test_service_with_nothing_special() -> None:
    spec = "TaskTemplate/ContainerSpec"
    expected = without(SERVICE, f"{spec}/Args")
    assert service_payload(PLAIN) == changed(
        expected,
        {
            f"{spec}/Mounts": [TMP, RUN, SHM],
            f"{spec}/Groups": [],
            f"{spec}/Hosts": [],
            f"{spec}/Ulimits": [ULIMITS[0], {"Name": "core", "Soft": 0, "Hard": 0}],
            "TaskTemplate/Resources/Reservations": {},
            "TaskTemplate/Placement": {"Constraints": [], "Preferences": []},
        },
    )


def test_service_with_gpus() -> None:
    generic = [{"DiscreteResourceSpec": {"Kind": "NVIDIA-GPU", "Value": 2}}]
    place = "TaskTemplate/Resources/Reservations/GenericResources"
    assert service_payload(replace(PLAN, gpus=2)) == changed(SERVICE, {place: generic})


@pytest.mark.parametrize(
    ("api", "no_new_privileges", "temporary"),
    [
        ((1, 41), False, TMP),
        ((1, 43), False, TMP),
        ((1, 44), True, TMP),
        ((1, 45), True, TMP),
        ((1, 46), True, NEW_TMP),
        ((2, 0), True, NEW_TMP),
    ],
)
def test_newer_engines_are_told_more(api: tuple[int, int], no_new_privileges: bool, temporary: dict[str, Any]) -> None:
    changes: dict[str, Any] = {"TaskTemplate/ContainerSpec/Mounts": [*BINDS, temporary, RUN, SHM]}
    if no_new_privileges:
        changes["TaskTemplate/ContainerSpec/Privileges"] = {"NoNewPrivileges": True}
    assert service_payload(PLAN, api) == changed(SERVICE, changes)


def test_service_with_a_runtime_is_refused_in_a_sentence() -> None:
    with pytest.raises(ValueError, match=r"^a service cannot choose the runtime `runsc`: .*default-runtime"):
        service_payload(replace(PLAN, runtime="runsc"))


@pytest.mark.parametrize("payload", [container_payload(PLAN), service_payload(PLAN)])
def test_nothing_of_the_engine_is_in_reach(payload: dict[str, Any]) -> None:
    text = json.dumps(payload)
    assert "docker.sock" not in text and "seccomp" not in text and '"CapAdd"' not in text
