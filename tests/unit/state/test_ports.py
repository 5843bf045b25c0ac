"""Ports stay the same over restarts, and give way when somebody else has them."""

from __future__ import annotations

import json
import socket
from contextlib import closing
from pathlib import Path

import pytest

from coursewarehub.state.ports import FIRST, LAST, PortBook, listen_on


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "ports.json"


def port_of(listening: socket.socket) -> int:
    port: int = listening.getsockname()[1]
    return port


def test_port_is_the_same_after_a_restart(file: Path) -> None:
    with closing(PortBook(file).listen("course-alpha")) as first:
        port = port_of(first)
    assert FIRST <= port <= LAST < 32768
    assert PortBook(file).get("course-alpha") == port
    with closing(PortBook(file).listen("course-alpha")) as again:
        assert port_of(again) == port


def test_names_have_ports_of_their_own(file: Path) -> None:
    book = PortBook(file)
    listening = [book.listen(f"course-{i}") for i in range(20)]
    assert len({port_of(each) for each in listening}) == 20
    for each in listening:
        each.close()
    # Remembered ports are nobody else's, also while nobody listens there.
    assert PortBook(file).reserve("new") not in {PortBook(file).get(f"course-{i}") for i in range(20)}


def test_taken_port_gives_another_which_is_remembered(file: Path) -> None:
    book = PortBook(file)
    with closing(book.listen("a")) as first:
        other = PortBook(file).listen("a")
        with closing(other):
            assert port_of(other) != port_of(first)
            assert PortBook(file).get("a") == port_of(other)
            # Everybody's address counts as taken, too.
            assert socket.create_connection(("127.0.0.1", port_of(other)), timeout=2).close() is None


def test_port_that_somebody_has_on_all_addresses_is_taken(file: Path) -> None:
    port = PortBook(file).reserve("a")
    with closing(socket.create_server(("0.0.0.0", port))), closing(PortBook(file).listen("a")) as other:
        assert port_of(other) != port


def test_reserved_port_is_free(file: Path) -> None:
    port = PortBook(file).reserve("edge-api")
    assert PortBook(file).get("edge-api") == port
    listen_on("127.0.0.1", port).close()


def test_file_is_written_only_when_something_changed(file: Path) -> None:
    PortBook(file).reserve("a")
    before = file.stat()
    PortBook(file).reserve("a")
    assert (file.stat().st_ino, file.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert list(json.loads(file.read_text())) == ["a"]


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"x"', '{"a": "x"}', '{"a": null}', '{"a": {}}'])
def test_spoilt_file_counts_as_empty(file: Path, text: str) -> None:
    file.write_text(text)
    assert PortBook(file).get("a") is None
    PortBook(file).reserve("a")
    assert PortBook(file).get("a")


def test_listening_socket_does_not_block_and_is_not_inherited(file: Path) -> None:
    with closing(PortBook(file).listen("a")) as listening:
        assert not listening.get_inheritable()
        with pytest.raises(BlockingIOError):
            listening.accept()


def test_listening_twice_is_refused() -> None:
    with closing(listen_on("127.0.0.1", 0)) as first, pytest.raises(OSError):
        listen_on("127.0.0.1", port_of(first))


def test_no_port_free(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(listen_on("127.0.0.1", 0)) as taken:
        monkeypatch.setattr(PortBook, "_candidates", lambda _self, _name: [port_of(taken)])
        with pytest.raises(OSError, match="no free port"):
            PortBook(file).listen("a")


def test_ipv6_loopback() -> None:
    try:
        listening = listen_on("::1", 0)
    except OSError:
        pytest.skip("no IPv6 here")
    with closing(listening):
        assert listening.family is socket.AF_INET6
