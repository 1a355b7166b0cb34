"""JWT, opaque and DPoP-bound access tokens of a real oidc-provider, each through a step-up."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from e2e.harness.api import ACCOUNTS, ADDRESS, PROFILE, TRANSFERS, Api, challenge_of, challenges_of
from e2e.harness.browser import Person
from e2e.harness.http1 import Request
from e2e.harness.oauth import PublicClient, Tokens, fetch_json, step_up_parameters
from e2e.harness.policy import MFA, PWD
from e2e.harness.proofs import ProofKey, ProofSpec, prove
from e2e.harness.tokens import AUDIENCE
from e2e.harness.waiting import wait_until
from e2e.oidc_provider.server import OPAQUE_AUDIENCE, OTHER_OPAQUE_AUDIENCE

pytestmark = pytest.mark.oidc_provider

LOGIN_FORM = ("username", "password")
STRONG_LOGIN_FORM = ("username", "password", "otp")
UNMET = (
    'realm="payments", error="insufficient_user_authentication", '
    'error_description="A different authentication level is required", '
    f'acr_values="{MFA}", max_age="300"'
)
INVALID = 'realm="payments", error="invalid_token", error_description="The access token is invalid"'
INVALID_PROOF = (
    'realm="payments", error="invalid_dpop_proof", error_description="The DPoP proof is invalid"'
)
ALGS = 'algs="ES256 EdDSA RS256 PS256"'
KEY, THIEF = ProofKey.generate(), ProofKey.generate()


def test_jwt_steps_up(api: Api, app: PublicClient, alice: Person) -> None:
    visit, weak = alice.obtain(app, resource=AUDIENCE)
    assert visit.forms == (LOGIN_FORM,)
    assert weak.claims["acr"] == PWD
    assert api.ask(ACCOUNTS, weak).status == 200
    challenge = challenge_of(api.ask(TRANSFERS, weak))
    assert challenge == f"Bearer {UNMET}"

    visit, strong = alice.obtain(app, resource=AUDIENCE, **step_up_parameters(challenge))

    assert visit.forms == (STRONG_LOGIN_FORM,)
    assert api.ask(TRANSFERS, strong).status == 200


def test_max_age_asks_for_a_login_again(api: Api, app: PublicClient, alice: Person) -> None:
    _, tokens = alice.obtain(app, resource=AUDIENCE)
    wait_until(
        lambda: api.ask(ADDRESS, tokens).status == 401,
        seconds=20,
        what="the authentication is too old",
    )
    parameters = step_up_parameters(challenge_of(api.ask(ADDRESS, tokens)))
    assert parameters == {"max_age": "3"}

    visit, fresh = alice.obtain(app, resource=AUDIENCE, **parameters)

    assert visit.forms == (LOGIN_FORM,)
    assert api.ask(ADDRESS, fresh).status == 200


def test_opaque_token_steps_up_by_what_introspection_says(
    opaque_api: Api, app: PublicClient, alice: Person
) -> None:
    api = opaque_api
    _, weak = alice.obtain(app, resource=OPAQUE_AUDIENCE)
    assert "." not in weak.access_token
    assert api.ask(ACCOUNTS, weak).status == 200
    challenge = challenge_of(api.ask(TRANSFERS, weak))
    assert challenge == f"Bearer {UNMET}"

    _, strong = alice.obtain(app, resource=OPAQUE_AUDIENCE, **step_up_parameters(challenge))

    seen = dict(api.ask(TRANSFERS, strong).only_upstream().with_prefix("x-stepup-"))
    assert seen.pop("x-stepup-auth-time").isdigit()
    assert set(seen.pop("x-stepup-scope").split()) == {"accounts:read", "payments:write"}
    assert seen == {
        "x-stepup-acr": MFA,
        "x-stepup-client-id": "app",
        "x-stepup-issuer": app.issuer,
        "x-stepup-subject": "alice",
    }


def test_revoked_opaque_token_is_invalid_at_once(
    opaque_api: Api, app: PublicClient, alice: Person
) -> None:
    _, tokens = alice.obtain(app, resource=OPAQUE_AUDIENCE)
    assert opaque_api.ask(ACCOUNTS, tokens).status == 200

    form = {"client_id": app.client_id, "token": tokens.access_token}
    fetch_json(f"{app.issuer}/token/revocation", form=form)

    assert challenge_of(opaque_api.ask(PROFILE, tokens)) == f"Bearer {INVALID}"


def test_opaque_token_for_another_api_is_invalid(
    opaque_api: Api, app: PublicClient, alice: Person
) -> None:
    _, tokens = alice.obtain(app, resource=OTHER_OPAQUE_AUDIENCE)

    assert challenge_of(opaque_api.ask(PROFILE, tokens)) == f"Bearer {INVALID}"


def _bound(person: Person, app: PublicClient, **parameters: str) -> Tokens:
    """Get a token that is bound to `KEY`."""
    request = app.authorization(resource=AUDIENCE, **parameters)
    visit = person.authorize(request)
    proof = prove(KEY, "POST", app.token_endpoint, "", ProofSpec(claims={"ath": None}))
    tokens = app.redeem(request, visit.answer, {"DPoP": proof})
    assert tokens.answer["token_type"] == "DPoP"
    assert tokens.claims["cnf"] == KEY.cnf
    return tokens


def _proof(request: Request, tokens: Tokens, key: ProofKey = KEY) -> str:
    return prove(key, request.method, f"https://api.test{request.target}", tokens.access_token)


def test_bound_token_steps_up_with_its_proofs(
    bound_api: Api, app: PublicClient, alice: Person
) -> None:
    api = bound_api
    weak = _bound(alice, app)
    assert api.ask(ACCOUNTS, weak, _proof(ACCOUNTS, weak), scheme="DPoP").status == 200
    challenge = challenge_of(api.ask(TRANSFERS, weak, _proof(TRANSFERS, weak), scheme="DPoP"))
    assert challenge == f"DPoP {UNMET}, {ALGS}"

    strong = _bound(alice, app, **step_up_parameters(challenge))

    assert api.ask(TRANSFERS, strong, _proof(TRANSFERS, strong), scheme="DPoP").status == 200


@pytest.mark.parametrize(
    ("proof", "error"),
    [
        pytest.param(lambda tokens: (), INVALID_PROOF, id="no-proof"),
        pytest.param(
            lambda tokens: (_proof(PROFILE, tokens, THIEF),), INVALID, id="of-another-key"
        ),
        pytest.param(
            lambda tokens: (_proof(ACCOUNTS, tokens),), INVALID_PROOF, id="for-another-request"
        ),
    ],
)
def test_stolen_bound_token_is_of_no_use(
    bound_api: Api,
    app: PublicClient,
    alice: Person,
    proof: Callable[[Tokens], tuple[str, ...]],
    error: str,
) -> None:
    tokens = _bound(alice, app)
    assert bound_api.ask(PROFILE, tokens, _proof(PROFILE, tokens), scheme="DPoP").status == 200

    answer = bound_api.ask(PROFILE, tokens, *proof(tokens), scheme="DPoP")

    assert challenge_of(answer) == f"DPoP {error}, {ALGS}"


def test_proof_is_good_once(bound_api: Api, app: PublicClient, alice: Person) -> None:
    tokens = _bound(alice, app)
    proof = _proof(PROFILE, tokens)
    assert bound_api.ask(PROFILE, tokens, proof, scheme="DPoP").status == 200

    answer = bound_api.ask(PROFILE, tokens, proof, scheme="DPoP")

    assert challenge_of(answer) == f"DPoP {INVALID_PROOF}, {ALGS}"


def test_bound_token_is_no_bearer_token(bound_api: Api, app: PublicClient, alice: Person) -> None:
    tokens = _bound(alice, app)

    assert f"Bearer {INVALID}" in challenges_of(bound_api.ask(PROFILE, tokens))


def test_bound_token_is_invalid_where_no_proof_is_taken(
    api: Api, app: PublicClient, alice: Person
) -> None:
    tokens = _bound(alice, app)
    proof = _proof(PROFILE, tokens)

    assert challenge_of(api.ask(PROFILE, tokens)) == f"Bearer {INVALID}"
    assert challenge_of(api.ask(PROFILE, tokens, proof, scheme="DPoP")) == f"Bearer {INVALID}"
