"""The tool's own keys: a platform fetches the public ones, and checks with them what this hub signs.

Runs in: hub. One file a key in a folder that the caller gives, readable by nobody else. Two keys are published while
one takes over from the other, so that a platform that keeps the key set for a while always has the one it needs.
Everything blocks; making a key takes up to half a second.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from coursewarehub.state.files import replace_text

BITS: Final = 2048
SETTLE: Final = 24 * 3600
"""Seconds for which a new key is published before it signs: longer than platforms keep a key set."""
_FILE: Final = re.compile(r"([0-9]{10,12})-([A-Za-z0-9_-]{43})\.pem", re.ASCII)


class KeysUnusable(Exception):
    """A key cannot be used; one sentence says which file and what to do."""


@dataclass(frozen=True)
class ToolKey:
    """One key. `made` is in seconds since 1970, `kid` the key's thumbprint (RFC 7638)."""

    kid: str
    made: int
    private: rsa.RSAPrivateKey = field(repr=False)

    def sign(self, claims: dict[str, Any]) -> str:
        """A JWT of the claims, RS256, with the key's `kid`."""
        return jwt.encode(claims, self.private, algorithm="RS256", headers={"kid": self.kid})

    def public(self) -> dict[str, str]:
        """The public half as RFC 7517 writes it."""
        return _members(self.private) | {"kid": self.kid, "use": "sig", "alg": "RS256"}


class ToolKeys:
    """The keys in `folder`, which is made if it is not there. Times are in seconds since 1970."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def signing(self, now: float) -> ToolKey:
        """The key to sign with: the newest that has been published long enough, or the oldest; made when there is none.

        Raises KeysUnusable.
        """
        keys = self._all() or [self._first(now)]
        settled = [key for key in keys if key.made + SETTLE <= now]
        return settled[-1] if settled else keys[0]

    def rotate(self, now: float) -> ToolKey:
        """Make the next key, and forget all but the one that signs now. Raises KeysUnusable."""
        with self._locked():
            keys = self._all()
            last = self.signing(now).kid if keys else None
            for key in keys:
                if key.kid != last:
                    self._file(key).unlink(missing_ok=True)
            return self._make(max(int(now), *(key.made + 1 for key in keys)) if keys else int(now))

    def document(self, now: float) -> dict[str, list[dict[str, str]]]:
        """The JWKS document with every public key, made when there is none. Raises KeysUnusable."""
        self.signing(now)
        return {"keys": [key.public() for key in self._all()]}

    def _first(self, now: float) -> ToolKey:
        """Of two processes that need one at the same time, one makes it."""
        with self._locked():
            return next(iter(self._all()), None) or self._make(int(now))

    def _make(self, made: int) -> ToolKey:
        private = rsa.generate_private_key(public_exponent=65537, key_size=BITS)
        key = ToolKey(_thumbprint(private), made, private)
        text = private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode()
        replace_text(self._file(key), text, mode=0o600)
        return key

    def _file(self, key: ToolKey) -> Path:
        return self._folder / f"{key.made}-{key.kid}.pem"

    def _all(self) -> list[ToolKey]:
        """From the oldest to the newest."""
        if not self._folder.is_dir():
            return []
        found = ((match, file) for file in self._folder.iterdir() if (match := _FILE.fullmatch(file.name)))
        keys = [_read(file, int(match[1]), match[2]) for match, file in found]
        return sorted((key for key in keys if key is not None), key=lambda key: key.made)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(self._folder / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _read(file: Path, made: int, kid: str) -> ToolKey | None:
    """The key in a file; None when it has just been removed. Raises KeysUnusable."""
    try:
        if file.stat().st_mode & 0o077:
            raise KeysUnusable(f"{file} can be read by others: run `chmod 600 {file}`")
        private = serialization.load_pem_private_key(file.read_bytes(), password=None)
    except FileNotFoundError:
        return None
    except (ValueError, TypeError):
        raise KeysUnusable(f"{file} is not a private key: restore it from a backup, or remove it") from None
    if not isinstance(private, rsa.RSAPrivateKey) or _thumbprint(private) != kid:
        raise KeysUnusable(f"{file} is not the key of its name: restore it from a backup, or remove it")
    return ToolKey(kid, made, private)


def _members(private: rsa.RSAPrivateKey) -> dict[str, str]:
    numbers = private.public_key().public_numbers()
    return {"e": _number(numbers.e), "kty": "RSA", "n": _number(numbers.n)}


def _thumbprint(private: rsa.RSAPrivateKey) -> str:
    """RFC 7638: SHA-256 of the members in the order of their names, without spaces."""
    return _base64url(hashlib.sha256(json.dumps(_members(private), separators=(",", ":")).encode()).digest())


def _number(number: int) -> str:
    return _base64url(number.to_bytes((number.bit_length() + 7) // 8, "big"))


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
