"""Login: forged ID tokens, answers that belong elsewhere, an issuer that misbehaves, what a browser keeps for us."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from domain.errors import NotAuthenticated, Unavailable
from servicekit.auth import IssuerKeys
from services.admin.auth import Attempt, OpenId
from services.admin.id_token import IdTokenJudge
from services.admin.seal import Seal
from tests.support.issuer import Issuer, _answer, _part, new_ec_key

CLIENT = "lichtbuch-admin"
NONCE = "only-once"


class CodeIssuer(Issuer):
    """The tests' issuer with an authorization endpoint, which trades any code for the tokens that it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.status, self.tokens, self.forms = 200, {}, []  # type: ignore[var-annotated]

    def _get(self, handler: BaseHTTPRequestHandler) -> None:
        if handler.path == "/.well-known/openid-configuration" and not self.away:
            endpoints = {"jwks_uri": "keys", "token_endpoint": "token", "authorization_endpoint": "authorize?tenant=a"}
            _answer(handler, 200, {"issuer": self.url} | {key: f"{self.url}/{path}" for key, path in endpoints.items()})
        else:
            super()._get(handler)

    def _post(self, handler: BaseHTTPRequestHandler) -> None:
        self.forms.append(parse_qs(handler.rfile.read(int(handler.headers["content-length"])).decode()))
        _answer(handler, self.status, self.tokens)

    def id_token(self, **changes: Any) -> str:
        """An ID token that holds, but for the changes."""
        return self.token(
            **{"header": {"typ": "JWT"}, "aud": CLIENT, "nonce": NONCE, "name": "Vera Ansicht", **changes}
        )


@pytest.fixture
def issuer() -> Iterator[CodeIssuer]:
    issuer = CodeIssuer()
    yield issuer
    issuer.close()


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
async def judge(issuer: CodeIssuer) -> IdTokenJudge:
    return IdTokenJudge(IssuerKeys(issuer.url), issuer=issuer.url, client_id=CLIENT, skew_s=30, real=now)


@pytest.fixture
async def openid(issuer: CodeIssuer, judge: IdTokenJudge) -> OpenId:
    return OpenId(issuer=issuer.url, client_id=CLIENT, scope="openid profile", judge=judge, real=now)


async def test_a_true_id_token_tells_who_logged_in(issuer: CodeIssuer, judge: IdTokenJudge) -> None:
    person = await judge.judge(issuer.id_token(subject="u-1"), NONCE)
    assert (person.subject, person.name) == ("u-1", "Vera Ansicht")


@pytest.mark.parametrize(
    ("claim", "changes"),
    [
        ("aud", {"aud": "lichtbuch"}),
        ("aud", {"aud": None}),
        ("azp", {"aud": [CLIENT, "another"]}),
        ("azp", {"azp": "another"}),
        ("iss", {"iss": "https://elsewhere.example"}),
        ("iss", {"iss": None}),
        ("nonce", {"nonce": "another login's"}),
        ("nonce", {"nonce": None}),
        ("exp", {"exp": int(now().timestamp()) - 3600}),
        ("exp", {"exp": None}),
        ("exp", {"exp": True}),
        ("iat", {"iat": int(now().timestamp()) + 3600, "nbf": None}),
        ("iat", {"iat": None}),
        ("sub", {"sub": None}),
        ("sub", {"sub": "x" * 300}),
        ("typ", {"header": {"typ": "at+jwt"}}),
    ],
)
async def test_an_id_token_that_is_not_for_this_login_is_refused_by_its_claim(
    issuer: CodeIssuer, judge: IdTokenJudge, claim: str, changes: dict[str, Any]
) -> None:
    with pytest.raises(NotAuthenticated, match=f"^{claim}:"):
        await judge.judge(issuer.id_token(**changes), NONCE)


async def test_a_token_signed_by_somebody_else_is_refused(issuer: CodeIssuer, judge: IdTokenJudge) -> None:
    stranger = new_ec_key("ec-1")  # the same key id, another key
    with pytest.raises(NotAuthenticated, match=r"^signature:"):
        await judge.judge(issuer.id_token(key=stranger), NONCE)


async def test_unsigned_and_half_signed_tokens_are_refused(issuer: CodeIssuer, judge: IdTokenJudge) -> None:
    public = issuer.keys[-1].as_pem(private=False)  # type: ignore[union-attr]
    for token in (
        issuer.unsigned_token(aud=CLIENT, nonce=NONCE),
        issuer.shared_secret_token(public),
        "",
        "a.b",
        "a.b.c",
        "x" * 20_000,
        issuer.id_token()[:-6] + "AAAAAA",
        f"{_part({'alg': 'ES256', 'kid': 7})}.{_part(issuer.claims('u-1'))}.AAAA",
        f"{_part({'alg': 'ES256', 'crit': ['exp']})}.{_part(issuer.claims('u-1'))}.AAAA",
    ):
        with pytest.raises(NotAuthenticated):
            await judge.judge(token, NONCE)


async def test_an_attempt_goes_out_with_state_nonce_and_challenge(openid: OpenId) -> None:
    attempt = Attempt.fresh("http://127.0.0.1:8080/auth/callback", "/de/bad-hersfeld")
    url = urlsplit(await openid.authorization_url(attempt, "de"))
    query = {key: values[0] for key, values in parse_qs(url.query).items()}
    assert query["tenant"] == "a"
    assert query["state"] == attempt.state
    assert query["nonce"] == attempt.nonce
    assert query["code_challenge"] == attempt.challenge
    assert query["code_challenge_method"] == "S256"
    assert attempt.verifier not in url.query
    assert Attempt.fresh("x", "/").state != attempt.state


def good_tokens(issuer: CodeIssuer, attempt: Attempt) -> dict[str, Any]:
    return {
        "access_token": "opaque",
        "id_token": issuer.id_token(nonce=attempt.nonce),
        "token_type": "Bearer",
        "expires_in": 120,
    }


async def test_a_code_is_traded_with_its_verifier(issuer: CodeIssuer, openid: OpenId) -> None:
    attempt = Attempt.fresh("http://127.0.0.1/auth/callback", "/")
    issuer.tokens = good_tokens(issuer, attempt)
    login = await openid.finish(attempt, {"state": attempt.state, "code": "c", "iss": issuer.url})
    assert login.access_token == "opaque"
    assert timedelta(seconds=60) < login.ends_at - now() < timedelta(seconds=121)
    assert issuer.forms[0]["code_verifier"] == [attempt.verifier]
    assert "opaque" not in repr(login)


@pytest.mark.parametrize(
    "answer",
    [
        {"state": "another", "code": "c"},
        {"code": "c"},
        {"state": "ours", "code": "c", "iss": "https://elsewhere.example"},
        {"state": "ours", "error": "access_denied"},
        {"state": "ours"},
    ],
)
async def test_an_answer_that_is_not_ours_trades_nothing(
    issuer: CodeIssuer, openid: OpenId, answer: dict[str, str]
) -> None:
    attempt = Attempt("ours", NONCE, "v" * 43, "http://127.0.0.1/auth/callback", "/")
    issuer.tokens = good_tokens(issuer, attempt)
    with pytest.raises(NotAuthenticated):
        await openid.finish(attempt, answer)
    assert issuer.forms == []


@pytest.mark.parametrize(
    ("status", "change", "error"),
    [
        (400, {}, NotAuthenticated),
        (302, {}, NotAuthenticated),
        (503, {}, Unavailable),
        (200, {"access_token": None}, NotAuthenticated),
        (200, {"id_token": None}, NotAuthenticated),
        (200, {"id_token": "a.b.c"}, NotAuthenticated),
        (200, {"token_type": "DPoP"}, NotAuthenticated),
    ],
)
async def test_an_issuer_that_misbehaves_logs_nobody_in(
    issuer: CodeIssuer, openid: OpenId, status: int, change: dict[str, Any], error: type[Exception]
) -> None:
    attempt = Attempt.fresh("http://127.0.0.1/auth/callback", "/")
    issuer.status, issuer.tokens = status, good_tokens(issuer, attempt) | change
    with pytest.raises(error):
        await openid.finish(attempt, {"state": attempt.state, "code": "c"})


async def test_an_issuer_that_is_away_is_told_apart_from_one_that_refuses(issuer: CodeIssuer, openid: OpenId) -> None:
    issuer.away = True
    with pytest.raises(Unavailable):
        await openid.authorization_url(Attempt.fresh("x", "/"), "de")
    assert await openid.logout_url("t", "http://127.0.0.1/signed-out") is None


def test_what_a_browser_keeps_for_us_it_can_neither_read_nor_change() -> None:
    seal = Seal("s" * 32, "login", now)
    sealed = seal.close({"verifier": "secret-verifier"}, timedelta(minutes=1))
    assert seal.open(sealed) == {"verifier": "secret-verifier"}
    assert "secret-verifier" not in sealed
    header, key, vector, text, tag = sealed.split(".")
    # The first letter, not the last: of that one some bits mean nothing, and it may be the one that was put there.
    other_text, other_tag = (("B" if piece[0] == "A" else "A") + piece[1:] for piece in (text, tag))
    forged = (
        f"{header}.{key}.{vector}.{other_text}.{tag}",
        f"{header}.{key}.{vector}.{text}.{other_tag}",
        "",
        "a.b.c.d.e",
        "x" * 10_000,
    )
    assert [seal.open(piece) for piece in forged] == [None] * 5


def test_a_seal_holds_for_its_purpose_its_secret_and_its_time() -> None:
    at = [now()]
    seal = Seal("s" * 32, "login", lambda: at[0])
    sealed = seal.close({"a": "b"}, timedelta(minutes=10))
    assert Seal("s" * 32, "login", now).open(sealed) == {"a": "b"}
    assert Seal("s" * 32, "other", now).open(sealed) is None
    assert Seal("t" * 32, "login", now).open(sealed) is None
    assert Seal("", "login", now).open(sealed) is None
    at[0] += timedelta(minutes=11)
    assert seal.open(sealed) is None
