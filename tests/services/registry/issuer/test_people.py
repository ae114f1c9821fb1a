"""People log in with the authorization code flow."""

import html
import json
import time

import pytest
from joserfc import jwt
from joserfc.errors import BadSignatureError
from joserfc.jwk import ECKey

from services.registry.issuer.users import DEMONSTRATION_USERS
from tests.services.registry.issuer.helpers import CALLBACK, Issuer, answer_of


async def test_the_discovery_document_leads_to_every_endpoint(issuer: Issuer) -> None:
    document = (await issuer.http.get("/.well-known/openid-configuration")).json()
    assert document["issuer"] == issuer.url
    assert document["code_challenge_methods_supported"] == ["S256"]
    assert (await issuer.http.get(document["jwks_uri"])).status_code == 200
    assert (await issuer.http.get(document["authorization_endpoint"])).status_code == 400
    assert (await issuer.http.post(document["token_endpoint"])).status_code == 400


async def test_the_published_keys_hold_no_private_part(issuer: Issuer) -> None:
    (key,) = (await issuer.http.get("/jwks.json")).json()["keys"]
    assert key["kty"] == "EC"
    assert key["alg"] == "ES256"
    assert "d" not in key


@pytest.mark.parametrize("username", sorted(DEMONSTRATION_USERS))
async def test_every_demonstration_user_can_log_in(issuer: Issuer, username: str) -> None:
    tokens = (await issuer.redeem(await issuer.code_for(username))).json()
    claims = await issuer.claims(tokens["access_token"])
    user = DEMONSTRATION_USERS[username]
    assert claims["iss"] == issuer.url
    assert claims["aud"] == "lichtbuch"
    assert claims["sub"] == user.subject
    assert username not in user.subject
    assert claims["name"] == user.name
    assert claims["preferred_username"] == username
    assert claims["exp"] == claims["iat"] + 3600
    assert abs(int(claims["iat"]) - time.time()) < 60
    assert tokens["token_type"] == "Bearer"
    assert tokens["expires_in"] == 3600


async def test_the_id_token_is_for_the_client_and_carries_its_nonce(issuer: Issuer) -> None:
    tokens = (await issuer.redeem(await issuer.code_for("planner"))).json()
    claims = await issuer.claims(tokens["id_token"])
    assert claims["aud"] == "lichtbuch-admin"
    assert claims["nonce"] == "only-once"


async def test_the_browser_comes_back_with_state_and_issuer(issuer: Issuer) -> None:
    login = await issuer.open_login(redirect_uri=CALLBACK + "?keep=1")
    answer = await issuer.post_login(login, "viewer", "demo-viewer")
    assert answer.headers["location"].startswith(CALLBACK + "?keep=1&")
    assert answer_of(answer)["state"] == "from-the-client"
    assert answer_of(answer)["iss"] == issuer.url


async def test_a_code_works_once(issuer: Issuer) -> None:
    code = await issuer.code_for("viewer")
    assert (await issuer.redeem(code)).status_code == 200
    again = await issuer.redeem(code)
    assert again.status_code == 400
    assert again.json()["error"] == "invalid_grant"


async def test_a_code_expires(issuer: Issuer) -> None:
    code = await issuer.code_for("viewer")
    issuer.stopwatch.turn(61)
    assert (await issuer.redeem(code)).json()["error"] == "invalid_grant"


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"code_verifier": "another-verifier-of-at-least-forty-three-chars-01"}, "invalid_grant"),
        ({"code_verifier": "short"}, "invalid_grant"),
        ({"code_verifier": "ü" * 43}, "invalid_grant"),
        ({"code_verifier": None}, "invalid_request"),
        ({"client_id": "lichtbuch-cli"}, "invalid_grant"),
        ({"redirect_uri": "http://127.0.0.1:8080/other"}, "invalid_grant"),
        ({"redirect_uri": None}, "invalid_grant"),
        ({"code": "made-up"}, "invalid_grant"),
    ],
)
async def test_a_code_is_only_for_who_asked_for_it(issuer: Issuer, changes: dict[str, str], error: str) -> None:
    refused = (
        await issuer.redeem(await issuer.code_for("admin"), **changes)
        if "code" not in changes
        else (await issuer.redeem(changes["code"]))
    )
    assert refused.status_code == 400
    assert refused.json()["error"] == error
    assert "access_token" not in refused.json()


async def test_a_code_that_met_a_wrong_verifier_is_used_up(issuer: Issuer) -> None:
    code = await issuer.code_for("admin")
    await issuer.redeem(code, code_verifier="another-verifier-of-at-least-forty-three-chars-01")
    assert (await issuer.redeem(code)).json()["error"] == "invalid_grant"


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"code_challenge": None}, "invalid_request"),
        ({"code_challenge": "too-short"}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge_method": None}, "invalid_request"),
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_mode": "fragment"}, "invalid_request"),
        ({"scope": "profile"}, "invalid_scope"),
        ({"prompt": "none"}, "login_required"),
        ({"request": "eyJ"}, "request_not_supported"),
        ({"nonce": "n" * 2000}, "invalid_request"),
    ],
)
async def test_a_wrong_request_goes_back_to_its_client(issuer: Issuer, changes: dict[str, str], error: str) -> None:
    response = await issuer.open_login(**changes)
    assert response.status_code == 303
    assert response.headers["location"].startswith(CALLBACK)
    assert answer_of(response)["error"] == error
    assert answer_of(response)["state"] == "from-the-client"


@pytest.mark.parametrize(
    "redirect_uri",
    [
        None,
        "https://evil.example/callback",
        "http://127.0.0.1.evil.example/callback",
        "http://127.0.0.1@evil.example/callback",
        "http://user:pw@127.0.0.1/callback",
        "http://evil.example\\@127.0.0.1/callback",
        "http://192.168.1.4/callback",
        "http://127.0.0.1:99999/callback",
        "http://127.0.0.1/callback#fragment",
        "http://127.0.0.1/call back",
        "javascript:alert(1)//127.0.0.1",
        "/callback",
    ],
)
async def test_no_browser_is_sent_beyond_this_machine(issuer: Issuer, redirect_uri: str | None) -> None:
    response = await issuer.open_login(redirect_uri=redirect_uri)
    assert response.status_code == 400
    assert "location" not in response.headers


@pytest.mark.parametrize("redirect_uri", ["http://localhost:51234/cb", "http://[::1]:8080/cb", "https://127.0.0.1/cb"])
async def test_any_port_of_this_machine_will_do(issuer: Issuer, redirect_uri: str) -> None:
    assert (await issuer.open_login(redirect_uri=redirect_uri)).status_code == 200


async def test_an_unknown_client_sees_no_login(issuer: Issuer) -> None:
    assert (await issuer.open_login(client_id="somebody")).status_code == 400


async def test_a_parameter_given_twice_is_refused(issuer: Issuer) -> None:
    response = await issuer.http.get("/authorize", params=[*issuer.authorization.items(), ("client_id", "x")])
    assert response.status_code == 400


async def test_a_wrong_password_shows_the_form_again_and_says_so(issuer: Issuer) -> None:
    login = await issuer.open_login()
    refused = await issuer.post_login(login, "viewer", "guess")
    assert refused.status_code == 403
    assert 'role="alert"' in refused.text
    assert "location" not in refused.headers
    assert (await issuer.post_login(refused, "viewer", "demo-viewer")).status_code == 303


async def test_guessing_is_slowed_down_per_user(issuer: Issuer) -> None:
    login = await issuer.open_login()
    for _ in range(5):
        assert (await issuer.post_login(login, "admin", "guess")).status_code == 403
    right = await issuer.post_login(login, "admin", "demo-admin")
    assert right.status_code == 429
    assert right.headers["retry-after"] == "60"
    assert (await issuer.post_login(login, "viewer", "demo-viewer")).status_code == 303
    issuer.stopwatch.turn(60)
    assert (await issuer.post_login(await issuer.open_login(), "admin", "demo-admin")).status_code == 303


async def test_a_login_that_waited_too_long_starts_again(issuer: Issuer) -> None:
    login = await issuer.open_login()
    issuer.stopwatch.turn(601)
    assert (await issuer.post_login(login, "viewer", "demo-viewer")).status_code == 400


async def test_a_login_form_is_used_once(issuer: Issuer) -> None:
    login = await issuer.open_login()
    assert (await issuer.post_login(login, "viewer", "demo-viewer")).status_code == 303
    assert (await issuer.post_login(login, "viewer", "demo-viewer")).status_code == 400


async def test_what_was_typed_comes_back_escaped(issuer: Issuer) -> None:
    typed = '"><script>alert(1)</script>'
    refused = await issuer.post_login(await issuer.open_login(), typed, "x")
    assert "<script>" not in refused.text
    assert html.escape(typed) in refused.text
    assert "script-src" not in refused.headers["content-security-policy"]
    assert "default-src 'none'" in refused.headers["content-security-policy"]


async def test_the_login_page_speaks_the_reader_s_language(issuer: Issuer) -> None:
    parameters = issuer.authorization
    german = await issuer.http.get(
        "/authorize", params=parameters, headers={"accept-language": "fr, de-DE;q=0.9, en;q=0.5"}
    )
    assert '<html lang="de">' in german.text
    assert "Anmelden" in german.text
    asked_for = await issuer.http.get(
        "/authorize", params={**parameters, "ui_locales": "en"}, headers={"accept-language": "de"}
    )
    assert '<html lang="en">' in asked_for.text
    other = await issuer.http.get("/authorize", params=parameters, headers={"accept-language": "el;q=x,,"})
    assert '<html lang="en">' in other.text


async def test_the_login_page_labels_every_field(issuer: Issuer) -> None:
    text = (await issuer.open_login()).text
    for field_id in ("username", "password"):
        assert f'<label for="{field_id}">' in text
        assert f'id="{field_id}"' in text
    for user in DEMONSTRATION_USERS.values():
        assert user.password in text


async def test_a_login_may_redirect_only_to_the_asking_client(issuer: Issuer) -> None:
    policy = (await issuer.open_login()).headers["content-security-policy"]
    assert "form-action 'self' http://127.0.0.1:8080" in policy


async def test_a_token_that_was_changed_does_not_hold(issuer: Issuer) -> None:
    tokens = (await issuer.redeem(await issuer.code_for("viewer"))).json()
    head, _, signature = tokens["access_token"].split(".")
    other = ECKey.generate_key("P-256")
    forged = jwt.encode({"alg": "ES256"}, {"sub": "u-0c7b62ef"}, other).split(".")[1]
    with pytest.raises(BadSignatureError):
        await issuer.claims(f"{head}.{forged}.{signature}")


async def test_logging_out_leads_back_to_this_machine_only(issuer: Issuer) -> None:
    back = await issuer.http.get("/logout", params={"post_logout_redirect_uri": "http://127.0.0.1:8080/", "state": "s"})
    assert back.headers["location"] == "http://127.0.0.1:8080/?state=s"
    elsewhere = await issuer.http.get("/logout", params={"post_logout_redirect_uri": "https://evil.example/"})
    assert elsewhere.status_code == 200
    assert "location" not in elsewhere.headers


async def test_another_host_name_is_not_answered(issuer: Issuer) -> None:
    rebound = await issuer.http.get("/.well-known/openid-configuration", headers={"host": "evil.example:80"})
    assert rebound.status_code == 421
    assert "issuer" not in json.dumps(dict(rebound.headers))
