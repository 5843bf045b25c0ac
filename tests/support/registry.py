"""Debian's docker-registry as a machine of a test bed. What is in it is kept between runs and shared by all beds."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from support.beds import CACHE, Slot
from support.netns import Namespace
from support.sites import eventually

STORE = CACHE / "registry"
PORT = 5000


class Registry:
    """A registry without passwords, which all machines of the bed and the host reach at `address`."""

    def __init__(self, network: Namespace, folder: Path) -> None:
        self.network = network
        self.folder = folder
        self.process: subprocess.Popen[bytes] | None = None

    @classmethod
    @contextmanager
    def running(cls, place: Slot) -> Iterator[Self]:
        network = place.machine("registry", 2)
        network.open()
        registry = cls(network, place.folder)
        try:
            registry.open()
            yield registry
        finally:
            registry.close()

    @property
    def address(self) -> str:
        return f"{self.network.address}:{PORT}"

    def open(self) -> None:
        settings = {
            "version": "0.1",
            "log": {"level": "warn"},
            "storage": {"filesystem": {"rootdirectory": str(STORE)}, "delete": {"enabled": True}},
            "http": {"addr": self.address},
        }
        file = self.folder / "registry.yml"
        file.write_text(json.dumps(settings, indent=1))
        command = ["nsenter", f"--net={self.network.path}", "docker-registry", "serve", str(file)]
        with (self.folder / "registry.log").open("wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        eventually(self._answers, 20)

    def _answers(self) -> bool:
        assert self.process is not None and self.process.poll() is None, (self.folder / "registry.log").read_text()
        try:
            socket.create_connection((self.network.address, PORT), 1).close()
        except OSError:
            return False
        return True

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(timeout=10)

    def holds(self, image: str) -> bool:
        """Whether `name:tag` is in it."""
        name, _, tag = image.rpartition(":")
        return (STORE / "docker/registry/v2/repositories" / name / "_manifests/tags" / tag / "current/link").exists()
