"""A plan as the Docker Engine wants to hear it. Pure: from a plan to the body of one POST.

What a container may do is said here in full, so that nothing depends on how an engine is set up; what the engine's
API cannot say of a service is left to its nodes, and `docs/explanation/containers.md` tells which that is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from coursewarehub.wire import labels
from coursewarespawner.plan import ContainerPlan

_NANO: Final = 1_000_000_000
_SHARES: Final = 1024
_SHM: Final = "/dev/shm"  # noqa: S108 - in the container, which is the learner's alone
_EXECUTABLE: Final = frozenset({"/tmp"})  # noqa: S108
"""Temporary folders from which programs may run: compilers and packages with native parts unpack themselves there."""
_EVERYBODYS: Final = frozenset({"/tmp", "/var/tmp"})  # noqa: S108
"""Temporary folders with the mode that everybody knows; the others are the learner's own."""

_SERVICE_PRIVILEGES: Final = (1, 44)
"""The first API that can forbid new privileges in a service."""
_SERVICE_TMPFS_OPTIONS: Final = (1, 46)
"""The first API that can let programs run from a service's temporary folder."""
GPU_RESOURCE: Final = "NVIDIA-GPU"
"""What a node's `node-generic-resources` call a graphics processor."""


def container_payload(plan: ContainerPlan) -> dict[str, Any]:
    """Return the body of `POST /containers/create`; the name goes into its query."""
    return {
        "Image": plan.image,
        **({"Cmd": list(plan.command)} if plan.command else {}),
        "Env": _environment(plan.environment),
        "Labels": dict(plan.labels),
        "User": plan.user,
        "WorkingDir": plan.working_dir,
        "ExposedPorts": {f"{plan.port}/tcp": {}},
        "StopTimeout": plan.stop_grace,
        "HostConfig": _host_configuration(plan),
        "NetworkingConfig": {"EndpointsConfig": {plan.network: {}}},
    }


def _host_configuration(plan: ContainerPlan) -> dict[str, Any]:
    return {
        "NetworkMode": plan.network,
        "Privileged": False,
        "CapDrop": ["ALL"],
        "SecurityOpt": ["no-new-privileges"],
        "ReadonlyRootfs": plan.read_only,
        "IpcMode": "private",
        "Init": True,
        "PidsLimit": plan.pids,
        # No swap: memory and swap together are the memory.
        "Memory": plan.memory,
        "MemorySwap": plan.memory,
        **({"MemoryReservation": plan.memory_guarantee} if plan.memory_guarantee else {}),
        "NanoCpus": _nano(plan.cpu),
        **({"CpuShares": max(2, int(plan.cpu_guarantee * _SHARES))} if plan.cpu_guarantee else {}),
        "ShmSize": plan.shared_memory,
        "Ulimits": _ulimits(plan),
        "Mounts": [
            {
                "Type": "bind",
                "Source": mount.source,
                "Target": mount.target,
                "ReadOnly": mount.read_only,
                "BindOptions": {"Propagation": "rprivate"},
            }
            for mount in plan.mounts
        ],
        "Tmpfs": {path: _tmpfs_options(plan, path) for path in plan.tmpfs},
        "GroupAdd": list(plan.groups),
        "ExtraHosts": [f"{name}:{address}" for name, address in plan.hosts.items()],
        "LogConfig": {"Type": "json-file", "Config": _log_options(plan)},
        "RestartPolicy": {"Name": "no"},
        "AutoRemove": False,
        **({"StorageOpt": {"size": str(plan.disk)}} if plan.disk else {}),
        **({"Runtime": plan.runtime} if plan.runtime else {}),
        **({"DeviceRequests": [{"Count": plan.gpus, "Capabilities": [["gpu"]]}]} if plan.gpus else {}),
    }


def service_payload(plan: ContainerPlan, api: tuple[int, int] = (1, 41)) -> dict[str, Any]:
    """Return the body of `POST /services/create` for an engine that speaks this version of the API.

    Raises ValueError, with a sentence, for a plan with a runtime of its own: no API can say that of a service.
    """
    if plan.runtime:
        raise ValueError(
            f"a service cannot choose the runtime `{plan.runtime}`: make it the `default-runtime` of the nodes' engines"
            " and leave `spawner.runtime` out"
        )
    return {
        "Name": plan.name,
        "Labels": dict(plan.labels),
        "TaskTemplate": {
            "ContainerSpec": _container_spec(plan, api),
            "Resources": _resources(plan),
            "RestartPolicy": {"Condition": "none"},
            "Placement": {
                "Constraints": list(plan.constraints),
                "Preferences": [{"Spread": {"SpreadDescriptor": label}} for label in plan.preferences],
            },
            "Networks": [{"Target": plan.network}],
            "LogDriver": {"Name": "json-file", "Options": _log_options(plan)},
        },
        "Mode": {"Replicated": {"Replicas": 1}},
        "EndpointSpec": {"Mode": "dnsrr"},
    }


def _container_spec(plan: ContainerPlan, api: tuple[int, int]) -> dict[str, Any]:
    return {
        "Image": plan.image,
        **({"Args": list(plan.command)} if plan.command else {}),
        "Env": _environment(plan.environment),
        "Labels": dict(plan.labels),
        "User": plan.user,
        "Groups": list(plan.groups),
        "Dir": plan.working_dir,
        "Init": True,
        "ReadOnly": plan.read_only,
        "CapabilityDrop": ["ALL"],
        "Ulimits": _ulimits(plan),
        "Hosts": [f"{address} {name}" for name, address in plan.hosts.items()],
        "StopGracePeriod": plan.stop_grace * _NANO,
        "Mounts": _service_mounts(plan, api),
        **({"Privileges": {"NoNewPrivileges": True}} if api >= _SERVICE_PRIVILEGES else {}),
    }


def _service_mounts(plan: ContainerPlan, api: tuple[int, int]) -> list[dict[str, Any]]:
    binds = [
        {"Type": "bind", "Source": mount.source, "Target": mount.target, "ReadOnly": mount.read_only}
        for mount in plan.mounts
    ]
    temporary = [_service_tmpfs(plan, path, api) for path in plan.tmpfs]
    shared = {"Type": "tmpfs", "Target": _SHM, "TmpfsOptions": {"SizeBytes": plan.shared_memory, "Mode": 0o1777}}
    return [*binds, *temporary, shared]


def _service_tmpfs(plan: ContainerPlan, path: str, api: tuple[int, int]) -> dict[str, Any]:
    """A temporary folder of a service: nothing runs from it unless that can be asked for.

    Where it cannot, a volume on a tmpfs takes its place. It has a name, because Swarm makes one without a name twice
    and removes it once; what stays on the node is the name, and nothing of what was in it.
    """
    size = plan.tmpfs[path]
    options: dict[str, Any] = {"SizeBytes": size, "Mode": 0o1777}
    if path not in _EXECUTABLE:
        return {"Type": "tmpfs", "Target": path, "TmpfsOptions": options}
    if api >= _SERVICE_TMPFS_OPTIONS:
        return {"Type": "tmpfs", "Target": path, "TmpfsOptions": {**options, "Options": [["exec"]]}}
    on_tmpfs = {"type": "tmpfs", "device": "tmpfs", "o": _tmpfs_options(plan, path)}
    return {
        "Type": "volume",
        "Source": f"{plan.name}-{size}",
        "Target": path,
        "VolumeOptions": {
            "NoCopy": True,
            "Labels": {name: plan.labels[name] for name in (labels.SITE, labels.COURSE) if name in plan.labels},
            "DriverConfig": {"Name": "local", "Options": on_tmpfs},
        },
    }


def _resources(plan: ContainerPlan) -> dict[str, Any]:
    return {
        "Limits": {"MemoryBytes": plan.memory, "NanoCPUs": _nano(plan.cpu), "Pids": plan.pids},
        "Reservations": {
            **({"MemoryBytes": plan.memory_guarantee} if plan.memory_guarantee else {}),
            **({"NanoCPUs": _nano(plan.cpu_guarantee)} if plan.cpu_guarantee else {}),
            **(
                {"GenericResources": [{"DiscreteResourceSpec": {"Kind": GPU_RESOURCE, "Value": plan.gpus}}]}
                if plan.gpus
                else {}
            ),
        },
    }


def _environment(environment: Mapping[str, str]) -> list[str]:
    return [f"{name}={value}" for name, value in environment.items()]


def _ulimits(plan: ContainerPlan) -> list[dict[str, Any]]:
    limits = {"nofile": plan.open_files, "core": 0, **plan.ulimits}
    return [{"Name": name, "Soft": limit, "Hard": limit} for name, limit in limits.items()]


def _tmpfs_options(plan: ContainerPlan, path: str) -> str:
    uid, _, gid = plan.user.partition(":")
    whose = "mode=1777" if path in _EVERYBODYS else f"mode=0755,uid={uid},gid={gid}"
    return f"size={plan.tmpfs[path]},{whose},nosuid,nodev,{'exec' if path in _EXECUTABLE else 'noexec'}"


def _log_options(plan: ContainerPlan) -> dict[str, str]:
    return {"max-size": str(plan.log_bytes), "max-file": str(plan.log_files)}


def _nano(cores: float) -> int:
    return round(cores * _NANO)
