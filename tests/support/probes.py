"""What is looked at from inside a learner's container: network, posture, and what happens to whoever takes too much.

Each snippet is the source of a Python program without imports of ours, which prints one line of JSON. It runs in a
container (`run_in`), or as a cell of a learner's notebook.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Mapping
from typing import Any

from support.beds import CACHE
from support.engines import Engine
from support.netns import run

PYTHON = "courseware-test/python:bookworm"
"""A small Debian with Python and iptables."""

OPEN, CLOSED, FILTERED, UNKNOWN = "open", "closed", "filtered", "unknown"
"""Something answers; the machine says that nobody listens; packets do not pass; the name leads nowhere."""

Target = tuple[str, int, str]
"""Address or name, port, `tcp` or `udp`."""

# What a container is kept from, or let to, outside its node. Nobody has these addresses but by a test.
METADATA = "169.254.169.254"
PRIVATE: tuple[Target, ...] = (
    (METADATA, 80, "tcp"),
    ("10.99.0.1", 80, "tcp"),
    ("10.99.0.1", 53, "udp"),
    ("172.30.0.1", 22, "tcp"),
    ("192.168.77.1", 445, "tcp"),
    ("100.64.9.1", 443, "tcp"),
)
INTERNET = "203.0.113.9"
PUBLIC: tuple[Target, ...] = ((INTERNET, 443, "tcp"), (INTERNET, 80, "tcp"), (INTERNET, 9000, "udp"))


def provide_python(engine: Engine) -> str:
    """Have an image with Python and iptables on this engine, and in its registry; its name."""
    if engine.docker("images", "--quiet", PYTHON):
        return PYTHON
    if not engine.registry.holds(PYTHON):
        engine.docker("import", "--change", 'CMD ["bash"]', str(_archive()), PYTHON, timeout=600)
        engine.publish(PYTHON)
    engine.provide(PYTHON)
    return PYTHON


def _archive() -> Any:
    """Its files, made once with debootstrap."""
    archive = CACHE / "debian-python.tar"
    if not archive.exists():
        root = CACHE / f"debian-python-{os.getpid()}"
        partial = CACHE / f"debian-python-{os.getpid()}.tar"
        run("debootstrap", "--variant=minbase", "--include=python3,iptables", "bookworm", root, timeout=1800)
        leave_out = ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/man", "usr/share/locale")
        run("tar", "-C", root, *(f"--exclude=./{path}/*" for path in leave_out), "-cf", partial, ".", timeout=600)
        shutil.rmtree(root)
        partial.rename(archive)
    return archive


def run_in(engine: Engine, container: str, source: str, timeout: float = 120) -> Any:
    """What a snippet found in a running container."""
    said = engine.docker("exec", "--interactive", container, "python3", "-", given=source, timeout=timeout)
    return json.loads(said.splitlines()[-1])


# --- network -----------------------------------------------------------------------------------

_CONNECTIONS = r"""
import concurrent.futures, errno, json, socket
TARGETS = json.loads({targets!r})
SECONDS = {seconds!r}
def probe(target):
    address, port, kind = target
    try:
        family, _, _, _, place = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)[0]
    except OSError:
        return "unknown"
    with socket.socket(family, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM) as s:
        s.settimeout(SECONDS)
        try:
            s.connect(place)
            if kind == "tcp":
                return "open"
            s.send(b"probe")
            return "open" if s.recv(100) else "filtered"
        except ConnectionRefusedError:
            return "closed"
        except OSError:
            return "filtered"
with concurrent.futures.ThreadPoolExecutor(32) as pool:
    found = list(pool.map(probe, TARGETS))
print(json.dumps([[*target, state] for target, state in zip(TARGETS, found)]))
"""


def connections(targets: Iterable[Target], seconds: float = 2.0) -> str:
    """The snippet that tries to reach each target, waiting `seconds` for it; `reached` reads its answer."""
    return _CONNECTIONS.format(targets=json.dumps(list(targets)), seconds=seconds)


def reached(answer: Iterable[Iterable[Any]]) -> Mapping[Target, str]:
    """The state of each target: OPEN, CLOSED, FILTERED or UNKNOWN."""
    return {(address, port, kind): state for address, port, kind, state in answer}


LISTENERS = r"""
import json, selectors, socket, sys
chosen = selectors.DefaultSelector()
for address, port, kind in json.loads(sys.argv[1]):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    s = socket.socket(family, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)  # two runs of the tests at the same time
    if family == socket.AF_INET6:
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    s.bind((address, port))
    if kind == "tcp":
        s.listen(64)
    chosen.register(s, selectors.EVENT_READ, kind)
print("listening", flush=True)
while True:
    for key, _ in chosen.select():
        if key.data == "tcp":
            connection, _ = key.fileobj.accept()
            connection.close()
        else:
            data, sender = key.fileobj.recvfrom(100)
            key.fileobj.sendto(data, sender)
"""
"""Listens at every (address, port, `tcp` or `udp`) of its first argument, a JSON list; prints a line when it does."""


FORGERIES = r"""
import fcntl, json, socket
def attempt(what):
    try:
        what()
    except OSError as error:
        return type(error).__name__
    return "done"
def another_mac():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        fcntl.ioctl(s, 0x8955, b"\2" + b"\0" * 67)  # SIOCSARP
def another_address():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.setsockopt(socket.SOL_IP, 19, 1)  # IP_TRANSPARENT
print(json.dumps({
    "frames": attempt(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0x300).close()),
    "packets": attempt(lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1).close()),
    "packets6": attempt(lambda: socket.socket(socket.AF_INET6, socket.SOCK_RAW, 58).close()),
    "neighbours": attempt(another_mac),
    "sender": attempt(another_address),
}))
"""
"""Tries to send what the kernel has not made: frames, packets, entries of the ARP table, another's address."""

_NAMES = r"""
import json, socket, struct
def ask(name, kind):
    parts = [part.encode() for part in name.split(".")]
    question = b"".join(bytes([len(part)]) + part for part in parts) + b"\0" + struct.pack("!HH", kind, 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(2)
        try:
            s.connect(("127.0.0.11", 53))
            s.send(b"cw\1\0\0\1\0\0\0\0\0\0" + question)
            answer = s.recv(1000)
        except OSError:
            return None
    return struct.unpack_from("!H", answer, 6)[0]
print(json.dumps([ask(name, kind) for name, kind in json.loads({names!r})]))
"""


def answered(names: Iterable[tuple[str, int]]) -> str:
    """The snippet that asks Docker's name server for each (name, type); prints how many answers each has, or null."""
    return _NAMES.format(names=json.dumps(list(names)))


# --- requests ----------------------------------------------------------------------------------

EVIL = "evil.example.org"
EVIL_ADDRESS = "192.0.2.66"

Header = tuple[str, str]

_REQUESTS = r"""
import concurrent.futures, http.client, json
HOST, PORT = {host!r}, {port!r}
def ask(request):
    path, headers = request
    connection = http.client.HTTPConnection(HOST, PORT, timeout=30)
    try:
        connection.putrequest("GET", path, skip_host="host" in [name.lower() for name, _ in headers])
        for name, value in headers:
            connection.putheader(name, value)
        connection.endheaders()
        answer = connection.getresponse()
        cookies = answer.headers.get_all("Set-Cookie") or []
        said = str(answer.headers) + answer.read().decode(errors="replace")
    finally:
        connection.close()
    place = answer.getheader("Location", "").partition("?")[0]
    parts = [cookie.split("; ") for cookie in cookies]
    lasting = [[first.partition("=")[0], *(each for each in rest if "xpires=" not in each)] for first, *rest in parts]
    named = sorted("; ".join(each) for each in lasting)
    return dict(status=answer.status, place=place, cookies=named, told=[word for word in {words!r} if word in said])
with concurrent.futures.ThreadPoolExecutor(4) as pool:
    print(json.dumps(list(pool.map(ask, json.loads({requests!r})))))
"""


def requests_to(host: str, port: int, requests: Iterable[tuple[str, Iterable[Header]]], words: Iterable[str]) -> str:
    """The snippet that sends each (path, headers) as it stands, and tells status, `Location` without query, cookies
    without values, and which of `words` the answer contains."""
    asked = json.dumps([(path, list(headers)) for path, headers in requests])
    return _REQUESTS.format(host=host, port=port, requests=asked, words=[EVIL, EVIL_ADDRESS, *words])


def claims(user: str) -> list[list[Header]]:
    """Headers that say that one is `user`, that the site is somewhere else, or that one comes from somewhere else."""
    spellings = [
        *("REMOTE_USER", "Remote-User", "remote_user", "REMOTE-USER", "HTTP_REMOTE_USER"),
        *("X-Remote-User", "X_Remote_User", "X-REMOTE-USER", "X-Remote_User"),
        *("X-Forwarded-User", "X_Forwarded_User", "X-Forwarded-Email", "X-Forwarded-Preferred-Username"),
        *("X-Auth-Request-User", "X-WEBAUTH-USER", "X-User", "X-JupyterHub-User", "Authorization"),
    ]
    identities = [[(name, user)] for name in spellings]
    twice = [[(name, "nobody"), (name, user)] for name in spellings[:-1]]
    places = [
        *(("X-Forwarded-Host", EVIL), ("X_Forwarded_Host", EVIL), ("X-Forwarded-Server", EVIL), ("X-Host", EVIL)),
        *(("X-Forwarded-Proto", "https"), ("X_Forwarded_Proto", "https"), ("X-Forwarded-Port", "444")),
        *(("X-Forwarded-Prefix", f"//{EVIL}/"), ("X-Original-URL", "/admin"), ("X-Rewrite-URL", "/admin")),
        *(("X-Scheme", "https"), ("X_Scheme", "https"), ("X-Forwarded-Scheme", "https"), ("X-Forwarded-Ssl", "on")),
        *(("Forwarded", f"for={EVIL_ADDRESS};host={EVIL};proto=https"), ("X-Real-Ip", EVIL_ADDRESS)),
        *(("X-Forwarded-For", EVIL_ADDRESS), ("X_Forwarded_For", EVIL_ADDRESS), ("X-Forwarded-For", "127.0.0.1")),
    ]
    return [
        *identities,
        *twice,
        *([place] for place in places),
        *([(name, "first.example.org"), (name, value)] for name, value in places if value == EVIL),
        [header for each in identities for header in each] + places,
    ]


# --- what is taken -----------------------------------------------------------------------------

BOMB = r"""
import os, sys, time
end = time.monotonic() + float(sys.argv[1])
while time.monotonic() < end:
    try:
        os.fork()
    except OSError:
        time.sleep(0.01)
"""
"""Doubles itself for so many seconds, its first argument; then all of them end."""

_FILL = r"""
import errno, json, os
name, left, error = {path!r}, {megabytes!r}, None
try:
    with open(name, "wb", buffering=0) as file:
        while left > 0:
            left -= file.write(bytes(2**20)) / 2**20
    with open(name, "rb", buffering=0) as file:
        while file.read(2**20):
            pass
except OSError as e:
    error = errno.errorcode[e.errno]
size = os.path.getsize(name) if os.path.exists(name) else -1
if size >= 0:
    os.unlink(name)
print(json.dumps([size, error]))
"""


def fill(path: str, megabytes: int) -> str:
    """The snippet that writes so much into a file, reads it and removes it.

    It prints how many bytes were written (-1: not even begun), and errno or null.
    """
    return _FILL.format(path=path, megabytes=megabytes)


_LITTER = r"""
import errno, json, os, shutil, tempfile
folder, count, error = tempfile.mkdtemp(dir={path!r}), 0, None
try:
    for count in range({files!r}):
        os.close(os.open(f"{{folder}}/{{count}}", os.O_CREAT | os.O_EXCL | os.O_WRONLY))
except OSError as e:
    error = errno.errorcode[e.errno]
shutil.rmtree(folder)
print(json.dumps([count, error]))
"""


def litter(path: str, files: int) -> str:
    """The snippet that makes so many empty files in a folder and removes them; prints how many, and errno or null."""
    return _LITTER.format(path=path, files=files)


WRITABLE = r"""
import json, os
def mount_of(path):
    while not os.path.ismount(path):
        path = os.path.dirname(path)
    return path
found = set()
for folder, folders, files in os.walk("/"):
    folders[:] = [name for name in folders if os.path.join(folder, name) not in ("/proc", "/dev/fd")]
    for path in [folder, *(os.path.join(folder, name) for name in files)]:
        if os.path.isfile(path) or os.path.isdir(path):
            if os.access(path, os.W_OK):
                found.add(mount_of(path))
print(json.dumps(sorted(found)))
"""
"""Prints the mount points below which a file or folder can be written, `/proc` aside."""


# --- posture -----------------------------------------------------------------------------------

POSTURE = r"""
import ctypes, errno, glob, json, os, resource, stat
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *arguments):
    ctypes.set_errno(0)
    words = [ctypes.c_char_p(each) if isinstance(each, bytes) else ctypes.c_long(each) for each in arguments]
    if os.fork() == 0:  # what is allowed changes a child alone
        done = libc.syscall(number, *words)
        os._exit(0 if done >= 0 else ctypes.get_errno())
    code = os.waitstatus_to_exitcode(os.wait()[1])
    return errno.errorcode.get(code, code)
def writable(*folders):
    found = []
    for top in folders:
        for folder, _, files in os.walk(top):
            found += [path for name in files if os.access(path := os.path.join(folder, name), os.W_OK)]
    return found
def content(path):
    try:
        if os.path.isdir(path):
            return len(os.listdir(path))
        with open(path, "rb") as file:
            return len(file.read(100))
    except OSError as error:
        return None
status = dict(line.split(":\t", 1) for line in open("/proc/self/status").read().splitlines() if ":\t" in line)
nodes = [os.path.join(folder, name) for folder, _, names in os.walk("/dev") for name in names]
sockets = [
    os.path.join(folder, name)
    for top in ("/run", "/var", "/tmp", "/home", "/srv", "/opt", "/mnt")
    for folder, _, names in os.walk(top)
    for name in names
    if stat.S_ISSOCK(os.lstat(os.path.join(folder, name)).st_mode)
]
print(json.dumps({
    "uid": os.getresuid(), "groups": sorted({os.getgid(), *os.getgroups()}),
    **{key: status[key] for key in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp")},
    "owners": sorted({os.stat(f"/proc/{pid}").st_uid for pid in os.listdir("/proc") if pid.isdigit()}),
    "limits": {name: resource.getrlimit(getattr(resource, f"RLIMIT_{name}")) for name in ("CORE", "NOFILE")},
    "calls": {
        "mount": call(165, b"none", b"/tmp", b"tmpfs", 0, 0),
        "remount": call(165, b"none", b"/", b"none", 0x20 | 0x1000, 0),
        "umount": call(166, b"/tmp", 0),
        "open_tree": call(428, -100, b"/", 1),
        "fsopen": call(430, b"tmpfs", 0),
        "pivot_root": call(155, b"/tmp", b"/tmp"),
        "chroot": call(161, b"/tmp"),
        "unshare user": call(272, 0x10000000),
        "unshare mounts": call(272, 0x20000),
        "setns": call(308, os.open("/proc/self/ns/net", 0), 0),
        "keyctl": call(250, 0, -3, 0, 0, 0),
        "add_key": call(248, b"user", b"x", b"y", 1, -3),
        "request_key": call(249, b"user", b"x", 0, -3),
        "bpf": call(321, 0, 0, 0),
        "perf_event_open": call(298, 0, 0, -1, -1, 0),
        "userfaultfd": call(323, 0),
        "open_by_handle_at": call(304, -100, 0, 0),
        "init_module": call(175, 0, 0, b""),
        "kexec_load": call(246, 0, 0, 0, 0),
        "iopl": call(172, 3),
        "acct": call(163, 0),
        "swapoff": call(168, b"/none"),
        "sethostname": call(170, b"x", 1),
        "mknod": call(133, b"/tmp/disk", 0o60600, 0xFE00),
        "setuid": call(105, 0),
        "setgid": call(106, 0),
    },
    "writable": writable("/sys", "/proc/sys", "/proc/irq", "/proc/bus", "/proc/fs"),
    "trigger": [p for p in ("/proc/sysrq-trigger", "/proc/kcore", "/dev/mem", "/dev/kmsg") if os.access(p, os.W_OK)],
    "shown": {
        path: content(path)
        for path in ("/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/acpi", "/proc/scsi", "/sys/firmware")
    },
    "blocks": [path for path in nodes if os.path.exists(path) and stat.S_ISBLK(os.stat(path).st_mode)],
    "gpus": [path for pattern in ("nvidia*", "dri*", "kfd*") for path in glob.glob(f"/dev/{pattern}")],
    "sockets": sockets,
}))
"""
"""Who one is, what the kernel lets one do, and what of the machine is in sight; in `calls`, 0 is done."""
