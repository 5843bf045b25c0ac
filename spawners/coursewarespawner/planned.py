"""A spawner whose containers are what a plan says: its settings, and of what a learner sends, one of `images`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

from dockerspawner import DockerSpawner
from traitlets import Bool, Callable, Float, Integer, List, Unicode, default, observe

from coursewarehub.model.names import normalise_name
from coursewarehub.wire import labels
from coursewarespawner import messages
from coursewarespawner.defaults import plan_from_traits
from coursewarespawner.image_choice import image_form, visible
from coursewarespawner.messages import StartFailed
from coursewarespawner.plan import ContainerPlan, Member, server_name


class PlannedSpawner(DockerSpawner):
    """A learner's server in a container that is what its plan says; its learner chooses one of `images` at most."""

    plan = Callable(
        None,
        allow_none=True,
        help="""What a member's container is: called with a `Member`, returns a `ContainerPlan`. By default it follows
        from `image`, `cmd`, `mem_limit`, `cpu_limit`, `network_name` and `storage`.""",
    ).tag(config=True)
    member = Callable(
        None,
        allow_none=True,
        help="Who somebody is in the course: called with a user name and the names of the user's groups, returns a "
        "`Member`.",
    ).tag(config=True)
    images = List(
        Unicode(),
        help="Images that learners choose from, the usual one first; with fewer than two there is nothing to choose. "
        "Needs a `plan` that reads `Member.image`.",
    ).tag(config=True)
    engine_url = Unicode(
        "unix:///var/run/docker.sock", help="Where the Docker Engine answers: `unix:///path` or `tcp://host:port`."
    ).tag(config=True)
    site_id = Unicode(
        "jupyterhub",
        help="What the objects of this hub have as label; different for different JupyterHubs on one engine.",
    ).tag(config=True)
    course_id = Unicode("hub", help="Label of this hub among those of the site.").tag(config=True)
    storage = Unicode(
        help="Without a `plan`: absolute path of the folder with the homes, on every machine; by default they are in "
        "memory.",
    ).tag(config=True)
    width = Integer(
        0, help="How many servers of this hub start at the same time; 0: one more than the machines have cores."
    ).tag(config=True)
    capacity = Callable(
        None,
        allow_none=True,
        help="How many servers have an address in the course's network, called with the number of machines (0 for one "
        "Docker host); by default it is not checked.",
    ).tag(config=True)
    obstacle = Callable(
        None,
        allow_none=True,
        help="Called before a start: a reason, as a sentence, why no server may start now, or None; may be async.",
    ).tag(config=True)
    lease_seconds = Integer(
        0, help="After how many seconds without its hub a server stops writing to its home; 0: it never does."
    ).tag(config=True)
    start_limit = Float(300.0, help="Seconds that a start may take from its turn in line on.").tag(config=True)
    ready_limit = Float(90.0, help="Seconds in which a server must answer once it runs.").tag(config=True)
    patience = Float(5.0, help="Seconds for which a start waits for room on a machine before it fails.").tag(
        config=True
    )
    early_route = Bool(
        True,
        help="""Tell the proxy of the server's address while the server is still starting, so that the route is
        there when the server is.""",
    ).tag(config=True)

    remove_unknown = Bool(
        False,
        help="""Remove servers that have this hub's labels and that its database does not know. Only where no other
        hub has the same `site_id` and `course_id`.""",
    ).tag(config=True)

    swarm: ClassVar[bool] = False
    spawn_id: str = ""
    """Id of the start to which the container belongs; empty when there is none."""
    _network: str = ""

    # -- settings that are not anybody's choice -----------------------------------------------------------------

    @default("env_keep")
    def _default_env_keep(self) -> list[str]:
        """Nothing of the hub's own environment."""
        return []

    @default("start_timeout")
    def _default_start_timeout(self) -> int:
        """Waiting in line is no reason to give up; `start_limit` is what bounds a start."""
        return 24 * 3600

    @default("options_form")
    def _default_options_form(self) -> str:
        """A choice of images where there is one."""
        return image_form(self.images, self.chosen_image or self.images[0]) if len(self.images) > 1 else ""

    def options_from_form(self, form_data: Any) -> dict[str, Any]:
        """The image that was chosen; a learner chooses nothing else. StartFailed for one that is not offered."""
        chosen = str(next(iter(form_data.get("image", ())), ""))
        if len(self.images) < 2 or not chosen:
            return {}
        if chosen not in self.images:
            raise StartFailed(messages.NO_SUCH_IMAGE, image=visible(chosen))
        return {"image": chosen}

    def options_from_query(self, query_data: Any) -> dict[str, Any]:
        """As for the form."""
        return self.options_from_form(query_data)

    @property
    def chosen_image(self) -> str:
        """The image that the learner chose last; empty when they did not, or when it is no longer offered."""
        chosen = self.user_options.get("image")
        return chosen if isinstance(chosen, str) and len(self.images) > 1 and chosen in self.images else ""

    def _get_allowed_images(self) -> dict[str, str]:
        return {}

    @observe("image")
    def _image_changed(self, change: Any) -> None:
        """The name of a container does not depend on its image."""

    @property
    def will_resume(self) -> bool:
        """A container is never started again: its token ends with it."""
        return False

    @default("object_name")
    def _object_name_default(self) -> str:
        return server_name(self.site_id, self.course_id, normalise_name(self.user.name), self.name)

    async def move_certs(self, paths: Any) -> Any:  # noqa: ARG002
        """Refused: the plan has no place for certificates."""
        raise StartFailed(messages.NOT_CONFIGURED, reason="containers do not take part in `internal_ssl`")

    # -- the plan -----------------------------------------------------------------------------------------------

    def _planned(self) -> ContainerPlan:
        """What this server's container is, as far as it does not change from start to start."""
        if self.plan is None:
            return plan_from_traits(self)
        groups = tuple(sorted(group.name for group in self.user.groups))
        member: Member = (
            self.member(self.user.name, groups) if self.member is not None else Member(self.user.name, None, groups)
        )
        plan: ContainerPlan = self.plan(replace(member, server=self.name, image=self.chosen_image))
        return plan

    def _complete(self, plan: ContainerPlan) -> ContainerPlan:
        """The plan of this one start: with the environment that JupyterHub gives, and the start's id."""
        self.image, self.network_name, self.cmd = plan.image, plan.network, list(plan.command)
        self.mem_limit, self.cpu_limit = plan.memory, plan.cpu
        self.mem_guarantee, self.cpu_guarantee = plan.memory_guarantee or None, plan.cpu_guarantee or None
        self.object_name, self.port, self._network = plan.name, plan.port, plan.network
        if plan.policy is not None:
            self.hub_connect_url = f"http://{plan.policy.site}:{plan.policy.port}"
        environment = {name: str(value) for name, value in self.get_env().items()}
        return replace(
            plan,
            environment={**environment, **plan.environment},
            labels={**plan.labels, labels.SPAWN: self.spawn_id},
        )
