"""What learners are told: sentences that name the thing and the fix, in any language, and known again later."""

from __future__ import annotations

import json
import re

import pytest
from jupyterhub.spawner import SpawnException

from coursewarehub.engine.states import Facts, Reason, reason_of_words
from coursewarespawner import messages
from coursewarespawner.messages import StartFailed, Told

TEMPLATES = {
    name: value for name, value in vars(messages).items() if name.isupper() and isinstance(value, str) and " " in value
}
REASON = reason_of_words("No such image: teaching/base:1", Facts(image="teaching/base:1", machine="n2"))


def filled(template: str) -> Told:
    names = re.findall(r"%\((\w+)\)s", template)
    return Told(template, {name: 3 if name in {"seconds", "queue_position", "percent"} else name for name in names})


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=TEMPLATES)
def test_every_template_can_be_filled(template: str) -> None:
    text = str(filled(template))
    assert "%(" not in text and text[0].isupper()
    assert text.endswith((".", "%"))


ADVICE = ("Try ", "Tell ", "tell your instructor", "start it again", "start your server again")


@pytest.mark.parametrize(
    "template",
    [value for name, value in TEMPLATES.items() if len(value) > 80 and name != "FENCED"],
)
def test_who_is_refused_is_told_what_to_do(template: str) -> None:
    assert any(advice in template for advice in ADVICE)


def test_failure_is_jupyterhubs_own_and_shows_no_detail() -> None:
    failure = StartFailed(messages.COURSE_FULL, detail="/srv/secret place", places=11)
    assert isinstance(failure, SpawnException)
    assert failure.jupyterhub_message == str(failure) == str(failure.told) == failure.message
    assert failure.jupyterhub_message.startswith("This course is full: all 11 places of its network are taken.")
    assert "secret" not in failure.jupyterhub_message and "/srv/secret place" in failure.log_message
    assert failure.status_code == 503


def test_a_sentence_within_a_sentence_is_translated_too() -> None:
    told = Told(messages.NOT_STARTED, {"reason": REASON})
    assert str(told) == (
        "Your server did not start. The image teaching/base:1 is not on the machine n2. "
        "Tell your instructor what this page says."
    )
    catalogue = {messages.NOT_STARTED: "<%(reason)s>", REASON.template: "[%(image)s %(machine)s]"}
    assert told.translated(catalogue.__getitem__) == "<[teaching/base:1 n2]>"


@pytest.mark.parametrize(
    "told",
    [
        Told(messages.LOST),
        Told(messages.FENCED, {"seconds": 30}),
        Told(messages.STOPPED, {"reason": REASON}),
        Told(messages.STOPPED, {"reason": Told.of(REASON)}),
    ],
)
def test_what_was_told_is_kept_as_json(told: Told) -> None:
    again = Told.from_state(json.loads(json.dumps(told.to_state())))
    assert again is not None and str(again) == str(told)
    marked = [found.translated(lambda text: f"({text})") for found in (told, again)]
    assert marked[0] == marked[1], "the reason within is translated as before"


@pytest.mark.parametrize(
    "state",
    [None, "x", {}, {"template": "%(x)s", "values": {}}, {"template": "%d", "values": {}}, {"template": "x"}],
)
def test_what_is_no_message_is_none(state: object) -> None:
    assert Told.from_state(state) is None


def test_a_reason_is_told() -> None:
    assert str(Told.of(REASON)) == str(REASON)
    assert isinstance(REASON, Reason)
