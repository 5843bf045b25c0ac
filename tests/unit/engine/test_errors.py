"""What an answer of the engine means: gone, in conflict, refused, or nothing known."""

from __future__ import annotations

import errno
import json

import pytest

from coursewarehub.engine.errors import (
    Call,
    Cause,
    Conflict,
    Gone,
    Refused,
    Unreachable,
    of_answer,
    of_connection,
    secrets_in,
)

AT = "unix:///s"
NO_LEADER = (
    "rpc error: code = Unknown desc = The swarm does not have a leader. It's possible that too few managers are online."
)
NOT_MANAGER = (
    'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to swarm'
)


def said(message: str) -> str:
    return json.dumps({"message": message})


@pytest.mark.parametrize(
    ("method", "path", "status", "text", "kind"),
    [
        ("GET", "/containers/x/json", 404, said("No such container: x"), Gone),
        ("DELETE", "/containers/x", 404, said("No such container: x"), Gone),
        ("POST", "/containers/x/start", 404, said("No such container: x"), Gone),
        ("POST", "/containers/x/start", 404, said("network ab12 not found"), Refused),
        ("GET", "/services/x", 404, said("service x not found"), Gone),
        ("DELETE", "/services/x", 404, said("service x not found"), Gone),
        ("GET", "/images/registry:5000/a/b:c/json", 404, said("No such image: registry:5000/a/b:c"), Gone),
        ("POST", "/networks/n/connect", 404, said("network n not found"), Gone),
        ("POST", "/networks/n/connect", 404, said("No such container: x"), Refused),
        ("POST", "/networks/container/connect", 404, said("No such container: x"), Refused),
        ("POST", "/networks/x/connect", 404, said("No such container: x"), Refused),
        ("POST", "/networks/cw/connect", 404, said("network cw-2 not found"), Refused),
        ("POST", "/containers/create", 404, said("No such image: x:1"), Refused),
        ("GET", "/services", 404, said("service x not found"), Refused),
        ("GET", "/containers/x/json", 404, said("page not found"), Unreachable),
        ("GET", "/containers/x/json", 404, "<html>Not Found</html>", Unreachable),
        ("GET", "/containers/x/json", 404, '["message"]', Unreachable),
        (
            "POST",
            "/containers/create",
            409,
            said('The container name "/x" is already in use by container "ab".'),
            Conflict,
        ),
        ("POST", "/services/create", 409, said("rpc error: code = AlreadyExists desc = name conflicts"), Conflict),
        ("DELETE", "/containers/x", 409, said("removal of container x is already in progress"), Conflict),
        ("POST", "/services/x/update", 500, said("rpc error: code = Unknown desc = update out of sequence"), Conflict),
        ("POST", "/containers/create", 400, said("no command specified"), Refused),
        ("POST", "/networks/create", 403, said("Pool overlaps with other one on this address space"), Refused),
        ("GET", "/services/x", 500, said(NO_LEADER), Unreachable),
        ("GET", "/services/x", 503, said(NOT_MANAGER), Unreachable),
        ("GET", "/services/x", 500, said("No such service: x"), Unreachable),
        ("GET", "/services/x", 502, "<html>Bad Gateway</html>", Unreachable),
        ("GET", "/services/x", 599, "", Unreachable),
    ],
)
def test_kind_of_an_answer(method: str, path: str, status: int, text: str, kind: type[Exception]) -> None:
    assert type(of_answer(Call(AT, method, path), status, text)) is kind


@pytest.mark.parametrize(
    ("status", "message", "cause", "text"),
    [
        (500, NO_LEADER, Cause.NO_LEADER, "the swarm has no leader: most of its managers cannot be reached"),
        (503, NOT_MANAGER, Cause.NOT_MANAGER, "the engine at unix:///s is not a manager of a swarm"),
        (500, "disk\n is full", Cause.FAILED, "the engine failed at `GET /tasks` (HTTP 500): disk is full"),
    ],
)
def test_errors_of_the_engine_are_told_apart(status: int, message: str, cause: Cause, text: str) -> None:
    error = of_answer(Call(AT, "GET", "/tasks"), status, said(message))
    assert isinstance(error, Unreachable)
    assert (error.cause, str(error)) == (cause, text)


def test_a_page_of_something_else_is_not_repeated() -> None:
    assert "html" not in str(of_answer(Call(AT, "GET", "/tasks"), 502, "<html>password</html>"))


def test_a_refusal_has_the_engines_words_and_status() -> None:
    error = of_answer(Call(AT, "POST", "/containers/create"), 404, said("No such image: x:1"))
    assert isinstance(error, Refused)
    assert (error.reason, error.status) == ("No such image: x:1", 404)
    assert str(error) == "the engine refused `POST /containers/create`: No such image: x:1"


def test_gone_names_what_is_gone() -> None:
    error = of_answer(Call(AT, "DELETE", "/services/cw-a"), 404, said("service cw-a not found"))
    assert str(error) == "the engine has no service `cw-a`"


def test_secrets_of_the_request_are_not_in_the_message() -> None:
    body = {
        "TaskTemplate": {"ContainerSpec": {"Env": ["JUPYTERHUB_API_TOKEN=0123abcd", "LANG=C", "URL=a=b=c=d"]}},
        "Data": "c2VjcmV0",
        "Labels": {"a": "kept-as-it-is"},
    }
    call = Call(AT, "POST", "/services/create", secrets_in(body))
    assert call.secrets == {"0123abcd", "a=b=c=d", "c2VjcmV0"}
    error = of_answer(call, 400, said("bad 0123abcd, c2VjcmV0 and kept-as-it-is"))
    assert str(error) == "the engine refused `POST /services/create`: bad ***, *** and kept-as-it-is"
    assert isinstance(error, Refused)
    assert error.reason == "bad ***, *** and kept-as-it-is"


def test_a_long_message_is_cut() -> None:
    error = of_answer(Call(AT, "POST", "/containers/create"), 400, said("x" * 5000))
    assert len(str(error)) < 400


@pytest.mark.parametrize(
    ("number", "cause"),
    [
        (errno.ENOENT, Cause.MISSING),
        (errno.ENOTDIR, Cause.MISSING),
        (errno.EACCES, Cause.FORBIDDEN),
        (errno.EPERM, Cause.FORBIDDEN),
        (errno.ECONNREFUSED, Cause.REFUSED),
        (errno.EAGAIN, Cause.TIMEOUT),
        (errno.ETIMEDOUT, Cause.TIMEOUT),
        (errno.ECONNRESET, Cause.BROKEN),
        (errno.EPIPE, Cause.BROKEN),
        (errno.ENETUNREACH, Cause.BROKEN),
    ],
)
def test_cause_of_a_failed_connection(number: int, cause: Cause) -> None:
    inner = OSError(number, "words of the system")
    middle = RuntimeError("pool", inner)
    try:
        raise ConnectionError(middle) from ValueError("unrelated")
    except ConnectionError as outer:
        error = of_connection(Call(AT, "GET", "/info"), outer)
    assert error.cause is cause
    assert AT in str(error)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/containers/x/json", "x"),
        ("/containers/x", "x"),
        ("/containers/json", None),
        ("/containers/create", None),
        ("/services", None),
        ("/services/x/update", "x"),
        ("/images/r.example:5000/a/b:c/push", "r.example:5000/a/b:c"),
        ("/images/a/b:c", "a/b:c"),
        ("/networks/n%20m/connect", "n m"),
        ("/info", None),
    ],
)
def test_name_in_a_path(path: str, name: str | None) -> None:
    assert Call(AT, "GET", path).object_name == name
