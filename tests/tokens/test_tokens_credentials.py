"""The `Authorization` values: one credential, none, or a malformed request (spec §5)."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.errors import RequestError
from bridge.tokens.credentials import (
    MAX_TOKEN_BYTES,
    Credentials,
    presented_scheme,
    read_credentials,
)


@pytest.mark.parametrize(
    "values",
    [
        pytest.param([], id="no-value"),
        pytest.param([""], id="empty"),
        pytest.param([" \t "], id="blank"),
        pytest.param(["Basic YWxpY2U6c2VjcmV0"], id="basic"),
        pytest.param(["Negotiate"], id="another-scheme-alone"),
        pytest.param(["BearerToken abc"], id="scheme-that-begins-like-ours"),
        pytest.param(["XBearer abc"], id="scheme-that-ends-like-ours"),
        pytest.param(["eyJhbGciOiJSUzI1NiJ9.e30.c2ln"], id="a-token-without-a-scheme"),
        pytest.param(["Bearer=abc"], id="equals-sign-for-the-space"),
        pytest.param(["Token Bearer abc"], id="ours-as-the-parameter"),
    ],
)
def test_what_holds_no_token_for_us_counts_as_no_credentials(values: list[str]) -> None:
    assert read_credentials(values) is None


@pytest.mark.parametrize(
    "values",
    [
        pytest.param(["Bearer a", "Bearer b"], id="two"),
        pytest.param(["Bearer a", "Bearer a"], id="two-that-are-equal"),
        pytest.param(["Basic YQ==", "Bearer a"], id="of-two-schemes"),
        pytest.param(["", "Bearer a"], id="an-empty-one-and-another"),
        pytest.param(["", ""], id="two-empty-ones"),
        pytest.param(["Bearer a", "Bearer b", "Bearer c"], id="three"),
        pytest.param(["Bearer a,Bearer b"], id="joined"),
        pytest.param(["Bearer a, Bearer b"], id="joined-with-a-space"),
        pytest.param(["Bearer a,"], id="comma-last"),
        pytest.param([",Bearer a"], id="comma-first"),
        pytest.param([","], id="comma-alone"),
        pytest.param(["Basic a, Bearer b"], id="comma-in-another-scheme"),
        pytest.param(['Digest username="a", realm="b"'], id="comma-in-a-scheme-that-has-some"),
        pytest.param(["DPoP a,b"], id="comma-in-dpop"),
    ],
)
def test_two_values_or_a_comma_are_malformed_in_any_scheme(values: list[str]) -> None:
    with pytest.raises(RequestError) as malformed:
        read_credentials(values)
    assert malformed.value.reason == "authorization_repeated"
    assert malformed.value.description == "The request must have exactly one Authorization value"


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("Bearer", id="scheme-alone"),
        pytest.param("Bearer   ", id="scheme-and-spaces"),
        pytest.param("bearer", id="scheme-alone-in-lower-case"),
        pytest.param("Bearer a b", id="two-tokens"),
        pytest.param("Bearer a\tb", id="tab-inside"),
        pytest.param("Bearer \ta", id="tab-before"),
        pytest.param("Bearer a\nb", id="line-break"),
        pytest.param("Bearer a\x00", id="nul"),
        pytest.param("Bearer =", id="padding-alone"),
        pytest.param("Bearer a=b", id="padding-inside"),
        pytest.param("Bearer a;b", id="semicolon"),
        pytest.param('Bearer "a"', id="quoted"),
        pytest.param("Bearer token=a", id="parameter"),
        pytest.param("Bearer a%2e", id="percent"),
        pytest.param("Bearer é", id="non-ascii"),
        pytest.param("Bearer a\udcff", id="raw-byte"),
        pytest.param("Bearer \u0661", id="arabic-digit"),
        pytest.param("Bearer " + "a" * (16 * 1024 + 1), id="one-above-16-kib"),
        pytest.param("Bearer " + "a" * (16 * 1024) + "=", id="one-above-with-padding"),
    ],
)
def test_bearer_value_that_is_no_b64token_is_malformed(value: str) -> None:
    with pytest.raises(RequestError) as malformed:
        read_credentials([value])
    assert malformed.value.reason == "bearer_token_malformed"
    assert malformed.value.description == "The Bearer token is malformed"


@pytest.mark.parametrize(
    ("value", "credentials"),
    [
        pytest.param("Bearer abc", Credentials("bearer", "abc"), id="bearer"),
        pytest.param("bEARER abc", Credentials("bearer", "abc"), id="scheme-in-any-case"),
        pytest.param(" Bearer   abc\t", Credentials("bearer", "abc"), id="spaces-around"),
        pytest.param("Bearer aZ09-._~+/==", Credentials("bearer", "aZ09-._~+/=="), id="b64token"),
        pytest.param("Bearer a.b.c.d", Credentials("bearer", "a.b.c.d"), id="opaque"),
        pytest.param(
            "Bearer " + "a" * (16 * 1024 - 1),
            Credentials("bearer", "a" * (16 * 1024 - 1)),
            id="one-below-16-kib",
        ),
        pytest.param(
            "Bearer " + "a" * (16 * 1024), Credentials("bearer", "a" * (16 * 1024)), id="at-16-kib"
        ),
        pytest.param("DPoP abc", Credentials("dpop", "abc"), id="dpop"),
        pytest.param("dpop abc", Credentials("dpop", "abc"), id="dpop-in-any-case"),
    ],
)
def test_credentials_are_the_scheme_and_the_token(value: str, credentials: Credentials) -> None:
    assert MAX_TOKEN_BYTES == 16 * 1024
    assert read_credentials([value]) == credentials


def test_credentials_do_not_show_their_token() -> None:
    credentials = Credentials("bearer", "s3cr3t")
    assert "s3cr3t" not in repr(credentials)
    assert "s3cr3t" not in f"{credentials} {[credentials]}"


_values = st.one_of(
    st.text(),
    st.binary().map(lambda raw: raw.decode("utf-8", "surrogateescape")),
    st.tuples(st.sampled_from(["Bearer", "DPoP", "Basic", ""]), st.text()).map(" ".join),
)


@given(st.lists(_values, max_size=3))
@settings(deadline=None)
def test_any_values_are_read_or_malformed(values: list[str]) -> None:
    try:
        credentials = read_credentials(values)
    except RequestError:
        return
    assert len(values) <= 1
    if credentials is not None:
        assert credentials.token in values[0]
        assert credentials.scheme != "bearer" or credentials.token.isascii()


@pytest.mark.parametrize(
    "value", ["DPoP", "DPoP ", "dpop a b", "DPoP \u00e9", "DPoP =", 'DPoP a"b']
)
def test_malformed_dpop_token_is_refused(value: str) -> None:
    with pytest.raises(RequestError) as fault:
        read_credentials([value])
    assert fault.value.reason == "dpop_token_malformed"


@pytest.mark.parametrize(
    ("values", "scheme"),
    [
        pytest.param([], None, id="none"),
        pytest.param([""], None, id="empty"),
        pytest.param(["Basic abc"], None, id="another"),
        pytest.param(["Bearer a", "DPoP b"], None, id="two-lines"),
        pytest.param(["DPoP a,Bearer b"], None, id="two-in-one-line"),
        pytest.param(["DPoP"], "dpop", id="dpop-without-a-token"),
        pytest.param([" dpop \u00e9"], "dpop", id="dpop-malformed"),
        pytest.param(["BEARER a b"], "bearer", id="bearer-malformed"),
    ],
)
def test_scheme_of_malformed_credentials_is_told_where_it_is_plain(
    values: list[str], scheme: str | None
) -> None:
    assert presented_scheme(values) == scheme
