"""A real PostgreSQL server for tests (Debian's), on a loopback port, with a password."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from support.beds import CHECKOUT
from support.sites import eventually, free_port

PASSWORD = "s3cret/pa:ss@word"


class Postgres:
    """One server; its account `courses` may make databases, `narrow` may not."""

    def __init__(self, folder: Path, programs: Path) -> None:
        self.folder = folder
        self.programs = programs
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    def url(self, user: str = "courses", database: str = "courses", password: str = PASSWORD) -> str:
        from urllib.parse import quote

        return f"postgresql+psycopg://{user}:{quote(password, safe='')}@127.0.0.1:{self.port}/{database}"

    def connect(self, database: str = "postgres", user: str = "postgres") -> Any:
        import psycopg

        return psycopg.connect(
            host="127.0.0.1", port=self.port, user=user, password=PASSWORD, dbname=database, autocommit=True
        )

    def databases(self) -> set[str]:
        with self.connect() as connection:
            return {name for (name,) in connection.execute("SELECT datname FROM pg_database")}

    def _as_owner(self, *command: object) -> list[str]:
        words = [str(word) for word in command]
        return ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", *words] if _root() else words

    def make(self) -> None:
        self.folder.mkdir()
        data, secret = self.folder / "data", self.folder / "password"
        secret.write_text(PASSWORD)
        if _root():
            for place in (self.folder, secret):
                shutil.chown(place, "postgres", "postgres")
        initdb = (self.programs / "initdb", "-D", data, "-U", "postgres", "-A", "scram-sha-256", "-E", "UTF8")
        subprocess.run(
            self._as_owner(*initdb, "--locale=C", f"--pwfile={secret}", "--no-sync"),
            check=True,
            stdout=subprocess.DEVNULL,
            cwd="/",
        )

    def start(self) -> None:
        settings = {"port": self.port, "listen_addresses": "127.0.0.1", "unix_socket_directories": self.folder}
        options = [f"-c{name}={value}" for name, value in (settings | {"fsync": "off"}).items()]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self._as_owner(self.programs / "postgres", "-D", self.folder / "data", *options),
                stdout=log,
                stderr=log,
                cwd="/",
            )
        eventually(self._answers, 20, every=0.05)

    def _answers(self) -> bool:
        import psycopg

        assert self.process is not None
        assert self.process.poll() is None, (self.folder / "log").read_text()
        try:
            self.connect().close()
        except psycopg.OperationalError:
            return False
        return True

    def accounts(self) -> None:
        with self.connect() as connection:
            for role, right in (("courses", "CREATEDB"), ("narrow", "NOCREATEDB")):
                connection.execute(f"CREATE ROLE {role} LOGIN {right} PASSWORD '{PASSWORD}'")

    def stop(self) -> None:
        """As `pg_ctl stop -m immediate`."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGQUIT)
            self.process.wait(timeout=20)


def _root() -> bool:
    return os.geteuid() == 0


@contextmanager
def postgres(*databases: str) -> Iterator[Postgres]:
    """A running server with these databases of the account `courses`, in a folder that is removed with it."""
    subprocess.run([CHECKOUT / "tools" / "apt-install", "postgresql"], check=True, stdout=subprocess.DEVNULL)
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        Path(folder).chmod(0o755)  # the account `postgres` has to reach what is below
        server = Postgres(Path(folder) / "postgres", found[-1].parent)
        server.make()
        server.start()
        try:
            server.accounts()
            with server.connect() as connection:
                for database in databases:
                    connection.execute(f"CREATE DATABASE {database} OWNER courses")
            yield server
        finally:
            server.stop()
