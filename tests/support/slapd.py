"""A real slapd on a free port, in a temporary folder: people, groups in groups, an account that searches, TLS."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

from support.sites import eventually, free_port

ROOT = Path(__file__).parents[2]
BASE = "dc=example,dc=org"
PEOPLE, GROUPS = f"ou=people,{BASE}", f"ou=groups,{BASE}"
SEARCHER, SEARCHER_PASSWORD = f"cn=courses,{BASE}", "searching"
UUID = "00000000-0000-4000-8000-0000000000"

CONFIG = """\
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
pidfile {folder}/slapd.pid
argsfile {folder}/slapd.args
modulepath /usr/lib/ldap
moduleload back_mdb
TLSCertificateFile {folder}/certificate.pem
TLSCertificateKeyFile {folder}/key.pem
sizelimit size.soft=500 size.hard=500 size.prtotal=unlimited
access to attrs=userPassword by anonymous auth by * none
access to dn.subtree="ou=groups,{base}" by dn.exact="{searcher}" read by * {groups_for}
access to * by * read
database mdb
suffix "{base}"
rootdn "cn=root,{base}"
directory {folder}/data
"""


class Directory:
    """A running slapd; `authority` is the file of the authority that its certificate is from."""

    def __init__(self, folder: Path, port: int, secure: int) -> None:
        self.folder = folder
        self.authority = folder / "certificate.pem"
        self.url = f"ldap://localhost:{port}"
        self.secure_url = f"ldaps://localhost:{secure}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        listen = f"{self.url}/ {self.secure_url}/"
        self.process = subprocess.Popen(
            ["/usr/sbin/slapd", "-f", self.folder / "slapd.conf", "-h", listen, "-d", "0"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        eventually(self._answers, 20)

    def _answers(self) -> bool:
        done = subprocess.run(
            ["ldapsearch", "-x", "-H", self.url, "-b", BASE, "-s", "base"], capture_output=True, check=False
        )
        return done.returncode == 0

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(timeout=10)

    def modify(self, ldif: str) -> None:
        """Apply changes to its files while it is stopped."""
        self.stop()
        subprocess.run(
            ["/usr/sbin/slapmodify", "-f", self.folder / "slapd.conf"],
            input=ldif.encode(), check=True, capture_output=True,
        )  # fmt: skip
        self.start()


def person(uid: str, number: int, password: str | None = None, more: str = "") -> str:
    return (
        f"dn: uid={uid},{PEOPLE}\nobjectClass: inetOrgPerson\ncn: {uid}\nsn: {uid}\nuid: {uid}\n"
        f"{more}userPassword: {password or uid + '-password'}\nentryUUID: {UUID}{number:02}\n\n"
    )


def group(name: str, *members: str) -> str:
    lines = "".join(f"member: {member}\n" for member in members)
    return f"dn: cn={name},{GROUPS}\nobjectClass: groupOfNames\ncn: {name}\n{lines}\n"


def entries(groups: int) -> str:
    """Who is there. `sam` is in `python` by way of `lab`, and in `groups` more; `eve` has no group."""
    sam = f"uid=sam,{PEOPLE}"
    photo = "jpegPhoto:: /9j/4AAQ\n"
    text = (
        f"dn: {BASE}\nobjectClass: dcObject\nobjectClass: organization\no: Example\n\n"
        f"dn: {PEOPLE}\nobjectClass: organizationalUnit\n\ndn: {GROUPS}\nobjectClass: organizationalUnit\n\n"
        f"dn: {SEARCHER}\nobjectClass: organizationalRole\nobjectClass: simpleSecurityObject\n"
        f"userPassword: {SEARCHER_PASSWORD}\n\n"
        + person("ada", 1) + person("sam", 2, more=photo) + person("eve", 3)
        + person("two", 4, more="uid: second\n") + person("renée", 5)
        + group("staff", f"uid=ada,{PEOPLE}") + group("lab", sam) + group("python", f"cn=lab,{GROUPS}")
        + group("circle", f"cn=round,{GROUPS}") + group("round", f"cn=circle,{GROUPS}", sam)
        + f"dn: ou=elsewhere,{BASE}\nobjectClass: referral\nobjectClass: extensibleObject\nou: elsewhere\n"
        f"ref: ldap://127.0.0.1:1/ou=elsewhere,{BASE}\n\n"
    )  # fmt: skip
    return text + "".join(group(f"g{number}", sam) for number in range(groups))


def certificate(folder: Path) -> None:
    """A certificate for `localhost` that is its own authority."""
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-days", "3"]
    files = ["-keyout", folder / "key.pem", "-out", folder / "certificate.pem"]
    names = ["-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([*command, *files, *names], check=True, capture_output=True)


def expired_certificate(folder: Path) -> None:
    """One that was valid years ago: `openssl ca` can date back."""

    def run(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], check=True, capture_output=True, cwd=folder)

    (folder / "index.txt").write_text("")
    (folder / "serial").write_text("01\n")
    (folder / "ca.cnf").write_text(
        "[ca]\ndefault_ca=c\n[c]\ndatabase=index.txt\nserial=serial\nnew_certs_dir=.\ndefault_md=sha256\npolicy=p\n"
        "x509_extensions=x\n[p]\ncommonName=supplied\n[x]\nsubjectAltName=DNS:localhost\nbasicConstraints=CA:TRUE\n"
    )
    run("req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-keyout", "key.pem", "-out", "request.pem")
    run(
        "ca", "-batch", "-selfsign", "-config", "ca.cnf", "-keyfile", "key.pem", "-in", "request.pem",
        "-startdate", "20200101000000Z", "-enddate", "20200201000000Z", "-notext", "-out", "certificate.pem",
    )  # fmt: skip


@contextlib.contextmanager
def running_directory(
    folder: Path, *, groups: int = 0, expired: bool = False, groups_for: str = "read"
) -> Iterator[Directory]:
    """A slapd with `entries`, ended afterwards. `groups_for`: what everybody else may do with groups."""
    subprocess.run([ROOT / "tools/apt-install", "slapd", "ldap-utils", "openssl"], check=True, capture_output=True)
    (folder / "data").mkdir(parents=True)
    (expired_certificate if expired else certificate)(folder)
    text = CONFIG.format(folder=folder, base=BASE, searcher=SEARCHER, groups_for=groups_for)
    (folder / "slapd.conf").write_text(text)
    subprocess.run(
        ["/usr/sbin/slapadd", "-q", "-f", folder / "slapd.conf"], input=entries(groups).encode(), check=True,
        capture_output=True,
    )  # fmt: skip
    directory = Directory(folder, free_port(), free_port())
    try:
        directory.start()
        yield directory
    finally:
        directory.stop()
