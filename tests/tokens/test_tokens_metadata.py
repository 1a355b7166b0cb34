"""Where an issuer publishes its keys: RFC 8414 first, then OpenID Connect Discovery (spec §5)."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from bridge.tokens.fetch import Fetcher, FetchError
from bridge.tokens.metadata import discover_jwks_uri, metadata_urls

from .tokens_issuer import (
    PATIENCE_SECONDS,
    Answer,
    Clock,
    Gate,
    IssuerServer,
    document,
    raw,
    serving,
)

RFC8414 = "/.well-known/oauth-authorization-server"
OIDC = "/.well-known/openid-configuration"


async def discover(fetcher: Fetcher, issuer: str) -> str:
    return await discover_jwks_uri(issuer, fetcher, timeout_seconds=2, allow_insecure_http=False)


async def refusal(fetcher: Fetcher, issuer: str) -> str:
    with pytest.raises(FetchError) as refused:
        await discover(fetcher, issuer)
    return str(refused.value)


def metadata(server: IssuerServer, **members: Any) -> Answer:
    return document({"issuer": server.url, "jwks_uri": server.jwks_uri, **members})


@pytest.mark.parametrize(
    ("issuer", "urls"),
    [
        pytest.param(
            "https://login.example.com",
            (f"https://login.example.com{RFC8414}", f"https://login.example.com{OIDC}"),
            id="no-path",
        ),
        pytest.param(
            "https://login.example.com/",
            (f"https://login.example.com{RFC8414}", f"https://login.example.com{OIDC}"),
            id="slash",
        ),
        pytest.param(
            "https://login.example.com:8443/realms/bank",
            (
                f"https://login.example.com:8443{RFC8414}/realms/bank",
                f"https://login.example.com:8443/realms/bank{OIDC}",
            ),
            id="path-is-inserted-and-appended",
        ),
        pytest.param(
            "https://login.example.com/tenant/",
            (
                f"https://login.example.com{RFC8414}/tenant",
                f"https://login.example.com/tenant{OIDC}",
            ),
            id="trailing-slash-is-cut-off",
        ),
    ],
)
def test_metadata_is_at_two_places(issuer: str, urls: tuple[str, ...]) -> None:
    assert metadata_urls(issuer) == urls


async def test_rfc_8414_is_asked_first_and_suffices(issuer: IssuerServer, fetcher: Fetcher) -> None:
    issuer.answers[RFC8414] = metadata(issuer)
    issuer.answers[OIDC] = metadata(issuer, jwks_uri=f"{issuer.url}/other")
    assert await discover(fetcher, issuer.url) == issuer.jwks_uri
    assert issuer.asked == [RFC8414]


async def test_issuer_with_a_path_is_asked_at_both_places(
    issuer: IssuerServer, fetcher: Fetcher
) -> None:
    iss = f"{issuer.url}/realms/bank"
    issuer.answers[f"/realms/bank{OIDC}"] = metadata(issuer, issuer=iss)
    assert await discover(fetcher, iss) == issuer.jwks_uri
    assert issuer.asked == [f"{RFC8414}/realms/bank", f"/realms/bank{OIDC}"]


FAULTS = [
    pytest.param(raw("{}", 404), "status_404", id="404"),
    pytest.param(raw("{}", 500), "status_500", id="500"),
    pytest.param(raw("{}", 302, location="/jwks"), "status_302", id="redirect"),
    pytest.param(raw(" " * 1024 * 1024 + "{}"), "too_large", id="over-1-mib"),
    pytest.param(raw("<html>"), "not_json", id="html"),
    pytest.param(raw(""), "not_json", id="empty"),
    pytest.param(raw('{"issuer":"a","issuer":"b"}'), "not_json", id="duplicate-member"),
    pytest.param(document([]), "not_an_object", id="list"),
    pytest.param(document(None), "not_an_object", id="null"),
    pytest.param(document({}), "of_another_issuer", id="no-issuer"),
    pytest.param(
        document({"issuer": "https://evil.example", "jwks_uri": "https://evil.example/jwks"}),
        "of_another_issuer",
        id="another-issuer",
    ),
]


@pytest.mark.parametrize(("answer", "error"), FAULTS)
async def test_faulty_metadata_gives_no_keys(
    issuer: IssuerServer, fetcher: Fetcher, answer: Answer, error: str
) -> None:
    issuer.answers[RFC8414] = issuer.answers[OIDC] = answer
    assert await refusal(fetcher, issuer.url) == f"metadata_{error}"
    assert issuer.asked == [RFC8414, OIDC]


@pytest.mark.parametrize(("answer", "error"), FAULTS)
async def test_what_is_wrong_with_rfc_8414_metadata_is_told_where_oidc_has_none(
    issuer: IssuerServer, fetcher: Fetcher, answer: Answer, error: str
) -> None:
    issuer.answers[RFC8414] = answer
    assert await refusal(fetcher, issuer.url) == f"metadata_{error}"


async def test_what_is_wrong_with_oidc_metadata_is_told_where_both_are_wrong(
    issuer: IssuerServer, fetcher: Fetcher
) -> None:
    issuer.answers[RFC8414], issuer.answers[OIDC] = document([]), raw("", 500)
    assert await refusal(fetcher, issuer.url) == "metadata_status_500"


@pytest.mark.parametrize(("answer", "_"), FAULTS)
async def test_after_faulty_rfc_8414_metadata_oidc_is_asked(
    issuer: IssuerServer, fetcher: Fetcher, answer: Answer, _: str
) -> None:
    issuer.answers[RFC8414] = answer
    issuer.answers[OIDC] = metadata(issuer)
    assert await discover(fetcher, issuer.url) == issuer.jwks_uri


@pytest.mark.parametrize(
    ("suffix", "named"),
    [
        pytest.param("", "/", id="slash-more"),
        pytest.param("/", "", id="slash-less"),
        pytest.param("/a", "/A", id="another-case"),
        pytest.param("/a", "/a?", id="query"),
    ],
)
async def test_issuer_in_the_metadata_must_be_identical(
    issuer: IssuerServer, fetcher: Fetcher, suffix: str, named: str
) -> None:
    inserted = suffix.rstrip("/")
    answer = metadata(issuer, issuer=issuer.url + named)
    issuer.answers[RFC8414 + inserted] = issuer.answers[inserted + OIDC] = answer
    assert await refusal(fetcher, issuer.url + suffix) == "metadata_of_another_issuer"


@pytest.mark.parametrize("jwks_uri", [None, 7, ["https://login.example.com/jwks"]])
async def test_metadata_must_say_where_the_keys_are(
    issuer: IssuerServer, fetcher: Fetcher, jwks_uri: Any
) -> None:
    issuer.answers[RFC8414] = issuer.answers[OIDC] = metadata(issuer, jwks_uri=jwks_uri)
    assert await refusal(fetcher, issuer.url) == "metadata_without_jwks_uri"


async def test_hanging_rfc_8414_metadata_leaves_time_for_oidc(
    issuer: IssuerServer, fetcher: Fetcher, clock: Clock
) -> None:
    gate = Gate(raw("{}"))
    issuer.answers[RFC8414] = gate
    issuer.answers[OIDC] = metadata(issuer)
    waiting = asyncio.create_task(discover(fetcher, issuer.url))
    await asyncio.wait_for(gate.arrived.wait(), PATIENCE_SECONDS)
    await clock.leap(2)
    assert await asyncio.wait_for(waiting, PATIENCE_SECONDS) == issuer.jwks_uri


@pytest.fixture
async def tls_issuer(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> AsyncIterator[IssuerServer]:
    """Serve https with a certificate that this process trusts."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "issuer")])
    loopback = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(loopback, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(Encoding.PEM)
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "issuer.pem").write_bytes(pem + secret)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(tmp_path / "issuer.pem")
    trusting = ssl.create_default_context(cadata=pem.decode())
    monkeypatch.setattr("aiohttp.connector._SSL_CONTEXT_VERIFIED", trusting)
    async with serving(tls) as server:
        yield server


async def test_https_metadata_may_name_keys_over_https(
    tls_issuer: IssuerServer, fetcher: Fetcher
) -> None:
    tls_issuer.answers[RFC8414] = metadata(tls_issuer)
    assert await discover(fetcher, tls_issuer.url) == tls_issuer.jwks_uri


@pytest.mark.parametrize("scheme", ["http", "HTTP"])
@pytest.mark.parametrize("iss_scheme", ["https", "HTTPS"])
async def test_https_metadata_must_not_name_keys_over_http(
    tls_issuer: IssuerServer, issuer: IssuerServer, fetcher: Fetcher, scheme: str, iss_scheme: str
) -> None:
    iss = tls_issuer.url.replace("https", iss_scheme)
    jwks_uri = issuer.jwks_uri.replace("http", scheme)  # on loopback, where http is allowed
    answer = metadata(tls_issuer, issuer=iss, jwks_uri=jwks_uri)
    tls_issuer.answers[RFC8414] = tls_issuer.answers[OIDC] = answer
    assert await refusal(fetcher, iss) == "metadata_keys_over_http"
    assert issuer.asked == []


async def test_issuer_whose_certificate_is_not_trusted_is_not_asked(
    tls_issuer: IssuerServer, monkeypatch: pytest.MonkeyPatch, fetcher: Fetcher
) -> None:
    monkeypatch.setattr("aiohttp.connector._SSL_CONTEXT_VERIFIED", ssl.create_default_context())
    assert await refusal(fetcher, tls_issuer.url) == "metadata_connection_failed"
    assert tls_issuer.asked == []
