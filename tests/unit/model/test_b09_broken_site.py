"""Case B09: every broken `site.yaml` gives one sentence with file and line, exit code 2."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

# name: (content of site.yaml, line of the problem, telling part of the sentence)
TEXTS: dict[str, tuple[str | bytes, int, str]] = {
    "empty": ("", 1, "is empty"),
    "only-comments": ("# nothing\n\n", 1, "is empty"),
    "only-a-marker": ("---\n", 1, "is empty"),
    "a-list": ("# x\n- title\n", 2, "must be a mapping of keys to values"),
    "a-word": ("title\n", 1, "must be a mapping of keys to values"),
    "tab": ("edge:\n\tport: 8000\n", 2, "has a tab where YAML allows only spaces (indent with spaces)"),
    "duplicate-key": ("title: a\nmode: production\ntitle: b\n", 3, "`title` twice (first on line 1)"),
    "duplicate-inner-key": ("edge:\n  port: 1\n  port: 2\n", 3, "`port` twice (first on line 2)"),
    "two-documents": ("title: a\n---\ntitle: b\n", 2, "holds a second document"),
    "colon-in-text": ("mode: production\ntitle: Python: basics\n", 2, "has a `:` where no key can be"),
    "no-colon": ("mode: production\ntitle\n", 2, "neither `key: value`"),
    "open-quote": ("mode: production\ntitle: 'abc\n\n\n", 2, "a quote that is never closed"),
    "open-brace": ("title: a\nedge: {port: 1\n\n", 2, "a `[` or `{` that is never closed"),
    "bad-indent": ("edge:\n    port: 1\n  host: localhost\n", 3, "indented differently"),
    "stray-bracket": ("title: a\nmode: ]\n", 2, "where a value should be"),
    "stray-indent": ("  mode: production\ntitle: a\n", 2, "does not belong to the lines above it"),
    "text-behind-a-bar": ("title: | a\n", 1, "has text behind a `|` or `>`"),
    "star": ("title: * a\n", 1, "starts with a special character (quote it)"),
    "special-character": ("title: @home\n", 1, "starts with a special character (quote it)"),
    "bad-escape": ('title: "C:\\qux"\n', 1, "an unknown `\\` escape"),
    "tag": ("title: !!python/name:os.system x\n", 1, "uses a YAML tag"),
    "merge-key": ("edge: &e {port: 1}\nhubs:\n  <<: *e\n", 3, "uses a merge key"),
    "unknown-alias": ("title: *welcome\n", 1, "an alias that is not defined above"),
    "alias-of-itself": ("title: &t [*t]\n", 1, "an alias that is not defined above"),
    "alias-bomb": (
        "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
        + "".join(f"{n}: &{n} [{','.join([f'*{p}'] * 10)}]\n" for p, n in zip("abcde", "bcdef", strict=True)),
        4,
        "aliases that stand for more than 10000 values",
    ),
    "too-deep": ("title: " + "[" * 50 + "]" * 50 + "\n", 1, "nested more than 12 levels deep"),
    "complex-key": ("? [a]\n: b\n", 1, "has a key that is not plain text"),
    "control-character": ("mode: production\ntitle: a\x07b\n", 2, "the character U+0007"),
    "surrogate": ('mode: production\ntitle: "\\ud83d"\n', 2, "surrogate"),
    "not-utf8": ("mode: production\ntitle: Cours de la faculté\n".encode("latin-1"), 2, "is not UTF-8"),
    "shift-jis": ("mode: production\ntitle: 学部の講義\n".encode("shift-jis"), 2, "is not UTF-8"),
    "utf16": ("title: a\n".encode("utf-16"), 1, "is UTF-16"),
    "bom": ("\ufefftitle: a\n", 1, "starts with a byte order mark"),
    "too-large": ("# " + "x" * 1024 * 1024 + "\n", 1, "is larger than 1 MiB"),
    "typo-top-level": ("mode: production\ntitel: x\n", 2, "unknown key `titel` (did you mean `title`?)"),
    "typo-in-edge": ("edge:\n  prot: 80\n", 2, "unknown key `prot` in `edge` (did you mean `port`?)"),
    "typo-in-tls": (
        "edge:\n  tls:\n    key: k\n    certificate: c\n    certifcate: d\n",
        5,
        "unknown key `certifcate` in `edge.tls` (did you mean `certificate`?)",
    ),
    "typo-in-acme": (
        "edge:\n  public_url: https://a.org\n  acme:\n    email: a@b.org\n    directory: x\n",
        5,
        "unknown key `directory` in `edge.acme` (did you mean `directory_url`?)",
    ),
    "typo-in-hubs": ("hubs: {sleep-after: 1m}\n", 1, "in `hubs` (did you mean `sleep_after`?)"),
    "typo-in-spawner": ("spawner:\n  knid: local\n", 2, "in `spawner` (did you mean `kind`?)"),
    "unknown-language-of-title": ("title:\n  en: a\n  de: b\n", 3, "unknown key `de` in `title`"),
    "key-of-another-level": ("port: 80\n", 1, "unknown key `port` (`port` belongs in `edge`)"),
    "key-of-the-top-level": ("edge:\n  mode: x\n", 2, "(`mode` belongs at the top level)"),
    "port-is-a-word": (
        "edge:\n  port: eighty\n",
        2,
        "`edge.port` must be a whole number from 1 to 65535, not `eighty`",
    ),
    "port-is-text": ('edge:\n  port: "80"\n', 2, "from 1 to 65535, not the text `80`"),
    "port-too-high": ("edge:\n  port: 65536\n", 2, "from 1 to 65535, not the number `65536`"),
    "port-zero": ("edge:\n  port: 0\n", 2, "from 1 to 65535, not the number `0`"),
    "port-octal": ("edge:\n  port: 010\n", 2, "from 1 to 65535, not `010`"),
    "port-broken": ("edge:\n  port: 80.5\n", 2, "a whole number from 1 to 65535, not the number `80.5`"),
    "port-huge": ("edge:\n  port: 1" + "0" * 5000 + "\n", 2, "a whole number from 1 to 65535, not `100000"),
    "edge-is-a-number": ("edge: 8000\n", 1, "`edge` must be a mapping with keys such as `host`"),
    "edge-is-empty": ("edge:\ntitle: a\n", 1, "not empty (write a value, or remove the key)"),
    "host-with-port": ("edge: {host: 'localhost:80'}\n", 1, "`edge.host` must be an address to listen on"),
    "host-out-of-range": ("edge: {host: 127.0.0.256}\n", 1, "`edge.host` must be an address to listen on"),
    "title-is-a-number": ("title: 3.10\n", 1, 'not the number `3.10` (write it in quotes: `"3.10"`)'),
    "title-is-yes-or-no": ("title: true\n", 1, '(write it in quotes: `"true"`)'),
    "title-is-empty": ("title: ''\n", 1, "`title` must be one line of 1 to 200 characters"),
    "title-of-two-lines": ("title: |\n  a\n  b\n", 1, "`title` must be one line"),
    "title-without-text": ("title: {}\n", 1, "a text for at least one of `en`, `ja`, `fr`"),
    "unknown-mode": ("mode: Production\n", 1, "must be one of `production`, `development`, not `Production`"),
    "unknown-page-language": ("language: de\n", 1, "`language` must be one of `en`, `ja`, `fr`, not `de`"),
    "public-url-without-scheme": ("edge: {public_url: a.org}\n", 1, "`edge.public_url` must be a URL"),
    "public-url-with-path": ("edge: {public_url: https://a.org/x}\n", 1, "must not have a path"),
    "public-url-with-query": ("edge: {public_url: https://a.org/?x}\n", 1, "must not have a `?`"),
    "acme-with-tls": (
        "edge:\n  public_url: https://a.org\n  tls: {certificate: c, key: k}\n  acme: {email: a@b.org}\n",
        4,
        "`edge.acme` cannot be combined with `tls`",
    ),
    "acme-without-public-url": (
        "edge:\n  acme: {email: a@b.org}\n",
        2,
        "needs `edge.public_url` with",
    ),
    "acme-with-http": (
        "edge:\n  public_url: http://a.org\n  acme: {email: a@b.org}\n",
        3,
        "needs `edge.public_url` with",
    ),
    "acme-email": (
        "edge:\n  public_url: https://a.org\n  acme:\n    email: me\n",
        4,
        "must be an e-mail address, not `me`",
    ),
    "tls-without-key": ("edge:\n  tls:\n    certificate: c\n", 2, "`edge.tls.key` is missing"),
    "duration-without-unit": ("hubs: {sleep_after: 15}\n", 1, "must be a duration such as `30s`, `15m`"),
    "duration-in-words": ("hubs: {sleep_after: 15 minutes}\n", 1, "or `never`, not `15 minutes`"),
    "duration-of-zero": ("hubs: {sleep_after: 0s}\n", 1, "must be a duration"),
    "unknown-spawner": (
        "spawner:\n  kind: kubernetes\n",
        2,
        "`spawner.kind` must be one of `local`, `docker`, `swarm`, not `kubernetes`",
    ),
    "no-spawner-at-all": ("spawner: {kind: null}\n", 1, "must be one of `local`, `docker`, `swarm`, not `null`"),
    "spawner-as-a-word": ("spawner: docker\n", 1, "`spawner` must be a mapping with keys such as `kind`, not `docker`"),
    "key-of-another-kind": ("spawner: {image: a}\n", 1, "(`image` goes with `kind: docker` or `kind: swarm`)"),
    "key-of-the-swarm": ("spawner: {kind: docker, lease: 60s}\n", 1, "(`lease` goes with `kind: swarm`)"),
    "typo-in-docker": ("spawner: {kind: docker, imgae: a}\n", 1, "in `spawner` (did you mean `image`?)"),
    "swarm-without-storage": ("spawner:\n  kind: swarm\n", 1, "`spawner.storage` is missing (it must be an absolute"),
    "storage-is-relative": (
        "spawner:\n  kind: swarm\n  storage: ../homes\n",
        3,
        "`spawner.storage` must be an absolute path such as `/srv/courseware`",
    ),
    "storage-is-everything": ("spawner: {kind: docker, storage: /}\n", 1, "must be an absolute path"),
    "storage-goes-up": ("spawner: {kind: docker, storage: /srv/../etc}\n", 1, "without `..`"),
    "storage-is-a-volume": (
        "spawner:\n  kind: swarm\n  storage: homes\n",
        3,
        "`spawner.storage` is `homes`, which names a Docker volume: that lives on one node, and a home would stay",
    ),
    "engine-over-http": ("spawner: {kind: docker, engine: 'http://a'}\n", 1, "the address of a Docker Engine"),
    "engine-without-port": (
        "spawner: {kind: docker, engine: 'tcp://a'}\n",
        1,
        "the address of a Docker Engine such as",
    ),
    "addresses-public": (
        "spawner:\n  kind: docker\n  addresses: 11.0.0.0/8\n",
        3,
        "`spawner.addresses` is `11.0.0.0/8`, which is not private (take some of 10.0.0.0/8,",
    ),
    "addresses-loopback": ("spawner: {kind: docker, addresses: 127.0.0.0/8}\n", 1, "which is not private"),
    "addresses-of-a-host": (
        "spawner: {kind: docker, addresses: 10.180.0.1/14}\n",
        1,
        "an address inside a network (did you mean `10.180.0.0/14`?)",
    ),
    "addresses-without-prefix": ("spawner: {kind: docker, addresses: 10.180.0.0}\n", 1, "an IPv4 network such as"),
    "addresses-too-few": (
        "spawner:\n  kind: docker\n  addresses: 10.180.0.0/24\n",
        3,
        "too small for one course's network of /20 (take a larger network, or a higher `course_network`)",
    ),
    "course-network-too-small": ("spawner: {kind: docker, course_network: 29}\n", 1, "a whole number from 16 to 28"),
    "port-taken-by-the-edge": (
        "mode: development\nedge:\n  port: 8082\nspawner:\n  kind: docker\n  port: 8081\n",
        6,
        "`spawner.port` needs 8081 and 8082, and `edge.port` is 8082 (give one of the two another number)",
    ),
    "lease-for-ever": (
        "spawner: {kind: swarm, storage: /srv/c, lease: never}\n",
        1,
        "a duration such as `30s` or `15m`",
    ),
    "lease-too-short": ("spawner: {kind: swarm, storage: /srv/c, lease: 5s}\n", 1, "between 15 seconds and 60 minutes"),
    "unknown-constraint": (
        "spawner: {kind: swarm, storage: /srv/c, placement: {constraints: [zone=a]}}\n",
        1,
        "item 1 of `spawner.placement.constraints` must be a constraint such as `node.labels.zone==campus`",
    ),
    "registry-as-a-url": (
        "spawner: {kind: docker, registries: ['https://pypi.org']}\n",
        1,
        "item 1 of `spawner.registries` must be the name of a host such as `pypi.org`",
    ),
    "image-without-a-name": ("spawner: {kind: docker, image: ''}\n", 1, "must be the name of a container image"),
    "unknown-isolation": ("spawner: {kind: docker, isolation: off}\n", 1, "one of `required`, `accepted_off`"),
    "database-of-another-kind": (
        "database:\n  url: mysql://a/b\n",
        2,
        "`database.url` must be a URL such as `postgresql+psycopg://hub@db.example.org/courses`",
    ),
    "database-without-driver": ("database: {url: 'postgresql://a/b'}\n", 1, "a URL such as `postgresql+psycopg://"),
    "database-without-name": (
        "database: {url: 'postgresql+psycopg://a/'}\n",
        1,
        "a URL such as `postgresql+psycopg://",
    ),
    "database-with-password": (
        "database:\n  url: postgresql+psycopg://hub:hunter2@db/courses\n",
        2,
        "must not have a password in it (write the URL into a file and refer to it: `file:PATH`)",
    ),
    "database-secret-is-missing": (
        "mode: development\ndatabase: {url: 'file:secrets/db'}\n",
        2,
        "the secret file `secrets/db` does not exist",
    ),
    "yes-for-true": ("spawner: {accept_strangers: yes}\n", 1, "must be `true` or `false`, not `yes`"),
    "no-start-at-all": ("spawner: {concurrent_starts: 0}\n", 1, "a whole number from 1 to 1000, not"),
}


@pytest.mark.parametrize(("text", "line", "telling"), TEXTS.values(), ids=TEXTS)
def test_b09_broken_site(site: Any, text: str | bytes, line: int, telling: str) -> None:
    site.write("site.yaml", text)
    site.assert_refused(f"site.yaml:{line}", telling)
    assert "hunter2" not in site.run("check").err


def test_b09_more_courses_than_networks(site: Any) -> None:
    pool = "spawner:\n  kind: docker\n  addresses: 10.180.0.0/27\n  course_network: 28\n"
    site.write("site.yaml", "mode: development\n" + pool)
    site.write("courses.d/second.yaml", "id: second\ntitle: a\n")
    site.write("courses.d/third.yaml", "id: third\ntitle: a\nstate: archived\n")
    assert site.run("check").code == 0
    site.write("courses.d/third.yaml", "id: third\ntitle: a\nstate: draft\n")
    site.assert_refused("site.yaml:4", "has room for the networks of 2 courses, not of 3 (take a larger network,")


def test_b09_database_secret_is_something_else(site: Any) -> None:
    site.write("site.yaml", "mode: development\ndatabase: {url: 'file:secrets/db'}\n")
    site.write("secrets/db", "hunter2", 0o600)
    site.assert_refused("site.yaml:2", "what `database.url` refers to, `file:secrets/db`, is not a URL such as")
    assert "hunter2" not in site.run("check").err
    site.write("secrets/db", "postgresql+psycopg://hub:hunter2@db/courses\n", 0o600)
    assert site.run("check").code == 0


def test_b09_missing_folder(site: Any) -> None:
    outcome = site.run("--site", str(site.root / "nowhere"), "check")
    assert outcome.code == 2
    assert outcome.err == (f"{site.root}/nowhere: there is no such site folder (make one with `coursewarehub init`)\n")


def test_b09_missing_site_file(site: Any) -> None:
    (site.root / "site.yaml").unlink()
    site.assert_refused("site.yaml", "is missing in")


def test_b09_site_file_is_a_folder(site: Any) -> None:
    (site.root / "site.yaml").unlink()
    (site.root / "site.yaml").mkdir()
    site.assert_refused("site.yaml:1", "cannot be read: not a regular file")


def test_b09_site_file_points_nowhere(site: Any) -> None:
    (site.root / "site.yaml").unlink()
    (site.root / "site.yaml").symlink_to("elsewhere.yaml")
    site.assert_refused("site.yaml:1", "cannot be read: No such file or directory")


def test_b09_all_problems_of_all_files_are_named(site: Any) -> None:
    site.write("site.yaml", "titel: a\nedge:\n  port: x\n")
    site.write("courses.d/other.yaml", "id: other\n")
    outcome = site.run("check")
    assert outcome.code == 2
    places = [line.split(": ")[0] for line in outcome.err.splitlines()]
    assert places == ["site.yaml:1", "site.yaml:3", "courses.d/other.yaml:1"]


# --- certificates ------------------------------------------------------------------------------

TLS = "mode: development\nedge:\n  tls:\n    certificate: tls/cert.pem\n    key: tls/key.pem\n"


def write_pair(folder: Path) -> None:
    """Write a self-signed certificate and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    start = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, start, start + datetime.timedelta(days=1))
    certificate = builder.sign(key, hashes.SHA256())
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    folder.mkdir(exist_ok=True)
    (folder / "cert.pem").write_bytes(certificate.public_bytes(pem))
    (folder / "key.pem").write_bytes(private)
    (folder / "key.pem").chmod(0o600)


def test_a_good_certificate_is_accepted(site: Any) -> None:
    site.write("site.yaml", TLS)
    write_pair(site.root / "tls")
    assert site.run("check") == (0, "OK: 1 course\n", "")


def test_b09_certificate_file_is_missing(site: Any) -> None:
    site.write("site.yaml", TLS)
    write_pair(site.root / "tls")
    (site.root / "tls/cert.pem").unlink()
    site.assert_refused("site.yaml:4", "the certificate file `tls/cert.pem` does not exist")


def test_b09_key_file_can_be_read_by_everybody(site: Any) -> None:
    site.write("site.yaml", TLS)
    write_pair(site.root / "tls")
    (site.root / "tls/key.pem").chmod(0o644)
    site.assert_refused("site.yaml:5", "can be read by everybody (run `chmod 600 tls/key.pem`)")


def test_b09_key_of_another_certificate(site: Any) -> None:
    site.write("site.yaml", TLS)
    write_pair(site.root / "tls")
    certificate = (site.root / "tls/cert.pem").read_bytes()
    write_pair(site.root / "tls")
    (site.root / "tls/cert.pem").write_bytes(certificate)
    site.assert_refused("site.yaml:3", "the key does not belong to the certificate")


def test_b09_certificate_is_not_pem(site: Any) -> None:
    site.write("site.yaml", TLS)
    write_pair(site.root / "tls")
    (site.root / "tls/cert.pem").write_bytes(b"\x00\x01")
    site.assert_refused("site.yaml:3", "are not PEM files")
