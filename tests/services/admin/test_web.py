"""What passes the guard and what does not: login, cookies, redirects, origins, hosts, sockets, headers, health."""

import asyncio
import json
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from starlette.types import Message

from services.admin.guard import Place, safe_path
from tests.services.admin.application import BASE, Application, callback_address, running_application
from tests.services.admin.town_services import TownServices


def cookies_of(answer: httpx.Response) -> dict[str, str]:
    """The cookies that an answer sets, each with its attributes, by name."""
    return {line.split("=", 1)[0]: line for line in answer.headers.get_list("set-cookie")}


async def test_who_is_not_logged_in_is_sent_to_log_in_and_comes_back_to_the_page(application: Application) -> None:
    browser = application.browser()
    answer = await browser.get("/de/bad-hersfeld")
    assert (answer.status_code, answer.headers["location"]) == (303, "/login?to=/de/bad-hersfeld")
    started = await browser.get(answer.headers["location"])
    finished = await browser.get(await callback_address(started.headers["location"], "viewer"))
    assert (finished.status_code, finished.headers["location"]) == (303, "/de/bad-hersfeld")
    assert (await browser.get("/de/bad-hersfeld")).status_code == 200


async def test_cookies_are_out_of_reach_for_scripts_and_other_sites(application: Application) -> None:
    browser = application.browser()
    started = await browser.get("/login")
    login = cookies_of(started)["lichtbuch_login"]
    assert "HttpOnly" in login
    assert "Path=/auth;" in login
    finished = await browser.get(await callback_address(started.headers["location"], "viewer"))
    session = cookies_of(finished)["lichtbuch_session"]
    assert "HttpOnly" in session
    assert "SameSite=lax" in session
    assert "Secure" not in session  # plain HTTP on loopback
    assert 'lichtbuch_login="";' in cookies_of(finished)["lichtbuch_login"]


async def test_behind_tls_the_cookie_is_bound_to_this_host(services: TownServices, issuer_url: str) -> None:
    async with running_application(services, issuer_url, public_url="https://licht.example.org") as application:
        browser = application.browser()
        browser.base_url = httpx.URL("https://licht.example.org")
        started = await browser.get("/login")
        query = parse_qs(urlsplit(started.headers["location"]).query)
        assert query["redirect_uri"] == ["https://licht.example.org/auth/callback"]
        assert "Secure" in cookies_of(started)["lichtbuch_login"]
        assert started.headers["strict-transport-security"]
        assert application.admin.place.session_cookie.startswith("__Host-")


async def test_no_token_ever_reaches_the_browser(application: Application) -> None:
    browser = await application.log_in("viewer")
    seen = [await browser.get(path) for path in ("/de", "/de/bad-hersfeld", "/metrics", "/healthz")]
    token = next(iter(application.admin.sessions._sessions.values())).login
    for answer in seen:
        assert token.access_token not in answer.text + str(answer.headers)
        assert token.id_token not in answer.text + str(answer.headers)
    assert all(token.access_token not in value for value in browser.cookies.values())


async def test_an_answer_to_another_login_is_refused(application: Application) -> None:
    victim, attacker = application.browser(), application.browser()
    await victim.get("/login")
    theirs = await attacker.get("/login")
    answer = await victim.get(await callback_address(theirs.headers["location"], "viewer"))
    assert answer.status_code == 403
    assert "lichtbuch_session" not in cookies_of(answer)
    assert len(application.admin.sessions) == 0


async def test_an_answer_without_a_login_in_progress_is_refused(application: Application) -> None:
    browser = application.browser()
    started = await browser.get("/login")
    address = await callback_address(started.headers["location"], "viewer")
    assert (await application.browser().get(address)).status_code == 400
    assert (await browser.get(address)).status_code == 303
    assert (await browser.get(address)).status_code == 400  # used up


async def test_a_code_is_worth_nothing_twice(application: Application) -> None:
    browser = application.browser()
    started = await browser.get("/login")
    address = await callback_address(started.headers["location"], "viewer")
    kept = dict(browser.cookies)
    assert (await browser.get(address)).status_code == 303
    browser.cookies.update(kept)
    answer = await browser.get(address, headers={"cookie": f"lichtbuch_login={kept['lichtbuch_login']}"})
    assert answer.status_code == 403


async def test_a_login_ends_the_session_that_the_browser_had(application: Application) -> None:
    browser = await application.log_in("viewer")
    first = browser.cookies["lichtbuch_session"]
    await application.log_in("operator", browser)
    assert browser.cookies["lichtbuch_session"] != first
    assert application.admin.sessions.find(first) is None
    assert len(application.admin.sessions) == 1


async def test_what_was_chosen_on_the_page_outlives_the_login(application: Application) -> None:
    browser = application.browser()
    page = "/de/bad-hersfeld/readings/new?meter=R-1"
    answer = await browser.get(page)
    assert parse_qs(urlsplit(answer.headers["location"]).query) == {"to": [page]}
    started = await browser.get(answer.headers["location"])
    finished = await browser.get(await callback_address(started.headers["location"], "operator"))
    assert finished.headers["location"] == page


async def test_a_query_that_no_page_of_ours_writes_is_left_behind_at_the_login(application: Application) -> None:
    answer = await application.browser().get("/de/bad-hersfeld?to=//elsewhere.example")
    assert answer.headers["location"] == "/login?to=/de/bad-hersfeld"


@pytest.mark.parametrize(
    "target",
    [
        "https://elsewhere.example/",
        "//elsewhere.example",
        "/\\elsewhere.example",
        "/%2f/elsewhere.example",
        "/..//elsewhere.example",
        "javascript:alert(1)",
        "/de/x?y=//elsewhere",
        "/de/x?y=%2f%2felsewhere",
        "/de/x?//elsewhere",
        "/de/x?y=1?z=2",
        "/a\r\nset-cookie: x=y",
        "/" + "a" * 300,
        "",
    ],
)
def test_a_path_to_go_back_to_is_one_of_ours(target: str) -> None:
    assert safe_path(target) == "/"


async def test_after_a_login_nobody_is_sent_elsewhere(application: Application) -> None:
    browser = application.browser()
    started = await browser.get("/login", params={"to": "//elsewhere.example"})
    finished = await browser.get(await callback_address(started.headers["location"], "viewer"))
    assert finished.headers["location"] == "/"


async def test_logging_out_ends_the_session_here_and_goes_by_the_issuer(
    application: Application, issuer_url: str
) -> None:
    browser = await application.log_in("viewer")
    answer = await browser.post("/logout", headers={"origin": BASE})
    assert answer.headers["location"].startswith(f"{issuer_url}/logout?id_token_hint=")
    assert 'lichtbuch_session="";' in cookies_of(answer)["lichtbuch_session"]
    assert len(application.admin.sessions) == 0
    assert (await browser.get("/de/bad-hersfeld")).headers["location"].startswith("/login")
    async with httpx.AsyncClient() as http:
        back = await http.get(answer.headers["location"])
    assert back.headers["location"] == f"{BASE}/signed-out"
    assert "abgemeldet" in (await browser.get("/signed-out")).text


async def test_another_site_can_neither_log_out_nor_link_into_a_change(application: Application) -> None:
    browser = await application.log_in("viewer")
    assert (await browser.post("/logout", headers={"origin": "https://elsewhere.example"})).status_code == 403
    assert (await browser.post("/logout", headers={"origin": "null"})).status_code == 403
    assert (await browser.get("/logout", headers={"origin": BASE})).status_code == 404
    assert len(application.admin.sessions) == 1


async def test_a_name_that_somebody_else_points_at_us_is_not_answered(application: Application) -> None:
    browser = application.browser()
    assert (await browser.get("/login", headers={"host": "rebound.example:8080"})).status_code == 421
    assert (await browser.get("/login", headers={"host": "127.0.0.1:8080"})).status_code == 303
    assert (await browser.get("/healthz", headers={"host": "10.1.2.3:8080"})).status_code == 200


def test_a_public_address_is_the_only_one() -> None:
    place = Place("https://licht.example.org", 8080)
    assert place.hosts == {"licht.example.org"}
    assert place.base_url("whatever") == "https://licht.example.org"
    assert Place("", 80).hosts >= {"localhost", "localhost:80", "[::1]"}


async def test_what_is_not_there_is_not_there_for_anybody(application: Application) -> None:
    browser = await application.log_in("viewer")
    for path in ("/nothing", "/de/UPPER", "/de/a/b", "/xx/bad-hersfeld", "/docs", "/openapi.json", "/.env"):
        answer = await browser.get(path)
        assert answer.status_code == 404
        assert "Zur Übersicht" in answer.text


async def test_pages_load_nothing_from_elsewhere_and_run_scripts_by_nonce_only(application: Application) -> None:
    answer = await (await application.log_in("viewer")).get("/de/bad-hersfeld")
    policy = {part.split()[0]: part.split()[1:] for part in answer.headers["content-security-policy"].split(";")}
    assert policy["default-src"] == ["'none'"]
    assert policy["connect-src"] == ["'self'", "ws://localhost:8080"]
    assert policy["frame-ancestors"] == ["'none'"]
    nonce = next(source for source in policy["script-src"] if source.startswith("'nonce-"))[7:-1]
    assert "'unsafe-inline'" not in policy["script-src"]
    assert answer.text.count("<script") == answer.text.count(f'<script nonce="{nonce}"') > 3
    assert "https://" not in answer.text
    again = await application.browser().get("/signed-out")
    assert nonce not in again.headers["content-security-policy"]


async def test_the_page_comes_in_the_language_that_was_read_last(application: Application) -> None:
    browser = await application.log_in("viewer", application.browser("en-GB,en"))
    assert (await browser.get("/")).headers["location"] == "/en"
    assert 'lang="de-DE"' in (await browser.get("/de/bad-hersfeld")).text
    assert (await browser.get("/")).headers["location"] == "/de"


async def test_one_municipality_needs_no_choice_several_do_none_is_told(application: Application) -> None:
    viewer = await application.log_in("viewer")
    assert (await viewer.get("/de")).headers["location"] == "/de/bad-hersfeld"
    auditor = await application.log_in("auditor")
    assert 'href="/de/schwalmstadt"' in (await auditor.get("/de")).text
    planner = await application.log_in("planner")
    answer = await planner.get("/de")
    assert answer.status_code == 200
    assert "noch für keine Kommune eingetragen" in answer.text


async def test_while_the_registry_is_away_the_start_page_says_so_and_tries_again(
    application: Application, services: TownServices
) -> None:
    browser = await application.log_in("viewer")
    await services.stop("registry")
    answer = await browser.get("/de", timeout=30)
    assert answer.status_code == 503
    assert 'http-equiv="refresh"' in answer.text
    assert "Traceback" not in answer.text


async def test_an_issuer_that_is_away_is_told_in_words(services: TownServices) -> None:
    async with running_application(services, "http://127.0.0.1:9") as application:
        answer = await application.browser().get("/login")
    assert answer.status_code == 503
    assert "antwortet gerade nicht" in answer.text


async def test_health_tells_that_we_serve_and_what_we_miss(application: Application, services: TownServices) -> None:
    browser = application.browser()
    assert (await browser.get("/healthz")).json()["serving"] is True
    await services.stop("registry")

    registry = application.admin.registry()
    async with asyncio.timeout(30):
        while (state := registry.get_state(try_to_connect=True)).name != "TRANSIENT_FAILURE":
            await registry.wait_for_state_change(state)
    answer = await browser.get("/healthz")
    assert (answer.status_code, list(answer.json()["problems"])) == (200, ["registry"])


async def test_metrics_are_for_prometheus(application: Application) -> None:
    await application.log_in("viewer")
    answer = await application.browser().get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    for name in ("lichtbuch_admin_clients", "lichtbuch_admin_sessions", 'lichtbuch_admin_logins_total{outcome="ok"}'):
        assert name in answer.text
    assert "lichtbuch_grpc_client_requests" in answer.text
    assert "u-3f9a1c72" not in answer.text


async def socket_answer(application: Application, cookie: str, client_id: str, origin: str | None) -> str:
    """What becomes of a browser's socket: "accepted", or "closed" before it was."""
    headers = [
        (b"host", b"localhost:8080"),
        (b"cookie", cookie.encode()),
        (b"connection", b"Upgrade"),
        (b"upgrade", b"websocket"),
    ]
    if origin is not None:
        headers.append((b"origin", origin.encode()))
    scope = {
        "type": "websocket",
        "path": "/_nicegui_ws/socket.io/",
        "raw_path": b"/_nicegui_ws/socket.io/",
        "query_string": f"EIO=4&transport=websocket&client_id={client_id}".encode(),
        "headers": headers,
        "scheme": "ws",
        "server": ("localhost", 8080),
        "client": ("127.0.0.1", 1),
        "subprotocols": [],
        "root_path": "",
        "state": {},
        "extensions": {},
    }
    answered: asyncio.Queue[str] = asyncio.Queue()
    opening = asyncio.Event()

    async def receive() -> Message:
        if not opening.is_set():
            opening.set()
            return {"type": "websocket.connect"}
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Message) -> None:
        answered.put_nowait(message["type"].removeprefix("websocket."))

    task = asyncio.create_task(application.admin.app(scope, receive, send))
    try:
        async with asyncio.timeout(30):
            return await answered.get()
    finally:
        task.cancel()


async def test_a_socket_is_for_the_page_of_its_own_session_and_site(application: Application) -> None:
    owner, other = await application.log_in("viewer"), await application.log_in("operator")
    page = (await owner.get("/de/bad-hersfeld")).text
    client_id = page.split("'client_id': '", 1)[1].split("'", 1)[0]
    ours = f"lichtbuch_session={owner.cookies['lichtbuch_session']}"
    theirs = f"lichtbuch_session={other.cookies['lichtbuch_session']}"
    assert await socket_answer(application, ours, client_id, BASE) == "accept"
    assert await socket_answer(application, theirs, client_id, BASE) == "close"
    assert await socket_answer(application, "", client_id, BASE) == "close"
    assert await socket_answer(application, ours, "", BASE) == "close"
    assert await socket_answer(application, ours, client_id, "https://elsewhere.example") == "close"
    assert await socket_answer(application, ours, client_id, None) == "close"


async def test_a_page_can_ask_whether_its_session_still_holds(application: Application) -> None:
    browser = await application.log_in("viewer")
    assert (await browser.get("/session")).status_code == 204
    assert (await application.browser().get("/session")).status_code == 401


async def test_polling_instead_of_a_socket_is_guarded_the_same(application: Application) -> None:
    browser = await application.log_in("viewer")
    path = "/_nicegui_ws/socket.io/?EIO=4&transport=polling&client_id=a-page-that-is-gone"
    assert (await application.browser().get(path)).status_code == 401
    assert (await browser.get(path.partition("&client_id")[0])).status_code == 403
    assert (await browser.get(path, headers={"origin": "https://elsewhere.example"})).status_code == 403
    answer = await browser.get(path)
    assert json.loads(answer.text[1:])["upgrades"] == ["websocket"]
