"""Who calls: tokens that hold, tokens that do not, and why."""

import asyncio
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from joserfc.jwk import OctKey

from domain.errors import NotAuthenticated, Unavailable
from servicekit.auth import Authenticator, Identity, IssuerKeys, TokenValidator
from tests.support.issuer import Issuer, new_ec_key, new_ed25519_key, new_rsa_key


class SteppingTime:
    """Real time as the validator sees it, moved by hand."""

    def __init__(self) -> None:
        self.ahead = timedelta(0)

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    made = Issuer()
    yield made
    made.close()


@pytest.fixture
def real() -> SteppingTime:
    return SteppingTime()


@pytest.fixture
def validator(issuer: Issuer, real: SteppingTime) -> TokenValidator:
    return TokenValidator(
        IssuerKeys(issuer.url, real=real), issuer=issuer.url, audience="lichtbuch", skew_s=30, real=real
    )


@pytest.mark.parametrize("new_key", [new_rsa_key, new_ec_key, new_ed25519_key])
@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")
async def test_a_token_signed_by_the_issuer_holds(issuer, validator, new_key):
    issuer.rotate(new_key("k"))
    assert await validator.validate(issuer.token("person-7")) == Identity("person-7")


async def test_an_audience_among_several_is_enough(issuer, validator):
    assert (await validator.validate(issuer.token(aud=["other", "lichtbuch"]))).subject == "person-1"


async def test_a_service_is_known_by_its_subject(issuer, validator):
    assert await validator.validate(issuer.token("service:scheduler")) == Identity("service:scheduler", "scheduler")
    with pytest.raises(NotAuthenticated, match="unknown service"):
        await validator.validate(issuer.token("service:nobody"))


async def test_an_issuer_that_chooses_subjects_itself_is_told_which_are_services(issuer):
    validator = TokenValidator(
        IssuerKeys(issuer.url),
        issuer=issuer.url,
        audience="lichtbuch",
        service_subjects={"0b1f": "ledger"},
    )
    assert await validator.validate(issuer.token("0b1f")) == Identity("service:ledger", "ledger")
    with pytest.raises(NotAuthenticated, match="service_subjects"):
        await validator.validate(issuer.token("service:scheduler"))


async def test_a_signature_by_another_key_does_not_hold(issuer, validator):
    forged = new_ec_key(issuer.keys[0].kid)
    with pytest.raises(NotAuthenticated, match="signature"):
        await validator.validate(issuer.token(key=forged))


async def test_a_changed_claim_breaks_the_signature(issuer, validator):
    header, _, signature = issuer.token("person-1").split(".")
    _, admin_claims, _ = issuer.token("admin").split(".")
    with pytest.raises(NotAuthenticated, match="signature"):
        await validator.validate(f"{header}.{admin_claims}.{signature}")


async def test_algorithm_none_is_refused(issuer, validator):
    with pytest.raises(NotAuthenticated):
        await validator.validate(issuer.unsigned_token())
    with pytest.raises(NotAuthenticated, match="alg"):
        await validator.validate(issuer.unsigned_token() + "AAAA")


async def test_a_public_key_is_no_shared_secret(issuer, validator):
    key = issuer.rotate(new_rsa_key("rsa"))
    with pytest.raises(NotAuthenticated, match="alg"):
        await validator.validate(issuer.shared_secret_token(key.as_pem(private=False)))


async def test_a_shared_secret_in_the_key_set_is_not_used(issuer, validator):
    issuer.keys = [new_ec_key("good"), OctKey.import_key(b"x" * 32, {"kid": "bad"})]
    with pytest.raises(NotAuthenticated):
        await validator.validate(issuer.shared_secret_token(b"x" * 32))
    assert await validator.validate(issuer.token(key=issuer.keys[0]))


async def test_an_algorithm_beyond_the_list_is_refused(issuer, validator):
    key = issuer.rotate(new_rsa_key("rsa"))
    with pytest.raises(NotAuthenticated, match="alg"):
        await validator.validate(issuer.token(key=key, header={"alg": "RS512"}))


@pytest.mark.parametrize(
    ("claim", "changes"),
    [
        ("aud", {"aud": "another"}),
        ("aud", {"aud": None}),
        ("aud", {"aud": ["a", "b"]}),
        ("iss", {"iss": "https://issuer.example"}),
        ("iss", {"iss": None}),
        ("exp", {"exp": int(time.time()) - 31}),
        ("exp", {"exp": None}),
        ("exp", {"exp": "tomorrow"}),
        ("exp", {"exp": True}),
        ("nbf", {"nbf": int(time.time()) + 86_400}),
        ("iat", {"iat": int(time.time()) + 86_400}),
        ("sub", {"subject": ""}),
        ("sub", {"subject": "x" * 256}),
    ],
)
async def test_a_wrong_claim_is_named(issuer, validator, claim, changes):
    with pytest.raises(NotAuthenticated, match=f"^{claim}:"):
        await validator.validate(issuer.token(**changes))


async def test_a_clock_a_little_off_is_forgiven(issuer, validator):
    now = int(time.time())
    assert await validator.validate(issuer.token(exp=now - 10, nbf=now + 10, iat=now + 10))


async def test_an_id_token_is_no_access_token(issuer, validator):
    with pytest.raises(NotAuthenticated, match="typ"):
        await validator.validate(issuer.token(header={"typ": "id+jwt"}))


@pytest.mark.parametrize("text", ["", "x", "a.b", "a.b.c", "a.b.c.d", "é.b.c", "a" * 20_000])
async def test_what_is_no_token_is_refused(validator, text):
    with pytest.raises(NotAuthenticated):
        await validator.validate(text)


async def test_a_rotated_key_is_fetched_when_its_id_is_first_seen(issuer, validator, real):
    assert await validator.validate(issuer.token())
    issuer.rotate(new_ec_key("ec-2"))
    real.ahead = timedelta(seconds=11)
    assert await validator.validate(issuer.token())


async def test_a_key_that_was_withdrawn_ends_with_the_cache(issuer, validator, real):
    old = issuer.keys[0]
    assert await validator.validate(issuer.token())
    issuer.rotate(new_ec_key("ec-2"))
    real.ahead = timedelta(minutes=11)
    with pytest.raises(NotAuthenticated, match="kid"):
        await validator.validate(issuer.token(key=old))


async def test_unknown_key_ids_do_not_become_traffic(issuer, validator):
    await validator.validate(issuer.token())
    asked = len(issuer.requests)
    for number in range(50):
        with pytest.raises(NotAuthenticated):
            await validator.validate(issuer.token(key=new_ec_key(f"forged-{number}")))
    assert len(issuer.requests) == asked


async def test_known_keys_go_on_while_the_issuer_is_away(issuer, validator, real):
    token = issuer.token(exp=int(time.time()) + 36_000)
    await validator.validate(token)
    issuer.away = True
    real.ahead = timedelta(hours=2)
    assert await validator.validate(token)


async def test_without_any_key_nobody_can_be_judged(issuer, validator):
    issuer.away = True
    with pytest.raises(Unavailable):
        await validator.validate(issuer.token())


async def test_a_caller_who_gives_up_does_not_keep_the_keys_from_others(issuer, validator):
    impatient = asyncio.create_task(validator.validate(issuer.token()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    impatient.cancel()
    with pytest.raises(asyncio.CancelledError):
        await impatient
    assert await validator.validate(issuer.token())


async def test_two_authorization_headers_are_refused(issuer, validator):
    authenticator = Authenticator(validator)
    header = ("authorization", f"Bearer {issuer.token()}")
    assert await authenticator.identify([header], {})
    with pytest.raises(NotAuthenticated):
        await authenticator.identify([header, header], {})
    with pytest.raises(NotAuthenticated):
        await authenticator.identify([("authorization", "Basic eDp5")], {})


async def test_a_certificate_counts_only_under_mutual_tls(validator):
    proven = {"transport_security_type": [b"ssl"], "x509_common_name": [b"scheduler"]}
    assert await Authenticator(validator, trusts_certificates=True).identify([], proven) == Identity(
        "service:scheduler", "scheduler"
    )
    with pytest.raises(NotAuthenticated):
        await Authenticator(validator).identify([], proven)
    with pytest.raises(NotAuthenticated):
        await Authenticator(validator, trusts_certificates=True).identify([], {"x509_common_name": [b"scheduler"]})
    with pytest.raises(NotAuthenticated):
        unknown = {**proven, "x509_common_name": [b"grafana"]}
        await Authenticator(validator, trusts_certificates=True).identify([], unknown)


async def test_a_token_known_from_before_still_ends_and_still_falls_with_its_key(issuer, validator, real):
    token = issuer.token(exp=int(time.time()) + 300)
    await validator.validate(token)
    await validator.validate(token)
    real.ahead = timedelta(seconds=331)
    with pytest.raises(NotAuthenticated, match="exp"):
        await validator.validate(token)
    long = issuer.token(exp=int(time.time()) + 36_000)
    await validator.validate(long)
    issuer.rotate(new_ec_key("ec-2"))
    real.ahead = timedelta(minutes=20)
    with pytest.raises(NotAuthenticated, match="kid"):
        await validator.validate(long)


async def test_a_forged_token_does_not_profit_from_a_true_one(issuer, validator):
    true = issuer.token()
    await validator.validate(true)
    forged = true[:-8] + ("A" * 8 if true[-8:] != "A" * 8 else "B" * 8)
    with pytest.raises(NotAuthenticated, match="signature"):
        await validator.validate(forged)
