"""The key that signs the demonstration tokens: made at the first start, kept in the data folder. Not: the tokens."""

import json
from pathlib import Path
from typing import Final, Self

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeySet

from domain.errors import Corrupted
from services.registry.issuer.private_files import read_or_create

ALGORITHM: Final = "ES256"
KEY_FILE: Final = "signing-key.json"


class SigningKey:
    """A private ES256 key (P-256) and the public half that the world may see."""

    def __init__(self, key: ECKey) -> None:
        self.key = key

    @classmethod
    def load(cls, data_dir: Path) -> Self:
        """Reads the key, or makes one at the first start. Raises Corrupted if the file holds no such key."""
        path = data_dir / KEY_FILE
        text = read_or_create(path, _new_key_text)
        try:
            key = ECKey.import_key(json.loads(text))
        except (ValueError, KeyError, TypeError, JoseError) as error:
            raise Corrupted(f"{path} holds no signing key: {error}; delete it, and a new one is made") from error
        if not key.is_private or key.curve_name != "P-256" or not key.kid:
            raise Corrupted(f"{path} holds no private P-256 key with an id; delete it, and a new one is made")
        return cls(key)

    @property
    def kid(self) -> str:
        """The key's id: its RFC 7638 thumbprint."""
        return str(self.key.kid)

    def jwks(self) -> dict[str, object]:
        """The JSON Web Key Set (RFC 7517) with the public half."""
        return dict(KeySet([self.key]).as_dict(private=False))


def _new_key_text() -> str:
    key = ECKey.generate_key("P-256", {"use": "sig", "alg": ALGORITHM}, auto_kid=True)
    return json.dumps(key.as_dict(private=True), indent=1)
