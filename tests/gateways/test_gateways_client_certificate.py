"""`x-forwarded-client-cert`: only what Envoy itself wrote, only if it is in one piece."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.gateways.client_certificate import MALFORMED, read_xfcc

HASH, OTHER = "0a" * 32, "ff" * 32
BY = "By=spiffe://cluster/ns/gateway"


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(f"Hash={HASH}", id="hash-alone"),
        pytest.param(f"{BY};Hash={HASH}", id="by-and-hash"),
        pytest.param(f"{BY};Hash={HASH.upper()}", id="upper-case"),
        pytest.param(f"hash={HASH};by=", id="names-in-any-case"),
        pytest.param(
            f'{BY};Hash={HASH};Cert="-----BEGIN%20CERTIFICATE-----%0A";Subject="CN=a,O=\\"b;c\\"";'
            "URI=spiffe://client?x=1;DNS=a.example;DNS=b.example",
            id="everything-that-envoy-writes",
        ),
        pytest.param(f"Hash={OTHER},{BY};Hash={HASH}", id="last-element"),
        pytest.param(f"Hash={OTHER}, {BY};Hash={HASH}", id="last-element-after-a-space"),
        pytest.param(f'Subject="a,Hash={OTHER}";Hash={HASH}', id="comma-in-quotes"),
        pytest.param(f'Subject="a;Hash={OTHER}";Hash={HASH}', id="pair-in-quotes"),
        pytest.param(f'Subject="\\";Hash={OTHER}\\"";Hash={HASH}', id="escaped-quotes"),
        pytest.param(f"By=,Hash={HASH}", id="element-without-a-hash-before-it"),
    ],
)
def test_hash_of_the_last_element_is_read(value: str) -> None:
    assert read_xfcc([value]) == HASH


def test_no_header_is_no_certificate() -> None:
    assert read_xfcc([]) is None


@pytest.mark.parametrize(
    "values",
    [
        pytest.param([""], id="empty"),
        pytest.param([f"Hash={HASH}", f"Hash={HASH}"], id="two-lines"),
        pytest.param([f"Hash={HASH};Hash={OTHER}"], id="two-hashes"),
        pytest.param([f"Hash={HASH};hash={HASH}"], id="two-equal-hashes"),
        pytest.param([f"Hash={HASH},"], id="nothing-after-the-comma"),
        pytest.param([f",Hash={HASH}"], id="nothing-before-the-comma"),
        pytest.param([f"Hash={HASH},{BY}"], id="no-hash-in-the-last-element"),
        pytest.param([f"Hash={HASH[:-1]}"], id="hash-short"),
        pytest.param([f"Hash={HASH}0"], id="hash-long"),
        pytest.param([f"Hash={'g' * 64}"], id="hash-not-hexadecimal"),
        pytest.param([f'Hash="{HASH}"'], id="hash-in-quotes"),
        pytest.param([f"Hash={HASH} "], id="space-after-the-hash"),
        pytest.param(["Hash="], id="hash-empty"),
        pytest.param([HASH], id="no-pair"),
        pytest.param([f'Subject="a;Hash={HASH}'], id="quote-left-open"),
        pytest.param([f'Subject=a"b;Hash={HASH}'], id="quote-within-a-value"),
        pytest.param([f'Subject="a"b;Hash={HASH}'], id="text-after-a-quoted-value"),
        pytest.param([f"Hash={HASH};"], id="nothing-after-the-semicolon"),
        pytest.param([f";Hash={HASH}"], id="nothing-before-the-semicolon"),
        pytest.param([f"x,Hash={HASH}"], id="element-before-it-is-none"),
    ],
)
def test_doubtful_header_is_malformed(values: list[str]) -> None:
    assert read_xfcc(values) == MALFORMED


@given(st.lists(st.text(alphabet='HashBy=,;"\\0af ', max_size=200), max_size=2))
def test_any_text_is_a_digest_or_none(values: list[str]) -> None:
    found = read_xfcc(values)
    assert found is None or found == MALFORMED or len(found) == 64


@given(st.text(max_size=60), st.booleans())
def test_client_cannot_choose_by_what_stands_before(text: str, quoted: bool) -> None:
    """What Envoy appends after a client's text is read, or nothing is."""
    before = f'Subject="{text}"' if quoted else text
    assert read_xfcc([f"{before},{BY};Hash={HASH}"]) in (HASH, MALFORMED)
