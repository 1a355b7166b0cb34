"""`doctor`: what it says of facts, and that it finds them at real issuers."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Mapping
from email.utils import formatdate
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from aiohttp import web
from tokens.tokens_issuer import (
    PATIENCE_SECONDS,
    Answer,
    Gate,
    IssuerServer,
    SigningKey,
    document,
    raw,
    serving,
)

from bridge.config.load import load_config
from bridge.config.settings import Config
from bridge.policy.operations import Api, Operation, Policy
from bridge.policy.requirement import Requirement
from bridge.rehearsal.doctor.diagnose import NamedToken, diagnose
from bridge.rehearsal.doctor.facts import Exchange, IssuerFacts
from bridge.rehearsal.doctor.issuer import check_issuer
from bridge.rehearsal.doctor.table import render
from bridge.rehearsal.doctor.times import clock_skew
from bridge.rehearsal.doctor.words import describe_fault, remedy
from bridge.tokens.fetch import Document
from bridge.tokens.jwk import VerificationKey, read_key_set
from bridge.tokens.settings import AcrNames, ClaimNames, IssuerSettings
from e2e.harness.tokens import SigningKey as Es256Key

ISSUER = "https://login.test/realms/bank"
RFC8414 = "https://login.test/.well-known/oauth-authorization-server/realms/bank"
OIDC = f"{ISSUER}/.well-known/openid-configuration"
JWKS = f"{ISSUER}/keys"
MFA, PHR, PWD = "urn:example:mfa", "urn:example:phr", "urn:example:pwd"
NOW = 1_800_000_000.0
DOCS = Path(__file__).parents[2] / "docs"
Report = dict[str, Any]


# what it says of facts


def settings(**changes: Any) -> IssuerSettings:
    return IssuerSettings(**{"issuer": ISSUER, "audiences": ("api",), **changes})


def policy(*requirements: Requirement, **api: Any) -> Policy:
    operations = tuple(
        Operation(f"o{number}", (f"/{number}",), requirement=requirement)
        for number, requirement in enumerate(requirements)
    )
    return Policy((Api("payments", (ISSUER,), operations, **api),))


def exchange(url: str, body: bytes | str, **headers: str) -> Exchange:
    raw_body = body.encode() if isinstance(body, str) else body
    return Exchange(
        url, None, Document(raw_body, headers.pop("cache_control", ""), **headers), NOW, NOW
    )


def failed(url: str, error: str) -> Exchange:
    return Exchange(url, error, None, NOW, NOW)


def metadata(url: str = RFC8414, **members: Any) -> Exchange:
    return exchange(url, json.dumps({"issuer": ISSUER, "jwks_uri": JWKS, **members}))


def keys(*jwks: Mapping[str, Any]) -> tuple[VerificationKey, ...]:
    return read_key_set(json.dumps({"keys": jwks}).encode())


ED_KEY = SigningKey("ed").jwk()
EC_KEY = {**Es256Key.generate().jwk(), "kid": "ec"}
NO_RULES = Policy(())
GOOD = IssuerFacts((metadata(), exchange(JWKS, "")), keys(ED_KEY))


def outcomes(
    facts: IssuerFacts = GOOD, rules: Policy = NO_RULES, **changes: Any
) -> dict[str, tuple[str, str]]:
    checks = check_issuer(settings(**changes), rules, facts)
    found: dict[str, tuple[str, str]] = {
        check.check: (check.outcome, check.detail) for check in checks
    }
    assert len(found) == len(checks)
    return found


def facts(*exchanges: Exchange) -> IssuerFacts:
    return IssuerFacts(exchanges, keys(ED_KEY))


def test_good_issuer_is_told_so() -> None:
    rules = policy(Requirement(("w",), (MFA,), 300))
    document = metadata(acr_values_supported=[PWD, MFA], claims_supported=["sub", "auth_time"])
    date = formatdate(NOW, usegmt=True)
    key_set = exchange(JWKS, "", cache_control="max-age=3600", date=date)
    assert outcomes(IssuerFacts((document, key_set), keys(ED_KEY)), rules) == {
        "metadata": ("ok", f"found at {RFC8414}"),
        "issuer": ("ok", "the metadata names exactly this issuer"),
        "jwks_uri": ("ok", f'"{JWKS}" from the metadata'),
        "key_set": ("ok", "fetched"),
        "keys": ("ok", '1 usable: "ed" for EdDSA'),
        "key_lifetime": ("ok", "each worker fetches the keys again every 3240 s"),
        "clock": ("ok", "within the leeway of 5 s"),
        "acr_values": ("ok", f"the issuer advertises {MFA}"),
        "auth_time": ("ok", "advertised; whether access tokens have it, a token tells"),
    }


@pytest.mark.parametrize(
    ("exchanges", "check", "outcome", "detail"),
    [
        pytest.param(
            (failed(RFC8414, "timeout"), failed(OIDC, "status_404")),
            "metadata",
            "failure",
            f"{OIDC}: answered with status 404",
            id="none",
        ),
        pytest.param(
            (failed(RFC8414, "status_404"), exchange(OIDC, "<html>")),
            "metadata",
            "failure",
            f"{OIDC}: not JSON",
            id="html",
        ),
        pytest.param(
            (exchange(RFC8414, "[]"),), "metadata", "failure", "no JSON object", id="list"
        ),
        pytest.param(
            (failed(RFC8414, "status_404"), metadata(OIDC)),
            "metadata",
            "ok",
            f"found at {OIDC}",
            id="oidc-only",
        ),
        pytest.param(
            (metadata(issuer=f"{ISSUER}/"),),
            "issuer",
            "failure",
            f'says "{ISSUER}/"',
            id="slash-more",
        ),
        pytest.param((metadata(issuer=None),), "issuer", "failure", "says null", id="no-issuer"),
        pytest.param(
            (metadata(issuer="https://x.test"), metadata(OIDC)),
            "issuer",
            "ok",
            "exactly",
            id="one-of-another-issuer",
        ),
        pytest.param(
            (metadata(jwks_uri=None),), "jwks_uri", "failure", "no `jwks_uri`", id="no-jwks-uri"
        ),
        pytest.param(
            (metadata(jwks_uri="http://login.test/k"),),
            "jwks_uri",
            "failure",
            "over http",
            id="keys-over-http",
        ),
        pytest.param(
            (metadata(jwks_uri=7), metadata(OIDC)), "jwks_uri", "ok", JWKS, id="second-has-it"
        ),
    ],
)
def test_metadata(exchanges: tuple[Exchange, ...], check: str, outcome: str, detail: str) -> None:
    found = outcomes(facts(*exchanges))[check]
    assert found[0] == outcome
    assert detail in found[1]


def test_metadata_is_not_needed_beside_jwks_uri() -> None:
    none = facts(failed(RFC8414, "timeout"), failed(OIDC, "timeout"))
    assert outcomes(none, jwks_uri=JWKS)["metadata"][0] == "warning"
    other = facts(metadata(issuer="https://x.test"))
    assert outcomes(other, jwks_uri=JWKS)["issuer"][0] == "warning"


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"jwks_file": Path("/keys.json")}, id="file"),
        pytest.param({"issuer": "bank", "jwks_uri": JWKS}, id="name"),
    ],
)
def test_metadata_is_not_asked_for_where_there_can_be_none(changes: dict[str, Any]) -> None:
    found = outcomes(IssuerFacts((), keys(ED_KEY)), policy(Requirement((), (MFA,), 1)), **changes)
    assert found["metadata"][0] == "skipped"
    assert found["keys"][0] == "ok"


@pytest.mark.parametrize(
    ("error", "outcome", "detail"),
    [
        pytest.param("timeout", "failure", "no answer within", id="timeout"),
        pytest.param("status_302", "failure", "status 302 instead of 200", id="redirect"),
        pytest.param("no_usable_key_set", "failure", "no JWK set", id="no-keys"),
        pytest.param("file_unreadable", "failure", "`jwks_file`", id="file"),
        pytest.param("metadata_timeout", "failure", "nothing says where", id="no-metadata"),
    ],
)
def test_key_set_that_is_not_to_be_had(error: str, outcome: str, detail: str) -> None:
    found = outcomes(IssuerFacts((metadata(),), (), error))
    assert found["key_set"][0] == outcome
    assert detail in found["key_set"][1]
    assert "keys" not in found
    assert "key_lifetime" not in found


@pytest.mark.parametrize(
    ("jwks", "algorithms", "hinted", "outcome", "detail"),
    [
        pytest.param(
            [EC_KEY], ("RS256",), None, "failure", 'no key fits: "ec" for ES256', id="none-fits"
        ),
        pytest.param(
            [EC_KEY, ED_KEY], ("ES256",), None, "warning", 'not used: "ed"', id="one-does-not"
        ),
        pytest.param(
            [EC_KEY], ("ES256",), ["RS256"], "warning", "signed with RS256", id="hint-differs"
        ),
        pytest.param([EC_KEY], ("ES256",), ["RS256", "ES256"], "ok", '"ec" for ES256', id="hint"),
        pytest.param([EC_KEY], ("ES256",), "RS256", "ok", "1 usable", id="hint-is-no-list"),
        pytest.param(
            [{**EC_KEY, "kid": "k" * 500}], ("ES256",), None, "ok", "kkk...", id="long-kid"
        ),
    ],
)
def test_keys_against_the_configured_algorithms(
    jwks: list[dict[str, Any]], algorithms: tuple[str, ...], hinted: Any, outcome: str, detail: str
) -> None:
    document = metadata(id_token_signing_alg_values_supported=hinted)
    seen = IssuerFacts((document,), keys(*jwks))
    found = outcomes(seen, algorithms=algorithms)["keys"]
    assert found[0] == outcome
    assert detail in found[1]
    assert len(found[1]) < 1000


@pytest.mark.parametrize(
    ("cache_control", "outcome"),
    [
        pytest.param("no-store", "warning", id="no-store"),
        pytest.param("max-age=60", "warning", id="a-minute"),
        pytest.param("max-age=61", "ok", id="more"),
        pytest.param("", "ok", id="absent"),
        pytest.param("max-age=86399", "ok", id="less-than-a-day"),
        pytest.param("max-age=86400", "warning", id="a-day"),
    ],
)
def test_lifetime_of_the_keys(cache_control: str, outcome: str) -> None:
    seen = facts(metadata(), exchange(JWKS, "", cache_control=cache_control))
    assert outcomes(seen)["key_lifetime"][0] == outcome
    configured = facts(exchange(JWKS, "", cache_control=cache_control))
    assert outcomes(configured, jwks_uri=JWKS)["key_lifetime"][0] == outcome


def dated(seconds: float, age: str = "") -> Exchange:
    return exchange(JWKS, "", date=formatdate(NOW + seconds, usegmt=True), age=age)


@pytest.mark.parametrize(
    ("ahead", "leeway", "outcome"),
    [
        pytest.param(5, 5, "ok", id="leeway"),
        pytest.param(6, 5, "warning", id="over"),
        pytest.param(-6, 5, "ok", id="behind-by-leeway"),  # the Date may be a second older
        pytest.param(-7, 5, "warning", id="behind"),
        pytest.param(60, 5, "warning", id="a-minute"),
        pytest.param(61, 5, "failure", id="over-a-minute"),
        pytest.param(-61, 5, "warning", id="a-minute-behind"),
        pytest.param(-62, 5, "failure", id="over-a-minute-behind"),
        pytest.param(120, 120, "ok", id="large-leeway"),
        pytest.param(121, 120, "failure", id="over-large-leeway"),
    ],
)
def test_clock(ahead: float, leeway: int, outcome: str) -> None:
    assert outcomes(facts(dated(ahead)), leeway=leeway)["clock"][0] == outcome


def test_answer_from_a_cache_does_not_make_a_clock_wrong() -> None:
    assert clock_skew(dated(-3600, age="3600")) == 0
    assert outcomes(facts(dated(-3600, age="3600")))["clock"][0] == "ok"
    assert outcomes(facts(dated(-3600), dated(0)))["clock"][0] == "ok"


def test_time_that_an_answer_takes_is_no_skew() -> None:
    document = Document(b"", "", formatdate(NOW, usegmt=True))
    assert clock_skew(Exchange(JWKS, None, document, NOW - 3, NOW + 9)) == 0
    assert clock_skew(Exchange(JWKS, None, document, NOW - 9, NOW - 3)) == 3
    assert clock_skew(Exchange(JWKS, None, document, NOW + 3, NOW + 9)) == -2


@pytest.mark.parametrize("date", ["", "soon", "Fri, 32 Jan 2027 08:00:00 GMT", "0", "\x00" * 99])
def test_answer_without_a_proper_date_says_nothing_of_the_clock(date: str) -> None:
    assert clock_skew(exchange(JWKS, "", date=date)) is None
    assert outcomes(facts(exchange(JWKS, "", date=date)))["clock"][0] == "skipped"


@pytest.mark.parametrize("age", ["-5", "soon", "9" * 5000, "²"])
def test_age_that_is_none_is_passed_over(age: str) -> None:
    assert clock_skew(dated(10, age=age)) == 10


LOA = AcrNames((("2", MFA), ("gold", MFA), ("3", PHR)))


@pytest.mark.parametrize(
    ("demanded", "supported", "acr_names", "outcome", "detail"),
    [
        pytest.param([()], [PWD], None, "skipped", "no operation", id="no-demand"),
        pytest.param([(MFA,)], None, None, "warning", f"knows {MFA}", id="not-advertised-at-all"),
        pytest.param([(MFA,)], "x", None, "warning", "knows", id="no-list"),
        pytest.param([(MFA,)], [], None, "failure", "payments.o0", id="empty-list"),
        pytest.param(
            [(MFA,), (PHR,)], [PWD, MFA], None, "failure", f"not {PHR}: clients of payments.o1 ",
            id="one-loops",
        ),
        pytest.param(
            [(MFA, PHR)], [MFA], None, "warning", f"not {PHR}; each", id="one-of-two-will-do"
        ),
        pytest.param([(MFA,)], [MFA.upper()], None, "failure", "again", id="case"),
        pytest.param([(MFA, PHR)], [PHR, MFA], None, "ok", MFA, id="all"),
        pytest.param([(MFA,)], ["gold"], LOA, "ok", "2, gold", id="one-of-its-names"),
        pytest.param([(MFA,)], [MFA], LOA, "failure", "not 2, gold", id="not-by-its-names"),
        pytest.param([(PWD,)], [PWD], LOA, "ok", PWD, id="not-in-the-map"),
    ],
)  # fmt: skip
def test_acr_values_of_the_policy_against_those_of_the_issuer(
    demanded: list[tuple[str, ...]],
    supported: Any,
    acr_names: AcrNames | None,
    outcome: str,
    detail: str,
) -> None:
    rules = policy(*(Requirement(acr_values=values) for values in demanded))
    members = {} if supported is None else {"acr_values_supported": supported}
    changes = {} if acr_names is None else {"acr_names": acr_names}
    found = outcomes(facts(metadata(**members)), rules, **changes)["acr_values"]
    assert found[0] == outcome
    assert detail in found[1]


def test_acr_values_may_be_in_either_metadata() -> None:
    seen = facts(metadata(), metadata(OIDC, acr_values_supported=[MFA]))
    assert outcomes(seen, policy(Requirement((), (MFA,))))["acr_values"][0] == "ok"


def test_only_operations_that_see_the_issuers_tokens_count() -> None:
    demand = Requirement((), (MFA,), 60)
    elsewhere = Api("other", ("https://x.test",), (Operation("o", ("/",), requirement=demand),))
    public = Api("open", (ISSUER,), (Operation("p", ("/",), (), True, demand),))
    found = outcomes(facts(metadata(acr_values_supported=[])), Policy((elsewhere, public)))
    assert found["acr_values"][0] == found["auth_time"][0] == "skipped"


@pytest.mark.parametrize(
    ("max_age", "claims", "outcome"),
    [
        pytest.param(None, [], "skipped", id="not-demanded"),
        pytest.param(0, ["sub"], "warning", id="lacking"),
        pytest.param(300, ["t"], "ok", id="by-another-name"),
        pytest.param(300, None, "skipped", id="not-advertised"),
        pytest.param(300, ["auth_time"], "warning", id="not-by-its-name"),
    ],
)
def test_auth_time_where_max_age_is_demanded(
    max_age: int | None, claims: Any, outcome: str
) -> None:
    names = ClaimNames(auth_time=(("t",), ("session", "time")))
    found = outcomes(
        facts(metadata(claims_supported=claims)),
        policy(Requirement(max_age=max_age)),
        claims=names,
    )
    assert found["auth_time"][0] == outcome


def test_every_fault_of_fetching_has_words() -> None:
    page = (DOCS / "operations.md").read_text("utf-8")
    table = page.partition("\n| error | means |")[2].partition("\n\n")[0]
    codes = {
        code.removeprefix("metadata_")
        for line in table.splitlines()[2:]
        for code in re.findall(r"`([a-z_0-9]+[a-z0-9])`", line.split("|")[1])
    }
    codes -= {
        "not_fetched_yet",
        "without_jwks_uri",
        "keys_over_http",
    }  # told by checks of their own
    assert len(codes) > 10
    for code in codes:
        assert describe_fault(code) != code, code


def test_every_reason_to_refuse_a_token_has_words() -> None:
    page = (DOCS / "decisions.md").read_text("utf-8").partition("\n## Reasons\n")[2]
    rows = [line for line in page.splitlines() if re.match(r"\| [789] ", line)]
    reasons = {reason for row in rows for reason in re.findall(r"`([a-z_0-9]+)`", row)}
    of_requests = re.compile("check_failed|dpop_|client_certificate_|replay_")
    reasons = {reason for reason in reasons if not of_requests.match(reason)}
    assert len(reasons) > 25
    for reason in reasons:
        assert remedy(reason) != reason, reason
        code = reason.removeprefix("introspection_")
        assert code in (reason, "overloaded") or describe_fault(code) != code, reason


# issuers on loopback


@pytest.fixture
async def server() -> AsyncIterator[IssuerServer]:
    async with serving() as started:
        yield started


KEY = SigningKey("k1")
WELL_KNOWN = "/.well-known/oauth-authorization-server"
TRANSFER = {"scopes": ["payments:write"], "acr_values": [MFA, PHR], "max_age": "5m"}


def write(directory: Path, *issuers: dict[str, Any], **top_level: Any) -> Config:
    file = directory / "bridge.yaml"
    common = {"audiences": ["api"], "timeout": "1s"}
    apis = [
        {
            "name": "payments",
            "operations": [
                {"name": "health", "paths": ["/health"], "public": True},
                {"name": "profile", "paths": ["/profile"]},
                {"name": "transfer", "paths": ["/transfers"], "require": TRANSFER},
            ],
        }
    ]
    written = [{**common, **issuer} for issuer in issuers]
    nobody = {"listen": {"admin": "127.0.0.1:0"}}
    document = {"version": 1, "issuers": written, "apis": apis, **nobody, **top_level}
    file.write_text(json.dumps(document))
    return load_config(file)


def publish(server: IssuerServer, path: str = "", **members: Any) -> None:
    """Serve metadata of the issuer at this path, and the key."""
    iss = server.url + path
    full = {
        "issuer": iss,
        "jwks_uri": server.jwks_uri,
        "acr_values_supported": [PWD, MFA, PHR],
        "claims_supported": ["auth_time"],
    }
    server.answers[WELL_KNOWN + path] = document({**full, **members})
    server.publish(KEY)


async def examine(config: Config, *tokens: str) -> Report:
    """Examine, and look that no token shows in any output."""
    named = [NamedToken(f"token-{number}", token) for number, token in enumerate(tokens)]
    report = await asyncio.wait_for(diagnose(config, named), 3 * PATIENCE_SECONDS)
    output = json.dumps(report) + render(report)
    for token in tokens:
        for part in token.split("."):
            assert not part or part not in output
        assert not token or token not in repr(named)
    return report


def bad(checks: list[dict[str, str]]) -> dict[str, str]:
    return {
        check["check"]: check["outcome"]
        for check in checks
        if check["outcome"] not in ("ok", "skipped")
    }


async def test_good_issuer_passes(server: IssuerServer, tmp_path: Path) -> None:
    publish(server)
    report = await examine(write(tmp_path, {"issuer": server.url}))
    assert report["ok"] is True
    assert report["tokens"] == []
    [issuer] = report["issuers"]
    assert issuer["issuer"] == server.url
    assert [check["outcome"] for check in issuer["checks"]] == [*["ok"] * 9, "skipped"]
    assert sorted(server.asked) == sorted(
        [WELL_KNOWN, "/jwks", "/.well-known/openid-configuration"]
    )


NO_METADATA = {"metadata": "failure", "key_set": "failure"}
FAULTS = [
    pytest.param("/jwks", raw("{}", 500), {"key_set": "failure"}, id="keys-500"),
    pytest.param("/jwks", raw("", 302, location="/x"), {"key_set": "failure"}, id="keys-redirect"),
    pytest.param("/jwks", document({"keys": []}), {"key_set": "failure"}, id="no-keys"),
    pytest.param("/jwks", Gate(raw("{}")), {"key_set": "failure"}, id="keys-hang"),
    pytest.param("/jwks", document({"keys": [EC_KEY]}), {"keys": "failure"}, id="other-algorithm"),
    pytest.param(
        "/jwks", document({"keys": [ED_KEY]}, cache_control="no-store"),
        {"key_lifetime": "warning"}, id="no-store",
    ),
    pytest.param(WELL_KNOWN, raw("<html>"), NO_METADATA, id="metadata-html"),
    pytest.param(WELL_KNOWN, Gate(raw("{}")), NO_METADATA, id="metadata-hangs"),
    pytest.param(
        WELL_KNOWN, document({"issuer": "https://x.test"}),
        {"issuer": "failure", "key_set": "failure"}, id="stranger",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("path", "answer", "found"), FAULTS)
async def test_faulty_issuer_is_found_out(
    server: IssuerServer, tmp_path: Path, path: str, answer: Answer, found: dict[str, str]
) -> None:
    publish(server)
    server.answers[path] = answer
    report = await examine(write(tmp_path, {"issuer": server.url, "algorithms": ["EdDSA"]}))
    assert bad(report["issuers"][0]["checks"]) == found
    assert report["ok"] is ("failure" not in found.values())


@pytest.mark.parametrize(
    ("ahead", "found"),
    [
        pytest.param(30, {"clock": "warning"}, id="ahead"),
        pytest.param(3600, {"clock": "failure"}, id="far-ahead"),
        pytest.param(-3600, {"clock": "failure"}, id="far-behind"),
    ],
)
async def test_clock_of_an_issuer_that_is_wrong(
    server: IssuerServer, tmp_path: Path, ahead: int, found: dict[str, str]
) -> None:
    date = formatdate(time.time() + ahead, usegmt=True)
    server.publish(KEY, date=date)
    config = write(tmp_path, {"issuer": "bank", "jwks_uri": server.jwks_uri})
    report = await examine(config)
    assert bad(report["issuers"][0]["checks"]) == found


async def test_issuer_that_is_down_is_found_out(tmp_path: Path) -> None:
    async with serving() as gone:
        url = gone.url
    report = await examine(write(tmp_path, {"issuer": url}))
    assert bad(report["issuers"][0]["checks"]) == NO_METADATA
    assert "no connection" in report["issuers"][0]["checks"][0]["detail"]


async def test_issuer_that_hangs_does_not_hold_up_others(
    server: IssuerServer, tmp_path: Path
) -> None:
    """Five on one machine that hang take all the connections that a fetcher has to it."""
    publish(server, "/good")
    stuck = [
        {"issuer": f"{server.url}/{number}", "jwks_uri": f"{server.url}/stuck"}
        for number in range(5)
    ]
    gate = Gate(raw("{}"))
    server.answers["/stuck"] = gate
    config = write(tmp_path, *stuck, {"issuer": f"{server.url}/good"})
    report = await examine(config, KEY.token(f"{server.url}/good", exp=int(time.time()) + 600))
    *stuck_checks, good = (bad(issuer["checks"]) for issuer in report["issuers"])
    assert good == {}
    assert all(checks["key_set"] == "failure" for checks in stuck_checks)
    assert "failure" not in bad(report["tokens"][0]["checks"]).values()


async def test_key_file_is_read_and_nothing_asked(server: IssuerServer, tmp_path: Path) -> None:
    config = write(tmp_path, {"issuer": server.url, "jwks_file": "keys.json"})
    assert bad((await examine(config))["issuers"][0]["checks"]) == {"key_set": "failure"}
    (tmp_path / "keys.json").write_text(json.dumps({"keys": [KEY.jwk()]}))
    report = await examine(config)
    assert report["ok"] is True
    assert report["issuers"][0]["checks"][1]["detail"] == f"read from {tmp_path / 'keys.json'}"
    assert server.asked == []


# tokens


FILE_ISSUER = "https://bank.test"


@pytest.fixture
def config(tmp_path: Path) -> Config:
    (tmp_path / "keys.json").write_text(json.dumps({"keys": [KEY.jwk()]}))
    return write(tmp_path, {"issuer": FILE_ISSUER, "jwks_file": "keys.json"})


def token(header: dict[str, Any] | None = None, key: SigningKey = KEY, **claims: Any) -> str:
    now = int(time.time())
    good = {
        "exp": now + 600,
        "iat": now,
        "client_id": "app",
        "acr": MFA,
        "auth_time": now - 30,
        "scope": "payments:write",
    }
    iss = claims.pop("iss", FILE_ISSUER)
    return key.token(iss, header, **{**good, **claims})


async def test_good_token_passes(config: Config) -> None:
    report = await examine(config, token())
    assert report["ok"] is True
    [described] = report["tokens"]
    assert (described["token"], described["issuer"]) == ("token-0", FILE_ISSUER)
    details = {check["check"]: check["detail"] for check in described["checks"]}
    assert bad(described["checks"]) == {}
    assert details["header"] == 'alg "EdDSA", typ "at+jwt", kid "k1"'
    assert details["signature"] == "of a key that the issuer publishes"
    assert details["acr"] == MFA
    assert details["scope"] == "payments:write"
    assert details["client"] == '"app", for a user'
    passing = {"decision": "allow", "reason": "requirement_met", "lacks": []}
    assert described["operations"] == [
        {"api": "payments", "operation": "profile", **passing},
        {"api": "payments", "operation": "transfer", **passing},
    ]


SOON = 2**33
LATER: dict[str, Any] = {"exp": SOON + 9}
EXPIRED: dict[str, Any] = {"exp": 1_000_000_000, "iat": 999_999_000}


REFUSED = [
    pytest.param({"alg": "RS512"}, {}, "header", "token_alg_not_accepted", id="alg"),
    pytest.param({"typ": "dpop+jwt"}, {}, "header", "token_typ_not_accepted", id="typ"),
    pytest.param({"crit": ["x"]}, {}, "header", "token_crit_not_understood", id="crit"),
    pytest.param({"kid": "k2"}, {}, "signature", "token_kid_unknown", id="kid"),
    pytest.param(
        {}, {"key": SigningKey("k1")}, "signature", "token_signature_invalid", id="signature"
    ),
    pytest.param({}, EXPIRED, "exp", "token_expired", id="expired"),
    pytest.param({}, {**EXPIRED, "aud": 7}, "exp aud audience", "token_expired", id="and-worse"),
    pytest.param({}, {"exp": None}, "exp", "token_exp_malformed", id="no-exp"),
    pytest.param({}, {**LATER, "nbf": SOON}, "nbf", "token_not_yet_valid", id="nbf"),
    pytest.param({}, {**LATER, "iat": SOON}, "iat", "token_issued_in_the_future", id="iat"),
    pytest.param({"typ": "JWT"}, {"nonce": "n"}, "id_token", "token_is_an_id_token", id="id-token"),
    pytest.param({}, {"cnf": {"x": "y"}}, "cnf", "token_binding_not_supported", id="bound"),
    pytest.param({}, {"cnf": {"jkt": "y"}}, "cnf", "token_binding_malformed", id="bound-badly"),
    pytest.param({}, {"aud": "other"}, "audience", "token_audience_not_accepted", id="audience"),
    pytest.param({}, {"iss": "https://x.test"}, "issuer", "token_issuer_not_accepted", id="issuer"),
    pytest.param({}, {"iss": 7}, "issuer", "token_issuer_not_accepted", id="issuer-is-a-number"),
]


@pytest.mark.parametrize(("header", "claims", "failing", "reason"), REFUSED)
async def test_token_that_is_refused(
    config: Config, header: dict[str, Any], claims: dict[str, Any], failing: str, reason: str
) -> None:
    report = await examine(config, token(header, **claims))
    assert report["ok"] is False
    [described] = report["tokens"]
    assert bad(described["checks"]) == dict.fromkeys(failing.split(), "failure")
    assert len(described["operations"]) == 2
    for operation in described["operations"]:
        assert (operation["decision"], operation["reason"]) == ("deny", reason)
        assert operation["lacks"] != [reason], "has no words"


@pytest.mark.parametrize(
    ("claims", "check", "outcome", "detail", "reason", "lacks"),
    [
        pytest.param(
            {"auth_time": None}, "auth_time", "warning", 'missing at "auth_time": operations with',
            "max_age_unmet", ["max_age 300: no auth_time"], id="no-auth-time",
        ),
        pytest.param(
            {"auth_time": "1700000000"}, "auth_time", "warning", "not a number",
            "max_age_unmet", ["max_age 300: no auth_time"], id="auth-time-as-text",
        ),
        pytest.param(
            {"auth_time": SOON}, "auth_time", "warning", "in the future",
            "max_age_unmet", None, id="auth-time-in-the-future",
        ),
        pytest.param(
            {"auth_time": 0}, "auth_time", "ok", " s ago", "max_age_unmet", None, id="stale"
        ),
        pytest.param(
            {"acr": None}, "acr", "warning", "none at", "acr_unmet",
            [f"acr: one of {MFA}, {PHR}"], id="no-acr",
        ),
        pytest.param({"acr": 2}, "acr", "warning", "neither", "acr_unmet", None, id="acr-number"),
        pytest.param(
            {"acr": [PWD, MFA]}, "acr", "ok", "(a list: any of them counts)",
            "requirement_met", [], id="acr-list",
        ),
        pytest.param({"acr": PWD}, "acr", "ok", "no operation asks", "acr_unmet", None, id="weak"),
        pytest.param(
            {"scope": None}, "scope", "warning", "none", "scope_missing",
            ["scope: payments:write"], id="no-scope",
        ),
        pytest.param(
            {"scope": "a"}, "scope", "ok", "a", "scope_missing",
            ["scope: payments:write"], id="other-scope",
        ),
        pytest.param(
            {"sub": "app", "auth_time": None, "acr": None}, "client", "ok", "no user stands behind",
            "acr_and_max_age_unmet", None, id="machine",
        ),
        pytest.param(
            {"aud": ["other", "api"]}, "audience", "ok", "accepted by payments",
            "requirement_met", [], id="one-audience-will-do",
        ),
    ],
)  # fmt: skip
async def test_what_the_bridge_sees_of_a_token(
    config: Config,
    claims: dict[str, Any],
    check: str,
    outcome: str,
    detail: str,
    reason: str,
    lacks: list[str] | None,
) -> None:
    report = await examine(config, token(**claims))
    assert report["ok"] is True, "a token that is not enough for all is nothing broken"
    [described] = report["tokens"]
    [found] = [each for each in described["checks"] if each["check"] == check]
    assert found["outcome"] == outcome
    assert detail in found["detail"]
    transfer = described["operations"][1]
    assert transfer["reason"] == reason
    assert transfer["decision"] == ("allow" if reason == "requirement_met" else "deny")
    if lacks is not None:
        assert transfer["lacks"] == lacks


@pytest.mark.parametrize(
    ("presented", "detail"),
    [
        pytest.param("", "no token", id="empty"),
        pytest.param("a,b", "holds a comma", id="comma"),
        pytest.param("a b", "Bearer", id="two-words"),
        pytest.param("0123456789abcdef", "opaque", id="opaque"),
        pytest.param("e30.e30.AA", "not well formed", id="broken"),
        pytest.param("x" * 17_000, "16 KiB", id="long"),
    ],
)
async def test_what_is_no_jwt(config: Config, presented: str, detail: str) -> None:
    report = await examine(config, presented)
    assert report["ok"] is False
    [described] = report["tokens"]
    [check] = described["checks"]
    assert (check["check"], check["outcome"]) == ("format", "failure")
    assert detail in check["detail"]
    assert {each["decision"] for each in described["operations"]} == {"deny"}


ODD: list[Any] = [-1, 0.5, 1e308, 2**70, True, "", "\x00", [], [7], [None], {}, {"a": []}]


@pytest.mark.parametrize(
    "name",
    [
        "exp",
        "nbf",
        "iat",
        "aud",
        "sub",
        "acr",
        "auth_time",
        "scope",
        "client_id",
        "azp",
        "cnf",
        "iss",
    ],
)
async def test_odd_claims_are_judged_like_others(config: Config, name: str) -> None:
    odd: list[dict[str, Any]] = [{name: value} for value in ODD]
    tokens = [token(**claims) for claims in odd]
    tokens += [token(**{**EXPIRED, **claims}) for claims in odd]
    report = await examine(config, *tokens)
    for described in report["tokens"]:
        profile = described["operations"][0]  # takes any valid token
        has_failed = "failure" in bad(described["checks"]).values()
        assert has_failed is (profile["decision"] == "deny")
        for check in described["checks"]:
            assert check["detail"]
            assert len(check["detail"]) < 1000


async def test_names_of_the_issuer_are_translated(tmp_path: Path) -> None:
    (tmp_path / "keys.json").write_text(json.dumps({"keys": [KEY.jwk()]}))
    acr_map = {"acr_map": {"2": MFA, "1": PWD}, "claims": {"acr": [["loa", "name"]]}}
    config = write(tmp_path, {"issuer": FILE_ISSUER, "jwks_file": "keys.json", **acr_map})
    [described] = (await examine(config, token(loa={"name": "2"}, acr=None)))["tokens"]
    [acr] = [check for check in described["checks"] if check["check"] == "acr"]
    assert acr["detail"] == f"{MFA}, which the issuer calls 2"
    assert described["operations"][1]["decision"] == "allow"


async def test_token_of_an_issuer_at_fault_is_not_judged(tmp_path: Path) -> None:
    config = write(tmp_path, {"issuer": FILE_ISSUER, "jwks_file": "missing.json"})
    [described] = (await examine(config, token()))["tokens"]
    assert bad(described["checks"]) == {"signature": "failure"}
    assert {each["reason"] for each in described["operations"]} == {"keys_unavailable"}


async def test_audience_is_judged_by_each_api(tmp_path: Path) -> None:
    (tmp_path / "keys.json").write_text(json.dumps({"keys": [KEY.jwk()]}))
    operations = [{"name": "any", "paths": ["/**"]}]
    apis = [
        {"name": "one", "base_path": "/1", "operations": operations},
        {"name": "two", "base_path": "/2", "audiences": ["two"], "operations": operations},
        {"name": "spared", "base_path": "/3", "audiences": ["x"], "operations": operations,
         "mode": "monitor"},
    ]  # fmt: skip
    issuer = {"issuer": FILE_ISSUER, "jwks_file": "keys.json"}
    report = await examine(write(tmp_path, issuer, apis=apis), token())
    assert report["ok"] is True
    [described] = report["tokens"]
    [audience] = [check for check in described["checks"] if check["check"] == "audience"]
    assert audience["detail"] == (
        "`aud` is api: accepted by one; not by two, spared, which want one of two, x"
    )
    decisions = [each["decision"] for each in described["operations"]]
    assert decisions == ["allow", "deny", "would_deny"]


KEY_BOUND = {"cnf": {"jkt": "A" * 43}}
CERTIFICATE_BOUND = {"cnf": {"x5t#S256": "A" * 43}}
BOTH = {"cnf": {"jkt": "A" * 43, "x5t#S256": "A" * 43}}


@pytest.mark.parametrize(
    ("constraint", "claims", "reason", "detail"),
    [
        pytest.param("none", KEY_BOUND, "token_binding_not_supported", "a key (DPoP)", id="none"),
        pytest.param("none", {}, None, "a plain bearer token", id="none-unbound"),
        pytest.param("any", {}, None, "a plain bearer token", id="any-unbound"),
        pytest.param("any", KEY_BOUND, None, "bound to a key (DPoP), which", id="any-key"),
        pytest.param("any", BOTH, None, "a key (DPoP) and a certificate (mTLS)", id="any-both"),
        pytest.param("dpop", KEY_BOUND, None, "prove at every request", id="dpop"),
        pytest.param("dpop", {}, "token_not_bound_to_key", "demands DPoP", id="dpop-unbound"),
        pytest.param(
            "dpop", CERTIFICATE_BOUND, "token_not_bound_to_key", "certificate", id="dpop-mtls"
        ),
        pytest.param("mtls", CERTIFICATE_BOUND, None, "a certificate (mTLS), which", id="mtls"),
        pytest.param("mtls", {}, "token_not_bound", "not bound", id="mtls-unbound"),
        pytest.param(
            "mtls", KEY_BOUND, "token_bound_to_key_sent_as_bearer", "takes no DPoP", id="mtls-key"
        ),
        pytest.param("required", {}, "token_not_bound", "not bound", id="required-unbound"),
        pytest.param("required", KEY_BOUND, None, "a key (DPoP), which", id="required-key"),
    ],
)
async def test_binding_of_a_token(
    tmp_path: Path, constraint: str, claims: dict[str, Any], reason: str | None, detail: str
) -> None:
    (tmp_path / "keys.json").write_text(json.dumps({"keys": [KEY.jwk()]}))
    api = {
        "name": "payments",
        "resource": "https://api.test",
        "sender_constraint": constraint,
        "operations": [{"name": "any", "paths": ["/**"]}],
    }
    issuer = {"issuer": FILE_ISSUER, "jwks_file": "keys.json"}
    report = await examine(write(tmp_path, issuer, apis=[api]), token(**claims))
    [described] = report["tokens"]
    [binding] = [check for check in described["checks"] if check["check"] == "binding"]
    assert detail in binding["detail"]
    assert bad(described["checks"]) == ({} if reason is None else {"binding": "failure"})
    [operation] = described["operations"]
    assert operation["reason"] == (reason or "requirement_met")


# introspection


OPAQUE = "opaque-0123456789"


def introspecting(active: Mapping[str, Any], *tokens: str) -> Answer:
    """Answer that these tokens are active, and no other."""

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        asked = parse_qs((await request.read()).decode())["token"][0]
        return web.json_response(active if asked in tokens else {"active": False})

    return answer


def write_introspecting(
    directory: Path, server: IssuerServer, settings: Mapping[str, Any], **introspection: Any
) -> Config:
    """Configure an issuer with a key file that is asked about tokens."""
    (directory / "secret").write_text("s3cr3t")
    (directory / "keys.json").write_text(json.dumps({"keys": [KEY.jwk()]}))
    asking = {"client_id": "bridge", "client_secret_file": "secret", **introspection}
    issuer = {"issuer": server.url, "jwks_file": "keys.json", "introspection": asking}
    changed = {**issuer, **settings}
    return write(directory, {name: value for name, value in changed.items() if value is not None})


@pytest.mark.parametrize(
    ("answer", "outcome", "detail"),
    [
        pytest.param(document({"active": False}), "ok", "is not active", id="inactive"),
        pytest.param(document({"active": True}), "failure", "anybody", id="active"),
        pytest.param(document({}), "failure", "neither true nor false", id="no-answer"),
        pytest.param(raw("<html>"), "failure", "not JSON", id="html"),
        pytest.param(raw("", 401), "failure", "client_id and secret", id="bridge-unknown"),
        pytest.param(raw("", 404), "failure", "status 404", id="elsewhere"),
        pytest.param(Gate(raw("")), "failure", "no answer within", id="hangs"),
    ],
)
async def test_endpoint_is_asked_about_a_made_up_token(
    server: IssuerServer, tmp_path: Path, answer: Answer, outcome: str, detail: str
) -> None:
    server.answers["/introspect"] = answer
    config = write_introspecting(tmp_path, server, {}, endpoint=f"{server.url}/introspect")
    report = await examine(config)
    checks = report["issuers"][0]["checks"]
    [check] = [each for each in checks if each["check"] == "introspection"]
    assert (check["check"], check["outcome"]) == ("introspection", outcome)
    assert detail in check["detail"]
    assert report["ok"] is (outcome == "ok")
    assert server.asked == ["/introspect"], "keys are in a file, so nothing else is asked for"
    assert "s3cr3t" not in json.dumps(report)


async def test_endpoint_that_must_be_in_the_metadata(server: IssuerServer, tmp_path: Path) -> None:
    config = write_introspecting(tmp_path, server, {})
    found = bad((await examine(config))["issuers"][0]["checks"])
    assert found == {"metadata": "failure", "introspection": "failure"}
    publish(server, jwks_uri=None)
    found = bad((await examine(config))["issuers"][0]["checks"])
    assert found == {"introspection": "failure"}
    publish(server, jwks_uri=None, introspection_endpoint=f"{server.url}/introspect")
    server.answers["/introspect"] = introspecting({})
    assert bad((await examine(config))["issuers"][0]["checks"]) == {}


async def test_issuer_of_opaque_tokens_needs_no_keys(server: IssuerServer, tmp_path: Path) -> None:
    now = int(time.time())
    active = {"active": True, "acr": PWD, "auth_time": now - 30, "client_id": "app", "sub": "a"}
    server.answers["/introspect"] = introspecting(active, OPAQUE)
    endpoint = f"{server.url}/introspect"
    settings = {"tokens": ["opaque"], "jwks_file": None}
    config = write_introspecting(tmp_path, server, settings, endpoint=endpoint)
    report = await examine(config, OPAQUE, "another-0123456789")
    checks = {check["check"]: check["outcome"] for check in report["issuers"][0]["checks"]}
    assert checks["key_set"] == "skipped"
    assert checks["metadata"] == "warning"
    good, other = report["tokens"]
    assert good["issuer"] == server.url
    assert [check["check"] for check in good["checks"]] == [
        *("format", "issuer", "introspection", "audience", "binding"),
        *("acr", "auth_time", "scope", "client"),
    ]
    assert bad(good["checks"]) == {"scope": "warning"}
    assert [each["reason"] for each in good["operations"]] == ["requirement_met", "acr_unmet"]
    assert other["issuer"] is None
    assert bad(other["checks"]) == {"introspection": "failure"}
    assert {each["reason"] for each in other["operations"]} == {"token_inactive"}


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        pytest.param(document({"active": False}), "token_inactive", id="inactive"),
        pytest.param(document({"active": True, "exp": 1}), "token_expired", id="expired"),
        pytest.param(raw("", 500), "introspection_status_500", id="fault"),
    ],
)
async def test_jwt_that_its_issuer_speaks_against(
    server: IssuerServer, tmp_path: Path, answer: Answer, reason: str
) -> None:
    server.answers["/introspect"] = answer
    endpoint = f"{server.url}/introspect"
    config = write_introspecting(tmp_path, server, {}, endpoint=endpoint, when="always")
    [described] = (await examine(config, token(iss=server.url)))["tokens"]
    assert bad(described["checks"]) == {"introspection": "failure"}
    assert {each["reason"] for each in described["operations"]} == {reason}


async def test_jwt_whose_issuer_names_another_audience(
    server: IssuerServer, tmp_path: Path
) -> None:
    server.answers["/introspect"] = document({"active": True, "aud": "other"})
    endpoint = f"{server.url}/introspect"
    config = write_introspecting(tmp_path, server, {}, endpoint=endpoint, when="always")
    [described] = (await examine(config, token(iss=server.url)))["tokens"]
    assert bad(described["checks"]) == {"aud": "failure"}


async def test_jwt_of_an_issuer_that_has_none(server: IssuerServer, tmp_path: Path) -> None:
    server.answers["/introspect"] = introspecting({})
    settings = {"tokens": ["opaque"], "jwks_file": None}
    endpoint = f"{server.url}/introspect"
    config = write_introspecting(tmp_path, server, settings, endpoint=endpoint)
    [described] = (await examine(config, token(iss=server.url)))["tokens"]
    assert bad(described["checks"]) == {"iss": "failure"}
    assert described["checks"][-1]["detail"] == "a JWT, and the issuer's `tokens` has no jwt"


# the table


async def test_table_has_a_line_for_each_check(config: Config) -> None:
    report = await examine(config, token(auth_time=None), token(**EXPIRED))
    table = render(report)
    for part in (*report["issuers"], *report["tokens"]):
        for check in part["checks"]:
            assert f"  {check['outcome']:<8} {check['check']:<16} {check['detail']}\n" in table
    assert "    deny       payments.transfer  max_age 300: no auth_time\n" in table
    assert table.endswith("\n1 would fail, 1 to look at\n")


async def test_claim_cannot_talk_to_the_terminal(config: Config) -> None:
    report = await examine(config, token(scope="\x1b[2Ja", acr="\x07", client_id="\u202e"))
    assert all(line.isprintable() for line in render(report).splitlines())
