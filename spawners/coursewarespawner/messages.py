"""What learners are told while their server starts, when it does not, and when it has ended.

Each is a template, marked for translation; `Told` remembers what a sentence was made of, so that a page can say it in
its reader's language.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from jupyterhub.spawner import SpawnException

from coursewarehub.engine.states import Reason
from coursewarehub.i18n import N_

# -- while it starts ----------------------------------------------------------------------------------------------

NEXT_IN_LINE: Final = N_("You are next in line, about %(seconds)s s.")
IN_LINE: Final = N_("You are number %(queue_position)s in line, about %(seconds)s s.")
IN_LINE_UNKNOWN: Final = N_("You are number %(queue_position)s in line.")
PREPARING: Final = N_("Your home folder is being prepared.")
PULLING: Final = N_("Fetching the image: %(percent)s %%")
PREPARING_ON: Final = N_("Your server is being prepared on %(node)s.")
STARTING: Final = "Starting"
"""Known to the pages already."""
STARTING_ON: Final = N_("Your server starts on %(node)s.")
FENCED: Final = N_(
    "The machine that your last server ran on does not answer. A new one starts in about %(seconds)s s, when the last "
    "one has stopped for certain, so that the two cannot overwrite each other's work."
)

FENCED_WITHOUT_LEASE: Final = N_(
    "The machine that your last server ran on (%(node)s) does not answer. A new one starts when that machine is back "
    "or was removed by the operator, so that the two cannot overwrite each other's work. Tell your instructor."
)
PROGRESS: Final = (
    NEXT_IN_LINE,
    IN_LINE,
    IN_LINE_UNKNOWN,
    PREPARING,
    PULLING,
    PREPARING_ON,
    STARTING_ON,
    FENCED,
    FENCED_WITHOUT_LEASE,
)
"""All of these, for a page that says them in its reader's language."""

# -- when it does not start ---------------------------------------------------------------------------------------

COURSE_FULL: Final = N_(
    "This course is full: all %(places)s places of its network are taken. Try again when somebody has stopped their "
    "server."
)
NAME_TAKEN: Final = N_(
    "Your server could not be started: something that does not belong to this site has its name, `%(name)s`. Tell your "
    "instructor; the operator can rename or remove it."
)
ENGINE_SILENT: Final = N_(
    "The machine that starts servers does not answer at the moment. Your files are safe. Try again in a minute."
)
ENGINE_NO_LEADER: Final = N_(
    "The machines that start servers have lost each other. Servers that run go on; new ones start when most of the "
    "machines are back. Try again in a few minutes."
)
ENGINE_FAILED: Final = N_(
    "The machine that starts servers reports an error of its own. Try again in a minute; if it happens again, tell "
    "your instructor."
)
ENGINE_MISSING: Final = N_(
    "The site cannot use the Docker Engine that starts servers. Tell your instructor; `coursewarehub doctor` tells the "
    "operator what to mend."
)
ENDED: Final = N_(
    "Your server ended while it was starting. %(reason)s Try once more; if it happens again, tell your instructor."
)
ENDED_IN_ORDER: Final = N_(
    "Your server ended while it was starting. Try once more; if it happens again, tell your instructor."
)
REMOVED: Final = N_("Your server was removed while it was starting. Try again in a minute.")
NOT_STARTED: Final = N_("Your server did not start. %(reason)s Tell your instructor what this page says.")
NO_MACHINE_READY: Final = N_(
    "No machine is ready for this course: its image %(image)s or its folder is missing there. Try again in a minute; "
    "if it stays so, tell your instructor."
)
TOO_SLOW: Final = N_(
    "Your server did not answer within %(seconds)s s of its start and was stopped. Try once more; if it happens again, "
    "tell your instructor."
)
OBSTACLE: Final = N_("No server can be started now. %(reason)s Tell your instructor; the operator has to mend it.")
IMAGE_MISSING: Final = N_(
    "Your server could not be started: the image `%(image)s` is not there and could not be fetched. Tell your "
    "instructor; the operator can build or push it."
)
NO_SUCH_IMAGE: Final = N_("This course has no image %(image)s: choose one of the list.")
NOT_CONFIGURED: Final = N_(
    "Your server could not be started: %(reason)s. Tell your instructor; the operator has to mend it."
)
STOPPING: Final = N_(
    "Your last server has not ended yet: the machine that runs it does not answer. Try again in a minute."
)

STORAGE_MISSING: Final = N_(
    "The storage with the home folders is not there, so your server was not started. Tell your instructor; the "
    "operator has to mount it again."
)
STORAGE_FULL: Final = N_(
    "The storage with the home folders is full, so your server was not started. Tell your instructor; the operator has "
    "to make room on it."
)
STORAGE_READ_ONLY: Final = N_(
    "The storage with the home folders can only be read, so your server was not started. Tell your instructor; the "
    "operator has to make it writable again."
)
STORAGE_FORBIDDEN: Final = N_(
    "The site may not make or hand over your home folder, so your server was not started. Tell your instructor; the "
    "operator has to run the site as root and export the storage without squashing root."
)
STORAGE_FAILED: Final = N_(
    "The storage with the home folders does not work, so your server was not started. Tell your instructor; the log of "
    "the hub says what the operator has to mend."
)
STORAGE_SILENT: Final = N_(
    "The storage with the home folders does not answer, so your server was not started. Try again in a minute; if it "
    "happens again, tell your instructor."
)

# -- when it has ended --------------------------------------------------------------------------------------------

LOST: Final = N_(
    "The machine that your server ran on does not answer any more. Your files are safe as you last saved them; start "
    "your server again to go on."
)
GONE: Final = N_("Your server was removed by somebody else. Your files are safe; start it again to go on.")
INTERRUPTED: Final = N_("The start of your server was interrupted. Your files are safe; start it again.")
STOPPED: Final = N_("Your server has ended. %(reason)s Your files are safe; start it again to go on.")


@dataclass(frozen=True)
class Told:
    """A template and what goes into it, which may be told in turn; `str` is the sentence in English."""

    template: str
    values: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, reason: Reason) -> Told:
        """What the engine's state means, as something to tell."""
        return cls(reason.template, reason.values)

    def __str__(self) -> str:
        return self.translated(str)

    def translated(self, gettext: Callable[[str], str]) -> str:
        """The sentence in the language of `gettext`."""
        values = {
            name: value.translated(gettext) if isinstance(value, Told | Reason) else value
            for name, value in self.values.items()
        }
        return gettext(self.template) % values

    def to_state(self) -> dict[str, Any]:
        """As JSON can keep it."""
        return {"template": self.template, "values": {name: _kept(value) for name, value in self.values.items()}}

    @classmethod
    def from_state(cls, state: Any) -> Told | None:
        """What `to_state` gave; None for anything else."""
        try:
            values = {str(name): _found(value) for name, value in state["values"].items()}
            told = cls(str(state["template"]), values)
            str(told)
        except (TypeError, KeyError, AttributeError, ValueError):
            return None
        return told


def _kept(value: Any) -> Any:
    if isinstance(value, Reason):
        return Told.of(value).to_state()
    return value.to_state() if isinstance(value, Told) else value


def _found(value: Any) -> Any:
    return Told.from_state(value) or "" if isinstance(value, dict) else value


class StartFailed(SpawnException):
    """No server was started, and `told` says why and what to do; `detail` is for the log alone.

    JupyterHub shows it and logs one line, no traceback.
    """

    def __init__(self, template: str, *, detail: str = "", **values: Any) -> None:
        self.told = Told(template, values)
        self.detail = detail
        text = str(self.told)
        self.jupyterhub_message = text
        log_message = f"{text} ({detail})" if detail else text
        super().__init__(text, reason="not-started", log_message=log_message, status_code=503)

    def __str__(self) -> str:
        return str(self.told)


class NotPlaced(StartFailed):
    """No server was started because of where it was to run: `machine` is the id of the one that would not run it.

    It is empty when no machine took it.
    """

    def __init__(self, template: str, *, machine: str, **values: Any) -> None:
        super().__init__(template, **values)
        self.machine = machine
