"""Entering network namespaces, by the calls of Linux that Python 3.11 does not have (setns(2), inotify(7)).

A thread is in a namespace, not a process: what a thread starts while it is in one is in it, too.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import re
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv4Network, IPv6Address
from pathlib import Path
from typing import Any, Final

_CLONE_NEWNET: Final = 0x4000_0000
_IN_CREATE: Final = 0x100
_IN_NONBLOCK: Final = os.O_NONBLOCK
_IN_CLOEXEC: Final = os.O_CLOEXEC
_SIOCGIFCONF: Final = 0x8912
_MOST_INTERFACES: Final = 64
_INTERFACE: Final = 40  # bytes of a `struct ifreq` on 64 bits

_OURS: Final = Path("/proc/thread-self/ns/net")
_CONTAINER: Final = re.compile(r"[0-9a-f]{12}")
_ADDRESSES6: Final = Path("/proc/net/if_inet6")

_libc: Any = ctypes.CDLL(None, use_errno=True)


class NamespaceGone(Exception):
    """There is no such namespace (any more)."""


class NotAContainers(Exception):
    """It is the node's own namespace, for which a container's rules are not meant."""


def is_containers(name: str) -> bool:
    """Whether a file among the engine's namespaces is called like a container's, and not like a network's."""
    return _CONTAINER.fullmatch(name) is not None


@contextmanager
def inside(namespace: Path) -> Iterator[None]:
    """The calling thread is in the namespace at this path. Raises NamespaceGone, NotAContainers, OSError."""
    try:
        there = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise NamespaceGone(str(namespace)) from error
    try:
        with _back_again() as here:
            if _same(there, here):
                raise NotAContainers(str(namespace))
            _enter(there, namespace)
            yield
    finally:
        os.close(there)


@contextmanager
def inside_new() -> Iterator[None]:
    """The calling thread is in a namespace that is made for it and ends with the block. Raises OSError."""
    with _back_again():
        _called(_libc.unshare(_CLONE_NEWNET))
        yield


@contextmanager
def _back_again() -> Iterator[int]:
    """Whatever happens, the thread is in its own namespace again; gives that one's descriptor."""
    here = os.open(_OURS, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield here
    finally:
        _called(_libc.setns(here, _CLONE_NEWNET))
        os.close(here)


def _enter(descriptor: int, namespace: Path) -> None:
    try:
        _called(_libc.setns(descriptor, _CLONE_NEWNET))
    except OSError as error:
        if error.errno == 22:  # the file is there, the namespace not yet, or not any more
            raise NamespaceGone(str(namespace)) from error
        raise


def _same(one: int, other: int) -> bool:
    first, second = os.fstat(one), os.fstat(other)
    return (first.st_dev, first.st_ino) == (second.st_dev, second.st_ino)


def _called(answer: int) -> int:
    if answer < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return answer


def watcher(namespace: Path) -> socket.socket:
    """Return a socket of a namespace, to ask for its addresses from outside. Raises as `inside`."""
    with inside(namespace):
        return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)


def addresses(of: socket.socket) -> list[IPv4Address]:
    """Return the IPv4 addresses in the namespace of a socket, but for loopback."""
    buffer = ctypes.create_string_buffer(_MOST_INTERFACES * _INTERFACE)
    request = struct.pack("iP", len(buffer), ctypes.addressof(buffer))
    length: int = struct.unpack("iP", fcntl.ioctl(of.fileno(), _SIOCGIFCONF, request))[0]
    entries = (buffer.raw[start : start + _INTERFACE] for start in range(0, length, _INTERFACE))
    found = (IPv4Address(entry[20:24]) for entry in entries)
    return [address for address in found if not address.is_loopback]


def public_addresses() -> list[str]:
    """Return the public addresses of the namespace that the calling thread is in, both families."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        found = [str(address) for address in addresses(asked) if address.is_global]
    if has_ipv6():
        six = (IPv6Address(bytes.fromhex(line.split()[0])) for line in _ADDRESSES6.read_text().splitlines())
        found += [str(address) for address in six if address.is_global]
    return sorted(found)


def has_ipv6() -> bool:
    """Whether this kernel speaks IPv6 at all."""
    return _ADDRESSES6.exists()


def any_in(found: list[IPv4Address], pool: IPv4Network) -> bool:
    """Whether one of the addresses is of a pool."""
    return any(address in pool for address in found)


class Arrivals:
    """Names of files as they appear in a folder; `fileno` becomes readable when there are some."""

    def __init__(self) -> None:
        self._descriptor = _called(_libc.inotify_init1(_IN_NONBLOCK | _IN_CLOEXEC))

    def fileno(self) -> int:
        """The descriptor to wait for."""
        return self._descriptor

    def watch(self, folder: Path) -> bool:
        """Watch the folder, also when that is so already; whether it exists."""
        return int(_libc.inotify_add_watch(self._descriptor, os.fsencode(folder), _IN_CREATE)) >= 0

    def read(self) -> list[str]:
        """The names since the last time."""
        try:
            data = os.read(self._descriptor, 65536)
        except BlockingIOError:
            return []
        names = []
        position = 0
        while position < len(data):
            length = struct.unpack_from("iIII", data, position)[3]
            name = data[position + 16 : position + 16 + length].rstrip(b"\0")
            names += [os.fsdecode(name)] if name else []
            position += 16 + length
        return names

    def close(self) -> None:
        """Stop watching."""
        os.close(self._descriptor)
