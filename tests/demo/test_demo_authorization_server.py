"""The demo's authorization server, over HTTP, as browsers and clients use it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass

import aiohttp
import jwt
import pytest
from demo_browser import AUDIENCE, CLIENT, OTHER_CLIENT, Browser, Page

from bridge.demo.authorization_server import AuthorizationServer
from bridge.demo.oauth import MFA, PWD, User
from bridge.tokens.jwk import read_key_set


@dataclass
class Clock:
    now: float = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def server(clock: Clock) -> AsyncIterator[AuthorizationServer]:
    async with AuthorizationServer([CLIENT, OTHER_CLIENT], AUDIENCE, clock=clock) as running:
        yield running


@pytest.fixture
async def browser(server: AuthorizationServer) -> AsyncIterator[Browser]:
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        yield Browser(session, server)


async def fetch(browser: Browser, path: str) -> dict[str, object]:
    async with browser.session.get(browser.issuer + path) as response:
        assert response.status == 200
        assert response.headers["access-control-allow-origin"] == "*"
        document: dict[str, object] = await response.json()
        return document


async def verified(browser: Browser, page: Page) -> dict[str, object]:
    """Redeem the code and verify the access token with the published keys."""
    status, answer = await browser.redeem(page)
    assert status == 200
    return await verify(browser, answer["access_token"])


async def verify(browser: Browser, token: str, audience: str = AUDIENCE) -> dict[str, object]:
    keys = jwt.PyJWKSet.from_dict(await fetch(browser, "/jwks"))
    kid = jwt.get_unverified_header(token)["kid"]
    claims: dict[str, object] = jwt.decode(
        token,
        keys[kid].key,
        algorithms=["RS256"],
        audience=audience,
        issuer=browser.issuer,
        options={"verify_exp": False, "verify_iat": False, "verify_nbf": False},
    )
    return claims


async def log_in(browser: Browser) -> Page:
    return await browser.password(await browser.authorize())


async def log_in_twice(browser: Browser) -> Page:
    page = await browser.password(await browser.authorize(acr_values=MFA))
    return await browser.code(page)


# --- The whole way -------------------------------------------------------------------------------


async def test_a_password_login_ends_in_an_access_token_of_rfc_9068(
    browser: Browser, clock: Clock
) -> None:
    page = await log_in(browser)

    assert page.answer is not None
    assert page.answer["state"] == "xyz"
    assert page.answer["iss"] == browser.issuer  # RFC 9207
    status, answer = await browser.redeem(page)
    assert status == 200
    assert jwt.get_unverified_header(answer["access_token"])["typ"] == "at+jwt"
    claims = await verify(browser, answer["access_token"])
    assert claims.pop("jti")
    assert claims == {
        "iss": browser.issuer,
        "sub": "alice",
        "aud": AUDIENCE,
        "client_id": "app",
        "scope": "accounts:read",
        "acr": PWD,
        "auth_time": clock.now,
        "iat": clock.now,
        "exp": clock.now + 300,
    }
    del answer["access_token"]
    assert answer == {"token_type": "Bearer", "expires_in": 300, "scope": "accounts:read"}


async def test_a_known_user_is_not_asked_again(browser: Browser, clock: Clock) -> None:
    await log_in(browser)
    began, clock.now = clock.now, clock.now + 1000

    claims = await verified(browser, await browser.authorize())

    assert claims["auth_time"] == began
    assert claims["iat"] == clock.now


async def test_a_step_up_asks_for_the_second_factor_alone(browser: Browser, clock: Clock) -> None:
    await log_in(browser)
    clock.now += 20

    page = await browser.authorize(acr_values=MFA, max_age="60")
    assert page.title == "Second factor"
    clock.now += 5
    claims = await verified(browser, await browser.code(page))

    assert (claims["acr"], claims["auth_time"]) == (MFA, clock.now)


async def test_max_age_that_ran_out_begins_again_with_the_password(
    browser: Browser, clock: Clock
) -> None:
    await log_in_twice(browser)
    clock.now += 60

    page = await browser.authorize(acr_values=MFA, max_age="60")
    assert page.title == "Log in"
    page = await browser.password(page)
    assert page.title == "Second factor"
    claims = await verified(browser, await browser.code(page))

    assert (claims["acr"], claims["auth_time"]) == (MFA, clock.now)


async def test_max_age_0_asks_and_then_is_content(browser: Browser, clock: Clock) -> None:
    await log_in(browser)

    page = await browser.authorize(max_age="0")
    assert page.title == "Log in"
    clock.now += 30  # the user takes his time
    claims = await verified(browser, await browser.password(page))

    assert claims["auth_time"] == clock.now


async def test_prompt_login_asks_a_user_who_was_just_here(browser: Browser) -> None:
    await log_in(browser)

    page = await browser.authorize(prompt="login")

    assert page.title == "Log in"
    assert (await browser.password(page)).answer is not None


async def test_prompt_none_shows_nothing(browser: Browser) -> None:
    refused = await browser.authorize(prompt="none")
    await log_in(browser)
    granted = await browser.authorize(prompt="none")
    too_low = await browser.authorize(prompt="none", acr_values=MFA)

    assert refused.answer is not None
    assert refused.answer["error"] == "login_required"
    assert granted.answer is not None
    assert "code" in granted.answer
    assert too_low.answer is not None
    assert too_low.answer["error"] == "login_required"


async def test_the_level_asked_for_is_the_level_in_the_token(browser: Browser) -> None:
    """Resource servers compare exactly; what was reached beyond the demand would not satisfy it."""
    await log_in_twice(browser)

    asked = await verified(browser, await browser.authorize(acr_values=PWD))
    unasked = await verified(browser, await browser.authorize())

    assert (asked["acr"], unasked["acr"]) == (PWD, MFA)


async def test_a_second_factor_does_not_outlive_another_password_login(browser: Browser) -> None:
    await log_in_twice(browser)

    claims = await verified(
        browser, await browser.password(await browser.authorize(prompt="login"), "bob", "builder")
    )

    assert (claims["sub"], claims["acr"]) == ("bob", PWD)


async def test_an_id_token_is_given_for_openid_and_is_no_access_token(browser: Browser) -> None:
    page = await browser.password(await browser.authorize(scope="openid", nonce="n-1"))
    _, answer = await browser.redeem(page)

    assert jwt.get_unverified_header(answer["id_token"])["typ"] == "JWT"
    claims = await verify(browser, answer["id_token"], audience="app")
    assert (claims["sub"], claims["nonce"]) == ("alice", "n-1")


# --- Refusals ------------------------------------------------------------------------------------


async def test_a_level_that_nobody_has_is_unmet_not_ignored(browser: Browser) -> None:
    page = await browser.authorize(acr_values="urn:example:phr")

    assert page.answer == {
        "error": "unmet_authentication_requirements",
        "error_description": "The user cannot authenticate at any of the requested levels",
        "state": "xyz",
        "iss": browser.issuer,
    }


async def test_a_level_that_this_user_cannot_reach_is_unmet(browser: Browser) -> None:
    page = await browser.password(await browser.authorize(acr_values=MFA), "bob", "builder")

    assert page.answer is not None
    assert page.answer["error"] == "unmet_authentication_requirements"


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"redirect_uri": "https://evil.example/"}, id="redirect-uri"),
        pytest.param({"client_id": "<script>"}, id="client"),
    ],
)
async def test_who_is_not_registered_gets_a_page_and_no_redirect(
    browser: Browser, changes: dict[str, str]
) -> None:
    page = await browser.authorize(**changes)

    assert (page.status, page.answer) == (400, None)
    assert "<script>" not in page.text


async def test_cancelling_tells_the_client(browser: Browser) -> None:
    page = await browser.submit(await browser.authorize(), cancel="yes")

    assert page.answer is not None
    assert page.answer["error"] == "access_denied"


async def test_wrong_factors_are_asked_for_again(browser: Browser) -> None:
    page = await browser.password(await browser.authorize(acr_values=MFA), "alice", "wrong")
    assert "That is not the password." in page.text
    page = await browser.code(await browser.password(page), "000000")
    assert "That is not the code." in page.text

    assert (await browser.code(page)).answer is not None


async def test_nobody_skips_the_password(browser: Browser) -> None:
    page = await browser.authorize(acr_values=MFA)
    action = page.text.replace('action="login"', 'action="second-factor"')

    skipped = await browser.code(Page(200, action, page.url, None, {}))

    assert (skipped.status, skipped.answer) == (400, None)


async def test_a_form_of_another_browser_is_refused(
    browser: Browser, server: AuthorizationServer
) -> None:
    """The form's name is the defence against forged forms: each browser knows its own only."""
    page = await browser.authorize()
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        victim = Browser(session, server)
        await log_in(victim)

        forged = await victim.password(page)

    assert (forged.status, forged.answer) == (400, None)


async def test_the_session_gets_a_new_name_at_login(browser: Browser) -> None:
    page = await browser.authorize()
    before = [cookie.value for cookie in browser.session.cookie_jar]

    page = await browser.password(page)

    assert [cookie.value for cookie in browser.session.cookie_jar] != before
    assert "HttpOnly" in page.headers["set-cookie"]
    assert "SameSite=Lax" in page.headers["set-cookie"]


async def test_what_is_shown_is_escaped_and_kept_from_frames_and_caches(clock: Clock) -> None:
    user = User("<b>eve</b>", "p", '"><script>')
    async with (
        AuthorizationServer([CLIENT], AUDIENCE, users=[user], clock=clock) as server,
        aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session,
    ):
        browser = Browser(session, server)
        first = await browser.authorize(acr_values=MFA)
        second = await browser.password(first, "<b>eve</b>", "p")

    assert second.title == "Second factor"
    for page in (first, second):
        assert "<b>eve" not in page.text
        assert "<script" not in page.text
        assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
        assert page.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        pytest.param({"code_verifier": "w" * 43}, "invalid_grant", id="wrong-verifier"),
        pytest.param({"redirect_uri": "http://127.0.0.1/x"}, "invalid_grant", id="redirect-uri"),
        pytest.param({"client_id": "other"}, "invalid_grant", id="other-client"),
        pytest.param({"client_id": "stranger"}, "invalid_client", id="unknown-client"),
    ],
)
async def test_a_code_does_not_work_for_others(
    browser: Browser, changes: dict[str, str], error: str
) -> None:
    status, answer = await browser.redeem(await log_in(browser), **changes)

    assert (status, answer["error"]) == (400, error)


async def test_a_code_works_once(browser: Browser) -> None:
    page = await log_in(browser)
    await browser.redeem(page)

    status, answer = await browser.redeem(page)

    assert (status, answer["error"]) == (400, "invalid_grant")


# --- What it publishes ---------------------------------------------------------------------------


async def test_both_places_of_the_metadata_say_the_same(browser: Browser) -> None:
    metadata = await fetch(browser, "/.well-known/oauth-authorization-server")

    assert metadata == await fetch(browser, "/.well-known/openid-configuration")
    assert metadata["issuer"] == browser.issuer
    assert metadata["jwks_uri"] == f"{browser.issuer}/jwks"
    assert metadata["acr_values_supported"] == [PWD, MFA]
    assert metadata["code_challenge_methods_supported"] == ["S256"]
    assert metadata["authorization_response_iss_parameter_supported"] is True


async def test_a_page_of_another_origin_may_redeem_its_code(browser: Browser) -> None:
    async with browser.session.options(f"{browser.issuer}/token") as response:
        assert response.status == 204
        assert response.headers["access-control-allow-origin"] == "*"


async def test_the_bridge_can_use_the_published_keys_and_no_private_half_is_among_them(
    browser: Browser,
) -> None:
    async with browser.session.get(f"{browser.issuer}/jwks") as response:
        raw = await response.read()

    (key,) = json.loads(raw)["keys"]
    assert len(read_key_set(raw)) == 1
    assert set(key) == {"kty", "n", "e", "kid", "use", "alg", "key_ops"}


async def test_after_a_rotation_old_tokens_verify_until_their_key_is_withdrawn(
    browser: Browser, server: AuthorizationServer
) -> None:
    old = server.mint()
    server.rotate_keys()
    new = server.mint()
    await verify(browser, old)
    await verify(browser, new)

    server.rotate_keys(keep_old=False)

    with pytest.raises(KeyError):
        await verify(browser, old)


async def test_a_minted_token_takes_and_loses_claims(
    browser: Browser, server: AuthorizationServer
) -> None:
    claims = await verify(browser, server.mint({"acr": None, "sub": "carol", "dept": 7}))

    assert "acr" not in claims
    assert (claims["sub"], claims["dept"]) == ("carol", 7)


@pytest.mark.parametrize("path", ["/login", "/second-factor", "/token"])
@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        pytest.param("application/x-www-form-urlencoded", b"a=%ff&b=\xff", id="not-utf8"),
        pytest.param("application/x-www-form-urlencoded; charset=nope", b"a=b", id="charset"),
        pytest.param("multipart/form-data", b"a=b", id="no-boundary"),
        pytest.param("multipart/form-data; boundary=x", b"--y\r\n\r\n", id="broken-multipart"),
    ],
)
async def test_a_form_that_cannot_be_read_is_refused(
    browser: Browser, path: str, content_type: str, body: bytes
) -> None:
    headers = {"content-type": content_type}
    async with browser.session.post(browser.issuer + path, data=body, headers=headers) as response:
        assert response.status == 400


async def test_a_login_at_one_server_outlives_a_login_at_another_on_the_same_host(
    browser: Browser,
) -> None:
    await browser.password(await browser.authorize())
    async with AuthorizationServer([CLIENT], AUDIENCE) as other:
        elsewhere = Browser(browser.session, other)
        await elsewhere.password(await elsewhere.authorize())
    assert (await browser.authorize()).answer is not None  # still logged in: no page
