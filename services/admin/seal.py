"""Small pieces of state that a browser keeps for us: encrypted, so that it can neither read nor change them."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final

from joserfc import jwe
from joserfc.errors import JoseError
from joserfc.jwk import OctKey

_ALGORITHMS: Final = ["dir", "A256GCM"]
_HEADER: Final = {"alg": "dir", "enc": "A256GCM"}
_MAX_BYTES: Final = 4_096


class Seal:
    """Encrypts with AES-256-GCM under a key derived from a secret (an empty one: a fresh secret of this process)."""

    def __init__(self, secret: str, purpose: str, real: Callable[[], datetime]) -> None:
        material = secret or secrets.token_urlsafe(32)
        digest = hashlib.sha256(f"lichtbuch-admin\0{purpose}\0{material}".encode()).digest()
        self._key = OctKey.import_key(digest)
        self._real = real

    def close(self, content: dict[str, str], life: timedelta) -> str:
        """The sealed content, which `open` takes for as long as `life` (real time)."""
        ends_at = (self._real() + life).timestamp()
        plain = json.dumps({"content": content, "ends_at": ends_at})
        return jwe.encrypt_compact(_HEADER, plain, self._key, algorithms=_ALGORITHMS)

    def open(self, sealed: str) -> dict[str, str] | None:
        """The content; None for what is not ours, was changed, or is too old."""
        if not sealed or len(sealed) > _MAX_BYTES:
            return None
        try:
            plain = jwe.decrypt_compact(sealed, self._key, algorithms=_ALGORITHMS).plaintext
            kept: dict[str, Any] = json.loads(plain or b"")
        except (JoseError, ValueError, TypeError, KeyError):
            return None
        if kept["ends_at"] <= self._real().timestamp():
            return None
        return {str(key): str(value) for key, value in kept["content"].items()}
