"""Docker's own command, and one sentence for each way in which it fails."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from coursewarehub.imaging.errors import ImagingError

_LAST_WORDS = 4000

# What Docker says, and what it means. The first that is found counts; `{0}` is what the pattern's group found.
_MEANINGS: Final = (
    (
        r"Cannot connect to the Docker daemon|failed to connect to the docker API|error during connect|"
        r"docker daemon is not running",
        "no Docker Engine answers at {engine}: start it (`systemctl start docker`), or name another one with --engine",
    ),
    (
        r"permission denied while trying to connect",
        "this account may not use the Docker Engine at {engine}: run the command as root, or as a member of the group "
        "docker",
    ),
    (
        r"no space left on device|No space left on device",
        "no space is left where the Docker Engine at {engine} keeps its images: free some (`docker system df` shows "
        "what takes it, `docker image prune` removes images that nothing uses)",
    ),
    (
        r"server gave HTTP response to HTTPS client",
        "the registry of {subject} speaks HTTP without TLS: give it a certificate, or add it to `insecure-registries` "
        "in the engine's daemon.json",
    ),
    (
        r"x509: [^\n]*|certificate signed by unknown authority",
        "the engine does not trust the certificate of the registry of {subject}: put its authority's certificate into "
        "/etc/docker/certs.d/<registry>/ca.crt on the engine's host",
    ),
    (
        r"dial tcp|no such host|connection refused|i/o timeout|TLS handshake timeout|Client\.Timeout|"
        r"net/http: request canceled|: EOF\s*$|: EOF\n",
        "the registry of {subject} cannot be reached from the engine: check its name and port, and the network",
    ),
    (
        r"unauthorized|authentication required|no basic auth credentials|denied: |access forbidden|"
        r"authorization failed",
        "the registry refuses {subject}: log in with `docker login`, and check that the account may use that name",
    ),
    (
        r"pull access denied|repository does not exist|manifest unknown|manifest for \S+ not found|No such image|"
        r"reference does not exist|not found: manifest",
        "there is no image {subject}: check its name, build it (`coursewarehub image build`), or push it to its "
        "registry",
    ),
    (
        r"exec python3 failed|exec: \"(python3|/opt/courseware/verify)\"|exec /opt/courseware/verify failed",
        "the image {subject} has no Python where its command is looked for, so that no learner's server can run in it",
    ),
    (
        r"invalid reference format|not a valid repository/tag|repository name must be lowercase",
        "`{subject}` is not the name of an image: write NAME:TAG or REGISTRY/NAME:TAG in lower case",
    ),
    (
        r"Temporary failure resolving|Could not resolve|Could not connect to|Failed to establish a new connection|"
        r"Name or service not known|Network is unreachable",
        "the build cannot reach the network: check name resolution and proxies, or let it use the host's network with "
        "`--network host`",
    ),
    (
        r"CERTIFICATE_VERIFY_FAILED|certificate verify failed",
        "a proxy on the way opens TLS connections: give its certificates with `--ca DIR` (files named *.crt)",
    ),
    (
        r"THESE PACKAGES DO NOT MATCH THE HASHES",
        "a package is not the one of the lock file: the package index or a proxy serves another file of that name; use "
        "one that serves the originals, or write the lock files anew (`make lock`)",
    ),
    (
        r"This node is not a swarm manager",
        "the engine at {engine} is not a manager of a swarm: name one with --engine",
    ),
)


@dataclass(frozen=True)
class Finished:
    """What became of a command."""

    status: int
    output: str


@dataclass(frozen=True)
class Docker:
    """The command `docker`, for one engine: `url` as in DOCKER_HOST, None for the one that `docker` takes by itself."""

    url: str | None = None

    def output(self, arguments: Sequence[str], *, subject: str = "", timeout: float = 60) -> str:
        """What a command prints; ImagingError with one sentence when it fails. `subject` is the image it is about."""
        try:
            done = subprocess.run(
                self._command(arguments), capture_output=True, text=True, errors="replace", timeout=timeout, check=False
            )
        except FileNotFoundError:
            raise self._missing() from None
        except subprocess.TimeoutExpired:
            raise ImagingError(f"the Docker Engine at {self.name} did not answer within {timeout:.0f} s") from None
        if done.returncode:
            raise ImagingError(self._sentence(done.stderr or done.stdout, subject))
        return done.stdout

    def labels(self, reference: str) -> dict[str, str]:
        """Labels of an image that the engine has; ImagingError when it has none of that name."""
        words = ["image", "inspect", "--format", "{{json .Config.Labels}}", reference]
        labels = json.loads(self.output(words, subject=reference))
        return {str(name): str(value) for name, value in (labels or {}).items()}

    def stream(
        self,
        arguments: Sequence[str],
        *,
        subject: str = "",
        stdin: bytes | None = None,
        statuses: tuple[int, ...] = (0,),
    ) -> Finished:
        """Run a command whose output the user sees as it comes.

        ImagingError with one sentence when it ends with another status than one of `statuses`.
        """
        said: list[str] = []
        try:
            with subprocess.Popen(
                self._command(arguments),
                stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            ) as process:
                _feed(process, stdin)
                assert process.stdout is not None
                for line in process.stdout:
                    said.append(line.decode(errors="replace"))
                    sys.stdout.write(said[-1])
                    sys.stdout.flush()
        except FileNotFoundError:
            raise self._missing() from None
        whole = "".join(said)
        if process.returncode not in statuses:
            raise ImagingError(self._sentence(whole, subject))
        return Finished(process.returncode, whole)

    @property
    def name(self) -> str:
        """What to call the engine in a sentence."""
        return self.url or os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"

    def _command(self, arguments: Sequence[str]) -> list[str]:
        return ["docker", *(["--host", self.url] if self.url else []), *arguments]

    def _sentence(self, said: str, subject: str) -> str:
        return explain(said, engine=self.name, subject=subject)

    @staticmethod
    def _missing() -> ImagingError:
        return ImagingError(
            "the command docker is not installed: `apt install docker.io`, or see docs.docker.com/engine"
        )


def explain(said: str, *, engine: str, subject: str = "") -> str:
    """One sentence for what `docker` said when it failed; its own last words when they are new to us."""
    for pattern, meaning in _MEANINGS:
        if re.search(pattern, said[-_LAST_WORDS:]):
            return meaning.format(engine=engine, subject=subject or "the image")
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    words = lines[-1] if lines else "no reason given"
    return f"docker failed: {re.sub(r'^(Error response from daemon|ERROR|Error): ', '', words)}"


def _feed(process: subprocess.Popen[bytes], data: bytes | None) -> None:
    """Hand the whole standard input over; a process that ends before has said why."""
    if data is None or process.stdin is None:
        return
    try:
        process.stdin.write(data)
        process.stdin.close()
    except BrokenPipeError:
        process.stdin = None
