"""What the demonstration issuer puts into its tokens, for people and for services. Not: who gets one."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from joserfc import jwt

from domain.names import new_uid
from services.registry.issuer.keys import ALGORITHM, SigningKey
from services.registry.issuer.users import DemonstrationUser

AUDIENCE: Final = "lichtbuch"
LIFETIME: Final = timedelta(hours=1)


class TokenMint:
    """Signs tokens. `now` is the real clock: a token's life does not pass faster in a time-lapse."""

    def __init__(self, issuer: str, key: SigningKey, now: Callable[[], datetime]) -> None:
        self.issuer = issuer
        self._key = key
        self._now = now

    def access_token_for(self, user: DemonstrationUser, client_id: str) -> str:
        """A person's access token. It names no role: the registry knows those."""
        return self._sign(user.subject, AUDIENCE, "at+jwt", {"client_id": client_id, **_profile(user)})

    def access_token_for_service(self, client_id: str, subject: str) -> str:
        """A service's own access token; its subject is "service:" and its name."""
        return self._sign(subject, AUDIENCE, "at+jwt", {"client_id": client_id})

    def id_token_for(self, user: DemonstrationUser, client_id: str, nonce: str | None, auth_time: datetime) -> str:
        """Tells the client who logged in. Its audience is the client: no service takes it for an access token."""
        claims: dict[str, object] = {"auth_time": int(auth_time.timestamp()), **_profile(user)}
        if nonce is not None:
            claims["nonce"] = nonce
        return self._sign(user.subject, client_id, "JWT", claims)

    def _sign(self, subject: str, audience: str, token_type: str, claims: dict[str, object]) -> str:
        issued_at = int(self._now().timestamp())
        return jwt.encode(
            {"alg": ALGORITHM, "kid": self._key.kid, "typ": token_type},
            {
                "iss": self.issuer,
                "sub": subject,
                "aud": audience,
                "iat": issued_at,
                "exp": issued_at + int(LIFETIME.total_seconds()),
                "jti": new_uid(),
                **claims,
            },
            self._key.key,
            algorithms=[ALGORITHM],
        )


def _profile(user: DemonstrationUser) -> dict[str, object]:
    return {"name": user.name, "preferred_username": user.username}
