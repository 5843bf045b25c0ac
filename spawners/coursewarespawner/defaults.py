"""What a container is in a JupyterHub that nobody assembled from a site and a course: a plan from traits."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from coursewarehub.model.names import normalise_name
from coursewarehub.wire import labels
from coursewarespawner import messages
from coursewarespawner.messages import StartFailed
from coursewarespawner.plan import HOME, ContainerPlan, Mount, home_name, homes_folder, learner_id, server_name

_MIB: Final = 1024**2
_MEMORY: Final = 2048 * _MIB
_CORES: Final = 2.0
_HOME_WITHOUT_STORAGE: Final = 1024 * _MIB

NOT_TAKEN: Final = (
    "volumes",
    "read_only_volumes",
    "mounts",
    "links",
    "extra_create_kwargs",
    "extra_host_config",
    "extra_container_spec",
    "extra_resources_spec",
    "extra_placement_spec",
    "extra_task_spec",
    "extra_endpoint_spec",
    "volume_driver",
    "post_start_cmd",
    "tls_config",
    "client_kwargs",
)
"""Settings of DockerSpawner and SwarmSpawner that would go round a plan."""


def refuse_what_is_not_taken(spawner: Any) -> None:
    """Raise StartFailed when a setting is used that would go round the plan: nothing is left out in silence."""
    used = [name for name in NOT_TAKEN if getattr(spawner, name, None)]
    if used:
        reason = f"{type(spawner).__name__} does not take `{used[0]}`; what a container is, its `plan` says"
        raise StartFailed(messages.NOT_CONFIGURED, reason=reason)


def plan_from_traits(spawner: Any) -> ContainerPlan:
    """Return the plan that follows from `image`, `cmd`, `mem_limit`, `cpu_limit`, `network_name` and `storage`.

    Without `storage` the home is in memory, and is gone when the server stops. Raises StartFailed when there is no
    network.
    """
    if not spawner.network_name:
        reason = f"`{type(spawner).__name__}.network_name` must name a network"
        raise StartFailed(messages.NOT_CONFIGURED, reason=reason)
    name = normalise_name(spawner.user.name)
    uid = learner_id(spawner.site_id, spawner.course_id, name)
    storage = Path(spawner.storage) if spawner.storage else None
    temporary = {"/tmp": 256 * _MIB, "/run": 16 * _MIB}  # noqa: S108 - in the container
    return ContainerPlan(
        name=server_name(spawner.site_id, spawner.course_id, name, spawner.name),
        image=spawner.image,
        command=tuple(spawner.cmd or ()),
        environment={"HOME": HOME, "USER": name, "JUPYTERHUB_ROOT_DIR": HOME},
        labels={
            labels.SITE: spawner.site_id,
            labels.COURSE: spawner.course_id,
            labels.USER: name,
            labels.SERVER: spawner.name,
            labels.KIND: labels.KIND_SERVER,
            labels.IMAGE: spawner.image,
        },
        user=f"{uid}:{uid}",
        memory=int(spawner.mem_limit or _MEMORY),
        memory_guarantee=int(spawner.mem_guarantee or 0),
        cpu=float(spawner.cpu_limit or _CORES),
        cpu_guarantee=float(spawner.cpu_guarantee or 0),
        pids=1024,
        network=spawner.network_name,
        mounts=(Mount(str(homes_folder(storage, spawner.course_id) / home_name(name)), HOME),) if storage else (),
        tmpfs=temporary if storage else {**temporary, HOME: _HOME_WITHOUT_STORAGE},
    )
