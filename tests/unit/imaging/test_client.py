"""What Docker says, in one sentence; and the command line, with a `docker` that says what it is told to."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from coursewarehub import __version__
from coursewarehub.cli import main
from coursewarehub.imaging.client import Docker, explain
from coursewarehub.imaging.errors import ImagingError
from coursewarehub.imaging.push import repository_of, target_of
from coursewarehub.imaging.verify import run_arguments

SAID = [
    (
        "Cannot connect to the Docker daemon at unix:///x. Is the docker daemon running?",
        "no Docker Engine answers at E",
    ),
    ("Got permission denied while trying to connect to the Docker daemon socket", "may not use the Docker Engine at E"),
    ("write /var/lib/docker/tmp/x: no space left on device", "no space is left where the Docker Engine at E"),
    ("Could not install packages due to an OSError: [Errno 28] No space left on device", "no space is left"),
    ("failed to register layer: Error processing tar file(exit status 1): no space left on device", "no space is left"),
    ('Get "https://r:5000/v2/": http: server gave HTTP response to HTTPS client', "the registry of S speaks HTTP"),
    ('Get "https://r:5000/v2/": x509: certificate signed by unknown authority', "does not trust the certificate"),
    (
        'Get "https://r:5000/v2/": dial tcp 127.0.0.1:5000: connect: connection refused',
        "registry of S cannot be reached",
    ),
    ('Get "https://r/v2/": dial tcp: lookup r on 10.0.0.1:53: no such host', "registry of S cannot be reached"),
    ("unauthorized: authentication required", "the registry refuses S: log in"),
    ("denied: requested access to the resource is denied", "the registry refuses S: log in"),
    ("manifest for debian:nope not found: manifest unknown: manifest unknown", "there is no image S"),
    ("Error: No such image: nope", "there is no image S"),
    ("pull access denied for nope, repository does not exist or may require 'docker login'", "there is no image S"),
    ("invalid reference format: repository name must be lowercase", "`S` is not the name of an image"),
    ("Temporary failure resolving 'deb.debian.org'", "the build cannot reach the network"),
    (
        "SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED] ...",
        "give its certificates with `--ca DIR`",
    ),
    ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.", "not the one of the lock file"),
    ("[FATAL tini (8)] exec python3 failed: No such file or directory", "the image S has no Python"),
    ("Error response from daemon: something new\n", "docker failed: something new"),
    ("", "docker failed: no reason given"),
]


@pytest.mark.parametrize(("said", "sentence"), SAID)
def test_what_docker_says_is_one_sentence(said: str, sentence: str) -> None:
    told = explain(f"Step 1/9\n{said}", engine="E", subject="S")
    assert sentence in told or (not said and told == "docker failed: Step 1/9")
    assert "\n" not in told and "Traceback" not in told


def test_only_the_end_of_a_long_output_counts() -> None:
    assert explain("no space left on device\n" + "fine\n" * 2000 + "unauthorized: x", engine="E").startswith(
        "the registry"
    )


@pytest.mark.parametrize(
    ("reference", "destination", "target"),
    [
        ("coursewarehub/hub:1", "registry.example", "registry.example/coursewarehub/hub:1"),
        ("coursewarehub/hub:1", "registry.example:5000/", "registry.example:5000/coursewarehub/hub:1"),
        ("coursewarehub/hub:1", "localhost/teaching", "localhost/teaching/coursewarehub/hub:1"),
        ("old.example/team/course:2", "new.example", "new.example/team/course:2"),
        ("course:2", "new.example/a/b:3", "new.example/a/b:3"),
    ],
)
def test_names_in_a_registry(reference: str, destination: str, target: str) -> None:
    assert target_of(reference, destination) == target


def test_a_destination_without_a_registry() -> None:
    with pytest.raises(ImagingError, match="`teaching/x` names no registry"):
        target_of("coursewarehub/hub:1", "teaching/x")


@pytest.mark.parametrize("name", ["r:5000/a/b", "r:5000/a/b:1", "r:5000/a/b@sha256:0", "r:5000/a/b:1@sha256:0"])
def test_repositories(name: str) -> None:
    assert repository_of(name) == "r:5000/a/b"


def test_images_are_verified_as_restricted_as_they_run() -> None:
    ours = run_arguments("a:1", {"coursewarehub.singleuser": "1"})
    foreign = run_arguments("b:1", {})
    for words in (ours, foreign):
        text = " ".join(words)
        for restriction in (
            "--read-only",
            "--cap-drop ALL",
            "no-new-privileges",
            "--network none",
            "--user 123456:123456",
        ):
            assert restriction in text
    assert ours[-4:] == ["/opt/courseware/verify", "a:1", "--version", __version__]
    assert foreign[-4:] == ["b:1", "python3", "-", "--foreign"] and "--entrypoint" not in foreign
    assert "--interactive" in foreign


# --- with a `docker` of our own ----------------------------------------------------------------


class Fake:
    """A `docker` on the search path that writes down what it was asked and answers by its first words."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        (folder / "docker").write_text(
            f'#!/bin/sh\n[ "$1" = --host ] && shift 2\necho "$*" >>{folder}/asked\n'
            f'case "$1" in build) cat >{folder}/context;; run) [ -t 0 ] || cat >{folder}/script;; esac\n'
            f'file={folder}/$1; [ "$1" = image ] && file={folder}/$1-$2\n'
            '[ -f "$file" ] && cat "$file"; [ -f "$file.status" ] && exit "$(cat "$file.status")"; exit 0\n'
        )
        (folder / "docker").chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")

    def says(self, command: str, text: str, status: int = 0) -> None:
        (self.folder / command).write_text(text)
        (self.folder / f"{command}.status").write_text(str(status))

    def asked(self) -> list[str]:
        return (self.folder / "asked").read_text().splitlines()


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    (tmp_path / "fake").mkdir()
    monkeypatch.chdir(tmp_path)
    return Fake(tmp_path / "fake", monkeypatch)


def test_build_all(docker: Fake, capsys: pytest.CaptureFixture[str]) -> None:
    docker.says("build", "Step 1/2\n")
    assert main(["image", "build"]) == 0
    names = [f"coursewarehub/{image}:{__version__}" for image in ("singleuser", "hub")]
    assert capsys.readouterr().out == "Step 1/2\nStep 1/2\n" + "".join(f"built {name}\n" for name in names)
    assert [line for line in docker.asked() if f"build --tag {names[0]} " in line]
    assert (docker.folder / "context").stat().st_size > 100_000


def test_a_build_that_fails(docker: Fake, capsys: pytest.CaptureFixture[str]) -> None:
    docker.says("build", "Step 1/2\nwrite /x: no space left on device\n", 1)
    assert main(["image", "build", "hub", "--engine", "unix:///e"]) == 1
    out = capsys.readouterr()
    assert out.err.startswith("coursewarehub: No space is left where the Docker Engine at unix:///e keeps its images")
    assert out.err.count("\n") == 1 and "built" not in out.out


def test_one_tag_for_two_images(docker: Fake, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["image", "build", "--tag", "x:1"]) == 1
    assert "`--tag` names one image" in capsys.readouterr().err


def test_no_docker_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for words in (["build"], ["verify", "hub"], ["push", "hub", "r.example"]):
        assert main(["image", *words]) == 1
        assert capsys.readouterr().err.startswith("coursewarehub: The command docker is not installed")


@pytest.mark.parametrize(("status", "code", "word"), [(0, 0, "is good"), (1, 1, "is not good")])
def test_verify(docker: Fake, capsys: pytest.CaptureFixture[str], status: int, code: int, word: str) -> None:
    docker.says("image-inspect", json.dumps({"coursewarehub.singleuser": __version__}))
    docker.says("run", "ok   fine\n", status)
    assert main(["image", "verify", "singleuser"]) == code
    assert capsys.readouterr().out == f"ok   fine\ncoursewarehub/singleuser:{__version__} {word}\n"


def test_verify_a_foreign_image(docker: Fake, capsys: pytest.CaptureFixture[str]) -> None:
    docker.says("image-inspect", "null\n")
    assert main(["image", "verify", "foreign:1"]) == 0
    assert capsys.readouterr().out.count("note  ") == 3
    assert "def any_server" in (docker.folder / "script").read_text()


def test_verify_an_image_that_cannot_run(docker: Fake, capsys: pytest.CaptureFixture[str]) -> None:
    docker.says("image-inspect", "{}\n")
    docker.says("run", "[FATAL tini (8)] exec python3 failed: No such file or directory\n", 127)
    assert main(["image", "verify", "foreign:1"]) == 1
    assert "The image foreign:1 has no Python" in capsys.readouterr().err


def test_push_prints_the_digest(docker: Fake, capsys: pytest.CaptureFixture[str]) -> None:
    digest = "sha256:" + "a" * 64
    docker.says("image-inspect", "{}\n")
    docker.says("push", f"{__version__}: digest: {digest} size: 1992\n")
    assert main(["image", "push", "hub", "r.example:5000"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"r.example:5000/coursewarehub/hub@{digest}"
    assert f"tag coursewarehub/hub:{__version__} r.example:5000/coursewarehub/hub:{__version__}" in docker.asked()


def test_the_engine_is_the_sites(docker: Fake, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "site.yaml").write_text("spawner: {kind: docker, engine: unix:///the/engine}\n")
    docker.says("image-inspect", "Cannot connect to the Docker daemon\n", 1)
    assert main(["image", "verify", "hub"]) == 1
    assert "answers at unix:///the/engine" in capsys.readouterr().err


def test_a_slow_engine_is_one_sentence(docker: Fake) -> None:
    (docker.folder / "docker").write_text("#!/bin/sh\nsleep 5\n")
    with pytest.raises(ImagingError, match=r"at unix:///e did not answer within 0 s"):
        Docker("unix:///e").output(["version"], timeout=0.1)
