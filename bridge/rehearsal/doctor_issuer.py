"""Facts about an issuer in, the doctor's checks of it out. Pure: `doctor` does the asking."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

from bridge.policy.operations import Policy
from bridge.rehearsal.doctor_check import (
    Check,
    Guarded,
    Outcome,
    guarded_operations,
    listed,
    shown,
)
from bridge.tokens.fetch import Document, FetchError
from bridge.tokens.jwk import VerificationKey
from bridge.tokens.keys import refresh_after
from bridge.tokens.metadata import metadata_urls, read_metadata, url_in
from bridge.tokens.settings import IssuerSettings

MAX_SKEW_SECONDS = 60
"""A clock that is further off is a failure, whatever the leeway (unless that is larger still)."""

_FAULTS = {
    "timeout": "no answer within the issuer's `timeout`: look at the network, or raise it",
    "connection_failed": "no connection, or its certificate is not trusted",
    "too_large": "over 1 MiB",
    "compressed": "compressed, although that was not asked for",
    "bad_answer": "no proper HTTP answer",
    "insecure_url": "http:// to another machine: use https, or set `allow_insecure_http`",
    "not_json": "not JSON",
    "not_an_object": "no JSON object",
    "of_another_issuer": "metadata of another issuer",
    "no_usable_key_set": "no JWK set with a key that can verify a token (RSA under 2048 bits and"
    " keys for encryption cannot)",
    "client_refused": "the bridge is not known by this client_id and secret (401 or 403)",
    "active_not_boolean": "no introspection response: `active` is neither true nor false",
    "time_not_a_number": "no introspection response: a time in it is not a number",
    "without_introspection_endpoint": "no `introspection_endpoint`: set `introspection.endpoint`",
    "introspection_over_http": "an endpoint over http, of an https issuer",
    "file_unreadable": "`jwks_file` is missing or may not be read",
}


class Exchange(NamedTuple):
    """One document that an issuer was asked for.

    Attributes:
        error: Why it could not be had, the code of a `FetchError`; None: it came.
        document: What came.
        asked_at: When it was asked for, epoch seconds by our clock.
        answered_at: When it was there.
    """

    url: str
    error: str | None
    document: Document | None
    asked_at: float
    answered_at: float


class IssuerFacts(NamedTuple):
    """What was seen of an issuer.

    Attributes:
        exchanges: Everything that it was asked for.
        keys: Usable keys, as the service would have them.
        keys_error: Why there are none, the code of a `FetchError`.
        introspection: What was said of a made-up token: `inactive`, `active`, or a code of why
            nothing was; None: the issuer is not asked about tokens.
    """

    exchanges: tuple[Exchange, ...] = ()
    keys: tuple[VerificationKey, ...] = ()
    keys_error: str | None = None
    introspection: str | None = None


class _Metadata(NamedTuple):
    """A metadata document of this very issuer."""

    url: str
    members: Mapping[str, Any]


def has_metadata(settings: IssuerSettings) -> bool:
    """Tell whether an issuer can be asked for metadata: not in a closed network, and by a URL."""
    is_url = settings.issuer.lower().startswith(("http:", "https:"))
    return is_url and (settings.jwks_file is None or _needs_metadata(settings))


def _needs_metadata(settings: IssuerSettings) -> bool:
    """Tell whether the service cannot do without: for keys, or to ask about tokens."""
    introspection = settings.introspection
    return _discovers_keys(settings) or (introspection is not None and not introspection.endpoint)


def _discovers_keys(settings: IssuerSettings) -> bool:
    return settings.takes_jwt and settings.jwks_uri is None and settings.jwks_file is None


def check_issuer(settings: IssuerSettings, policy: Policy, facts: IssuerFacts) -> list[Check]:
    """Judge an issuer.

    Args:
        policy: What its tokens are asked to satisfy.
    """
    guarded = guarded_operations(policy, settings.issuer)
    checks: list[Check] = []
    own: list[_Metadata] = []
    if has_metadata(settings):
        own = list(_own_metadata(settings, facts.exchanges))
        checks += _metadata(settings, facts.exchanges, own)
    else:
        reason = "keys come from a file" if settings.jwks_file else "its name is no URL"
        checks.append(Check("metadata", "skipped", f"not asked for: {reason}"))
    checks.append(_key_set(settings, facts))
    if facts.keys:
        checks.append(_keys(settings, facts.keys, own))
    checks += _freshness(settings, facts, own)
    checks += _acr_values(settings, guarded, own)
    checks += _auth_time(settings, guarded, own)
    if facts.introspection is not None:
        checks.append(_introspection(facts.introspection))
    return checks


def _own_metadata(settings: IssuerSettings, exchanges: Iterable[Exchange]) -> Iterator[_Metadata]:
    for exchange in _of_metadata(settings, exchanges):
        members = _members(exchange)
        if not isinstance(members, str) and members.get("issuer") == settings.issuer:
            yield _Metadata(exchange.url, members)


def _of_metadata(settings: IssuerSettings, exchanges: Iterable[Exchange]) -> list[Exchange]:
    latest = {exchange.url: exchange for exchange in exchanges}
    return [latest[url] for url in metadata_urls(settings.issuer) if url in latest]


def _members(exchange: Exchange) -> Mapping[str, Any] | str:
    """Give a metadata document's members, or the code of what is wrong with it."""
    if exchange.document is None:
        return exchange.error or "bad_answer"
    try:
        return read_metadata(exchange.document.body)
    except FetchError as error:
        return str(error)


def _metadata(
    settings: IssuerSettings, exchanges: Iterable[Exchange], own: list[_Metadata]
) -> Iterator[Check]:
    """Look whether there is metadata, of this issuer, that says where the keys are."""
    missing: Outcome = "failure" if _needs_metadata(settings) else "warning"
    faults, others = [], []
    for exchange in _of_metadata(settings, exchanges):
        members = _members(exchange)
        if isinstance(members, str):
            faults.append(f"{exchange.url}: {describe_fault(members)}")
        elif members.get("issuer") != settings.issuer:
            others.append(f"{exchange.url} says {shown(members.get('issuer'))}")
    if not own and not others:
        needed = "" if missing == "failure" else "; the service can do without"
        yield Check("metadata", missing, f"not found: {'; '.join(faults)}{needed}")
        return
    found = ", ".join(each.url for each in own) or "; ".join(others)
    yield Check("metadata", "ok", f"found at {found}")
    if not own:
        yield Check(
            "issuer",
            missing,
            f"not this issuer's: {'; '.join(others)}: `issuer` must be written exactly so",
        )
        return
    yield Check("issuer", "ok", "the metadata names exactly this issuer")
    if _discovers_keys(settings):
        yield _jwks_uri(settings, own)


def _jwks_uri(settings: IssuerSettings, own: list[_Metadata]) -> Check:
    uri, fault = _find_jwks_uri(settings, own)
    if uri is not None:
        return Check("jwks_uri", "ok", f"{shown(uri)} from the metadata")
    if fault == "keys_over_http":
        detail = "the metadata of an https issuer names keys over http: refused, mend the issuer"
    else:
        detail = "the metadata has no `jwks_uri`: set `jwks_uri` or `jwks_file`"
    return Check("jwks_uri", "failure", detail)


def _find_jwks_uri(settings: IssuerSettings, own: list[_Metadata]) -> tuple[str | None, str | None]:
    """Give where the keys are as the service finds it, or the code of why it does not."""
    fault = None
    if settings.jwks_uri is not None:
        return settings.jwks_uri, None
    for metadata in own:
        try:
            return url_in(metadata.members, settings.issuer, "jwks_uri"), None
        except FetchError as error:
            fault = str(error)
    return None, fault


def _key_set(settings: IssuerSettings, facts: IssuerFacts) -> Check:
    error = facts.keys_error
    if not settings.takes_jwt:
        return Check("key_set", "skipped", "`tokens` has no jwt")
    if error is None:
        source = f"read from {settings.jwks_file}" if settings.jwks_file else "fetched"
        return Check("key_set", "ok", source)
    if error.startswith(("metadata_", "no_metadata")):
        return Check("key_set", "skipped", "nothing says where it is")
    return Check("key_set", "failure", f"cannot be used: {describe_fault(error)}")


def _keys(
    settings: IssuerSettings, keys: tuple[VerificationKey, ...], own: list[_Metadata]
) -> Check:
    """Compare the keys with the configured algorithms (RFC 8725 §3.1)."""
    configured = frozenset(settings.algorithms)
    fitting = [
        f"{shown(key.kid)} for {listed(sorted(key.algorithms & configured))}"
        for key in keys
        if key.algorithms & configured
    ]
    useless = [
        f"{shown(key.kid)} for {listed(sorted(key.algorithms))}"
        for key in keys
        if not key.algorithms & configured
    ]
    remedy = f"tokens signed with it are refused: `algorithms` has {listed(settings.algorithms)}"
    if not fitting:
        return Check("keys", "failure", f"no key fits: {listed(useless)}; {remedy}")
    detail = f"{len(fitting)} usable: {listed(fitting)}"
    if useless:
        return Check("keys", "warning", f"{detail}; not used: {listed(useless)}; {remedy}")
    hinted = _strings(own, "id_token_signing_alg_values_supported") or []
    if hinted and configured.isdisjoint(hinted):
        hint = f"the metadata says that ID tokens are signed with {listed(hinted)}"
        return Check("keys", "warning", f"{detail}; but {hint}: see which alg access tokens have")
    return Check("keys", "ok", detail)


def _freshness(
    settings: IssuerSettings, facts: IssuerFacts, own: list[_Metadata]
) -> Iterator[Check]:
    """Look at what answers say of time: how long keys last, how the clock goes."""
    uri, _ = _find_jwks_uri(settings, own)
    key_set = next((e.document for e in facts.exchanges if e.url == uri), None)
    if facts.keys and key_set is not None:
        yield _lifetime(key_set.cache_control)
    skews = [skew for each in facts.exchanges if (skew := clock_skew(each)) is not None]
    if skews:  # a cache on the way can only make one look older
        yield _clock(settings, min(skews, key=abs))
    elif facts.exchanges:
        yield Check("clock", "skipped", "no answer with a Date")


def _lifetime(cache_control: str) -> Check:
    seconds = refresh_after(cache_control)
    detail = f"each worker fetches the keys again every {seconds:.0f} s"
    if seconds <= refresh_after("no-store"):
        detail += f", the most often, as {shown(cache_control)} asks: let the issuer allow more"
        return Check("key_lifetime", "warning", detail)
    if seconds >= refresh_after("max-age=999999"):
        detail += ", the least often: a key that the issuer removes is trusted for as long"
        return Check("key_lifetime", "warning", detail)
    return Check("key_lifetime", "ok", detail)


def clock_skew(exchange: Exchange) -> float | None:
    """Tell how far the issuer's clock is ahead of ours, at least, in seconds; None: unknown.

    A Date is cut to a whole second and was written at some time between question and answer; what
    that can explain is no skew. A cached answer is older by its Age (RFC 9111 §5.1).
    """
    document = exchange.document
    if document is None:
        return None
    try:
        written = parsedate_to_datetime(document.date)
    except (ValueError, TypeError, OverflowError):
        return None
    if written.tzinfo is None:
        return None
    date = written.timestamp()
    date += int(document.age) if document.age.isdecimal() and len(document.age) < 10 else 0  # noqa: PLR2004
    ahead, behind = date - exchange.answered_at, date + 1 - exchange.asked_at
    return ahead if ahead > 0 else min(behind, 0.0)


def _clock(settings: IssuerSettings, skew: float) -> Check:
    off = abs(skew)
    side = "ahead of" if skew > 0 else "behind"
    if off <= settings.leeway:
        return Check("clock", "ok", f"within the leeway of {settings.leeway} s")
    detail = f"the issuer is {off:.0f} s {side} this machine, the leeway is {settings.leeway} s:"
    detail += " set both clocks by NTP"
    if off > max(MAX_SKEW_SECONDS, settings.leeway):
        return Check("clock", "failure", detail)
    return Check("clock", "warning", detail)


def _acr_values(
    settings: IssuerSettings, guarded: list[Guarded], own: list[_Metadata]
) -> Iterator[Check]:
    """Compare what the policy demands with what the issuer has: the rest is a login loop.

    Spec: OpenID Connect Discovery §3 (acr_values_supported), RFC 9470 §7.
    """
    demanding = [each for each in guarded if each.operation.requirement.acr_values]
    demanded = dict.fromkeys(
        value for each in demanding for value in each.operation.requirement.acr_values
    )
    if not demanded:
        yield Check("acr_values", "skipped", "no operation demands any")
        return
    supported = _strings(own, "acr_values_supported")
    asked_for = listed(settings.acr_names.to_issuer(demanded))
    if supported is None:
        outcome: Outcome = "warning" if own else "skipped"
        lack = "the metadata has no `acr_values_supported`" if own else "there is no metadata"
        yield Check("acr_values", outcome, f"{lack}: make sure that the issuer knows {asked_for}")
        return
    unknown = [
        value
        for value in demanded
        if set(supported).isdisjoint(settings.acr_names.to_issuer([value]))
    ]
    looping = [
        each.name
        for each in demanding
        if set(each.operation.requirement.acr_values).issubset(unknown)
    ]
    if not unknown:
        yield Check("acr_values", "ok", f"the issuer advertises {asked_for}")
        return
    missing = listed(settings.acr_names.to_issuer(unknown))
    has = f"the issuer advertises {listed(supported)}, not {missing}"
    remedy = "configure them there, or translate with `acr_map`"
    if looping:
        detail = f"{has}: clients of {listed(looping)} would log in again and again; {remedy}"
        yield Check("acr_values", "failure", detail)
    else:
        yield Check("acr_values", "warning", f"{has}; each operation has another; {remedy}")


def _auth_time(
    settings: IssuerSettings, guarded: list[Guarded], own: list[_Metadata]
) -> Iterator[Check]:
    """Look whether the issuer knows the claim that max_age is measured by."""
    if not any(each.operation.requirement.max_age is not None for each in guarded):
        yield Check("auth_time", "skipped", "no operation demands a max_age")
        return
    claims = _strings(own, "claims_supported")
    names = [path[0] for path in settings.claims.auth_time]
    if claims is None:
        yield Check("auth_time", "skipped", "no metadata with `claims_supported`")
    elif set(names).isdisjoint(claims):
        detail = f"`claims_supported` lacks {listed(names)}, and operations demand a max_age:"
        detail += " make sure that access tokens have it, or no token is ever fresh"
        yield Check("auth_time", "warning", detail)
    else:
        yield Check("auth_time", "ok", "advertised; whether access tokens have it, a token tells")


def _introspection(said: str) -> Check:
    """Judge what was said of a token that nobody has (RFC 7662 §2.2)."""
    if said == "inactive":
        return Check("introspection", "ok", "answers, and says that a made-up token is not active")
    if said == "active":
        detail = "says that a made-up token is active: anybody would be let in; mend the issuer"
        return Check("introspection", "failure", detail)
    return Check("introspection", "failure", f"no proper answer: {describe_fault(said)}")


def _strings(own: list[_Metadata], member: str) -> list[str] | None:
    """Give the first list of strings that this member is."""
    for metadata in own:
        match metadata.members.get(member):
            case list() as values if all(isinstance(value, str) for value in values):
                return values
    return None


def describe_fault(code: str) -> str:
    """Say in words what the code of a `FetchError` means."""
    if code.startswith("metadata_"):
        return f"metadata: {describe_fault(code.removeprefix('metadata_'))}"
    if code.startswith("status_"):
        return f"answered with status {code.removeprefix('status_')} instead of 200"
    return _FAULTS.get(code, code)
