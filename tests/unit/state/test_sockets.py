"""Unix sockets in deep folders."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from coursewarehub.state import sockets


@pytest.mark.parametrize("length", [20, 99, 100, 101, 107, 108, 150, 1000])
def test_socket_in_a_folder_of_any_depth(tmp_path: Path, length: int) -> None:
    folder = tmp_path
    while len(str(folder)) < length:
        folder /= "é" * min(60, (length - len(str(folder))) // 2 or 1)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "socket"
    assert not sockets.answering(path)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(sockets.address(path))
        listening.listen()
        assert path.is_socket()
        assert sockets.answering(path)
        assert len(sockets.address(path).encode()) <= 107
    assert not sockets.answering(path), "a socket that nobody listens on"


def test_short_path_is_its_own_address(tmp_path: Path) -> None:
    path = Path("/run/a/socket")
    assert sockets.address(path) == "/run/a/socket"


def test_missing_folder_does_not_answer(tmp_path: Path) -> None:
    assert not sockets.answering(tmp_path / "nowhere" / "socket")
    assert not sockets.answering(tmp_path / ("x" * 200) / "socket")
