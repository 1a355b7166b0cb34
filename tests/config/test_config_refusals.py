# ruff: noqa: E501 - tables, one refusal a line
"""Everything that is refused at load, with the message that the operator sees."""

from __future__ import annotations

from pathlib import Path

import pytest
from config_files import VALID, problems_of, replaced, with_line

from bridge.config.values import header_name
from bridge.decision.decide import decide_on_token
from bridge.errors import IssuerError, ProofError
from bridge.gateways import nginx
from bridge.gateways.check_request import CheckRequest
from bridge.policy.operations import Api
from bridge.service.reply import in_bytes
from bridge.tokens.identity import IdentityHeaders

HTTPS = "must be https:// (http:// only to loopback, or with allow_insecure_http: true)"
CHALLENGE = (
    "must be printable ASCII without space, quote or backslash"
    " (anything else cannot stand in a challenge)"
)
DURATION = "must be a whole number of seconds or a duration such as 5m"
ADDRESS = "must be host:port, [ipv6]:port or unix:/path, such as 127.0.0.1:9191; port 0 to 65535"
NAME = "must be 1 to 64 letters, digits, - or _ (it names metrics and log lines)"
HOST = "must be a host name such as api.example.com or *.example.com"
BASE_PATH = (
    "must be plain segments such as /payments/v1 (no wildcard, {name}, percent-encoding, ; or //)"
)
URL = "must be an absolute URL such as https://login.example.com/keys"
CLAIM = "must be a claim's name, or a list of alternatives: names, or lists of names"
NO_ORIGIN = "needs external_origin or resource: the htu of DPoP proofs is compared with it"
REDIS_URL = "must be a URL such as redis://redis.internal:6379/0, rediss://… or unix:///path"
REDIS_QUERY = "must have no query and no fragment: the bridge sets the options itself"
REDIS_PASSWORD = "must not hold a user name or password: use redis_url_file or _env"
VARIABLE = "must be the name of an environment variable, such as CLIENT_SECRET"
STATUS = "must be 503 or a client error from 400 to 499, but not 401 and 407"
ALGORITHMS = "RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA"
EMPTY = "must not be empty"


def refuse(place: str, line: str, *expected: str, name: str) -> object:
    """Give a case: a line added at a marked place, and what is said about it."""
    return pytest.param(with_line(place, line), list(expected), id=name)


def change(old: str, new: str, *expected: str, name: str) -> object:
    """Give a case: a part replaced, and what is said about it."""
    return pytest.param(replaced(old, new), list(expected), id=name)


FILE = [
    refuse("file", "version: 2", "1: version: must be 1, the only version of this format", name="version-2"),
    refuse("file", "version: '1'", "1: version: must be 1, the only version of this format", name="version-text"),
    refuse("file", "version: true", "1: version: must be 1, the only version of this format", name="version-true"),
    refuse("file", "workers: 0", "1: workers: must be a whole number from 1 to 256", name="workers-0"),
    refuse("file", "workers: 257", "1: workers: must be a whole number from 1 to 256", name="workers-257"),
    refuse("file", "workers: 2.0", "1: workers: must be a whole number from 1 to 256", name="workers-float"),
    refuse("file", "workers: 99999999999999999999999", "1: workers: must be a whole number from 1 to 256", name="workers-huge"),
    refuse("file", "workers: .nan", "1: workers: must be a whole number from 1 to 256", name="workers-nan"),
    refuse("file", "drain_timeout: -1", f"1: drain_timeout: {DURATION}", name="drain-negative"),
    refuse("file", "drain_timeout: 3601", "1: drain_timeout: must be a duration from 0s to 1h", name="drain-too-long"),
    refuse("file", "unavailable_status: 200", f"1: unavailable_status: {STATUS}", name="status-200"),
    refuse("file", "unavailable_status: 399", f"1: unavailable_status: {STATUS}", name="status-399"),
    refuse("file", "unavailable_status: 500", f"1: unavailable_status: {STATUS}", name="status-500"),
    refuse("file", "unavailable_status: '503'", f"1: unavailable_status: {STATUS}", name="status-text"),
    refuse("file", "unavailable_status: 401", "1: unavailable_status: must not be 401: while the issuer is down, clients would log in forever", name="status-401"),
    refuse("file", "unavailable_status: 407", "1: unavailable_status: must not be 407: clients would take the bridge for their proxy", name="status-407"),
    refuse("file", "unmatched_host: maybe", "1: unmatched_host: must be deny or allow", name="unmatched-host"),
    refuse("file", "token_cache: {max_entries: 0}", "1: token_cache.max_entries: must be a whole number from 1 to 10000000", name="cache-entries-0"),
    refuse("file", "token_cache: {ttl: 0}", "1: token_cache.ttl: must be a duration from 1s to 24h", name="cache-ttl-0"),
    refuse("file", "loop_guard: {action: deny}", "1: loop_guard.action: must be report or forbid", name="guard-action"),
    refuse("file", "loop_guard: {limit: 1}", "1: loop_guard.limit: must be a whole number from 2 to 100", name="guard-limit-1"),
    refuse("file", "loop_guard: {window: 0}", "1: loop_guard.window: must be a duration from 1s to 24h", name="guard-window-0"),
    refuse("file", "loop_guard: {shared: true}", "1: loop_guard.shared: must be false, or dpop.replay have a Redis", name="guard-shared-nowhere"),
    refuse("file", "loop_guard: {max_entries: 0}", "1: loop_guard.max_entries: must be a whole number from 1 to 1000000", name="guard-entries-0"),
    refuse("file", "client_certificate: forwarded", "1: client_certificate: must be none or x-forwarded-client-cert", name="client-certificate"),
    refuse("file", "dpop: {algorithms: [HS256]}", "1: dpop.algorithms[0]: must not be a shared-secret algorithm: whoever verifies could forge", name="dpop-hmac"),
    refuse("file", "dpop: {algorithms: []}", f"1: dpop.algorithms: {EMPTY}", name="dpop-no-algorithm"),
    refuse("file", "dpop: {iat_window: 0}", "1: dpop.iat_window: must be a duration from 1s to 10m", name="dpop-window-0"),
    refuse("file", "dpop: {leeway: 61}", "1: dpop.leeway: must be a duration from 0s to 1m", name="dpop-leeway"),
    refuse("file", "dpop: {nonce: true}", "1: dpop.nonce: must be off or required", name="dpop-nonce"),
    refuse("file", "dpop: {nonce_secret_file: missing}", "1: dpop.nonce_secret_file: names a file that cannot be read: No such file or directory", name="dpop-nonce-secret-missing"),
    refuse("file", "dpop: {nonce_secret_file: .}", "1: dpop.nonce_secret_file: names a file that cannot be read: Is a directory", name="dpop-nonce-secret-directory"),
    refuse("file", "dpop: {nonce_secret_file: bridge.yaml, nonce_secret_env: A-B}", f"1: dpop.nonce_secret_env: {VARIABLE}", "1: dpop.nonce_secret_env: must not stand beside nonce_secret_file", "1: dpop.nonce_secret_env: names an environment variable that is not set", name="dpop-two-nonce-secrets"),
    refuse("file", "dpop: {replay: {redis_url: redis://:secret@a}}", f"1: dpop.replay.redis_url: {REDIS_PASSWORD}", name="redis-password"),
    *(refuse("file", f"dpop: {{replay: {{redis_url: '{url}'}}}}", f"1: dpop.replay.redis_url: {REDIS_QUERY}", name=f"redis-{url}") for url in ("redis://a?password=b", "redis://a/0?db=abc", "unix:///a?retry_on_timeout=yes", "redis://a?", "redis://a#0")),
    *(refuse("file", f"dpop: {{replay: {{redis_url: '{url}'}}}}", f"1: dpop.replay.redis_url: {REDIS_URL}", name=f"redis-{url}") for url in ("http://a", "redis://", "unix://", "redis://a:0", "redis://a:x", "redis://a/b", "redis://a/0/1", "unix://a/b", "a b")),
    refuse("file", "dpop: {replay: {redis_url_env: NOT_THERE}}", "1: dpop.replay.redis_url_env: names an environment variable that is not set", name="redis-variable-missing"),
    refuse("file", "dpop: {replay: {redis_url_file: bridge.yaml}}", f"1: dpop.replay.redis_url_file: {REDIS_URL}", name="redis-file-holds-none"),
    refuse("file", "dpop: {replay: {redis_url: redis://a, redis_url_env: PATH}}", f"1: dpop.replay.redis_url_env: {REDIS_URL}", "1: dpop.replay.redis_url_env: must not stand beside redis_url", name="two-redis"),
    refuse("file", "dpop: {replay: {on_error: ignore}}", "1: dpop.replay.on_error: must be refuse or allow", name="redis-on-error"),
    refuse("file", "dpop: {replay: {timeout: 0}}", "1: dpop.replay.timeout: must be a duration from 1s to 1m", name="redis-timeout"),
    refuse("file", "dpop: {replay: {max_entries: 0}}", "1: dpop.replay.max_entries: must be a whole number from 1 to 10000000", name="replay-entries-0"),
    refuse("file", "log: {level: verbose}", "1: log.level: must be debug, info, warning or error", name="log-level"),
    refuse("file", "log: {format: xml}", "1: log.format: must be json or console", name="log-format"),
    pytest.param(VALID[VALID.index("assurance"):].replace("# api", "issuers: [https://a.example]"), ["1: issuers: is missing"], id="issuers-missing"),
    pytest.param(VALID[:VALID.index("apis")], ["2: apis: is missing"], id="apis-missing"),
    refuse("file", "log: json", "1: log: must be a mapping of keys to values", name="log-text"),
    refuse("file", "doors: nginx", "1: doors: must be a list", name="doors-no-list"),
    refuse("file", "doors: [envoy]", "1: doors[0]: must be forward_auth or nginx", name="door-unknown"),
    refuse("file", "doors: []", "1: doors: must not be empty", name="doors-empty"),
    refuse("file", "doors: [nginx, nginx]", "1: doors: must not name anything twice (items 0 and 1)", name="door-twice"),
    refuse("file", "worker: 2", "1: worker: is not a known key; did you mean workers?", name="unknown-key-near"),
    refuse("file", "log: {colour: red}", "1: log.colour: is not a known key here; known are level, format", name="unknown-key-far"),
    refuse("file", '"a\\nb": 1', '1: "a\\nb": is not a known key here; known are version, listen, doors, workers, drain_timeout, unavailable_status, issuers, assurance_levels, apis, unmatched_host, upstream_headers, dpop, client_certificate, token_cache, loop_guard, log', name="unknown-key-two-lines"),
    change("assurance_levels: [pwd, mfa, phr]", "assurance_levels: []", f"6: assurance_levels: {EMPTY}", name="levels-empty"),
    change("assurance_levels: [pwd, mfa, phr]", "assurance_levels: [pwd, 'two factors']", f"6: assurance_levels[1]: {CHALLENGE}", name="levels-space"),
    change("assurance_levels: [pwd, mfa, phr]", "assurance_levels: [pwd, mfa, pwd]", "6: assurance_levels: must not name anything twice (items 0 and 2)", name="levels-twice"),
]  # fmt: skip

LISTEN = [
    refuse("file", "listen: {authz: 9191}", "1: listen.authz: must be text: put it in quotes", name="port-only"),
    refuse("file", "listen: {authz: localhost}", f"1: listen.authz: {ADDRESS}", name="no-port"),
    refuse("file", "listen: {authz: 'localhost:65536'}", f"1: listen.authz: {ADDRESS}", name="port-65536"),
    refuse("file", "listen: {authz: ':9191'}", "1: listen.authz: must name a host before the port, such as 127.0.0.1 or 0.0.0.0 or [::1]", name="no-host"),
    refuse("file", "listen: {authz: '::1:9191'}", "1: listen.authz: must name a host before the port, such as 127.0.0.1 or 0.0.0.0 or [::1]", name="ipv6-without-brackets"),
    refuse("file", "listen: {authz: '127.0.1:9191'}", "1: listen.authz: must have a whole IPv4 address or a host name before the port", name="short-ipv4"),
    refuse("file", "listen: {authz: 'unix:'}", "1: listen.authz: must name a socket, such as unix:/run/bridge/authz.sock", name="unix-without-path"),
    refuse("file", "listen: {authz: 'unix://run/a.sock'}", "1: listen.authz: must be unix:/path, with one slash", name="unix-two-slashes"),
    refuse("file", f"listen: {{authz: 'unix:/{'a' * 107}'}}", "1: listen.authz: must be a socket path of at most 107 bytes", name="unix-too-long"),
    refuse("file", "listen: {admin: '127.0.0.1:9191'}", "1: listen.admin: must not share an address: authz is 127.0.0.1:9191, admin is 127.0.0.1:9191", name="admin-is-authz-default"),
    refuse("file", "listen: {authz: '127.0.0.1:9192'}", "1: listen.authz: must not share an address: authz is 127.0.0.1:9192, admin is 127.0.0.1:9192", name="authz-is-admin-default"),
    refuse("file", "listen: {authz: '0.0.0.0:9192'}", "1: listen.authz: must not share an address: authz is 0.0.0.0:9192, admin is 127.0.0.1:9192", name="authz-covers-admin"),
    refuse("file", "listen: {authz: 'unix:/a', admin: 'unix:/a'}", "1: listen.admin: must not share an address: authz is unix:/a, admin is unix:/a", name="one-socket"),
]  # fmt: skip

HEADERS = [
    refuse("file", "upstream_headers: {Host: sub}", "1: upstream_headers.Host: must not be a header that the request itself depends on", name="host"),
    refuse("file", "upstream_headers: {authorization: sub}", "1: upstream_headers.authorization: must not be a header that the request itself depends on", name="authorization"),
    refuse("file", "upstream_headers: {cookie: sub}", "1: upstream_headers.cookie: must not be a header that the request itself depends on", name="cookie"),
    refuse("file", "upstream_headers: {content-length: sub}", "1: upstream_headers.content-length: must not be a header that the request itself depends on", name="content-length"),
    refuse("file", "upstream_headers: {Transfer-Encoding: sub}", "1: upstream_headers.Transfer-Encoding: must not be a hop-by-hop header", name="hop-by-hop"),
    refuse("file", "upstream_headers: {':path': sub}", '1: upstream_headers.":path": must not be a pseudo header', name="pseudo"),
    refuse("file", "upstream_headers: {x-stepup-would-deny: sub}", "1: upstream_headers.x-stepup-would-deny: must not be a header that the bridge or a gateway uses for itself", name="would-deny"),
    refuse("file", "upstream_headers: {x-envoy-auth-headers-to-remove: sub}", "1: upstream_headers.x-envoy-auth-headers-to-remove: must not be a header that the bridge or a gateway uses for itself", name="envoy"),
    *(refuse("file", f"upstream_headers: {{{name}: sub}}", f"1: upstream_headers.{name}: must not be a header that the bridge or a gateway uses for itself", name=name) for name in ("Date", "server", "set-cookie", "X-Accel-Redirect")),
    refuse("file", "upstream_headers: {x_user: sub}", "1: upstream_headers.x_user: must not contain _ (upstreams that read - and _ alike could be fooled)", name="underscore"),
    refuse("file", "upstream_headers: {'x user': sub}", '1: upstream_headers."x user": must be a header name such as x-user', name="space"),
    refuse("file", "upstream_headers: {x-user: sub, X-User: acr}", "1: upstream_headers.X-User: is the same header as on line 1", name="two-spellings"),
    refuse("file", "upstream_headers: {x-user: ''}", f"1: upstream_headers.x-user: {EMPTY}", name="claim-empty"),
    refuse("file", "upstream_headers: [x-user]", "1: upstream_headers: must be a mapping of keys to values", name="list"),
]  # fmt: skip

ISSUERS = [
    change("issuer: https://login.example.com", "issuer: http://login.example.com", f"3: issuers[0].issuer: {HTTPS}", name="http"),
    change("issuer: https://login.example.com", "issuer: http://127.1", f"3: issuers[0].issuer: {HTTPS}", name="http-short-ipv4"),
    change("issuer: https://login.example.com", "issuer: http://localhost.example.com", f"3: issuers[0].issuer: {HTTPS}", name="http-almost-loopback"),
    change("issuer: https://login.example.com", "issuer: bank", f"3: issuers[0].issuer: {URL}, or have a jwks_uri or jwks_file", name="no-url"),
    change("issuer: https://login.example.com", "issuer: https://login.example.com?a", "3: issuers[0].issuer: must not have a query (RFC 8414 §2), or have a jwks_uri or jwks_file", name="query"),
    change("issuer: https://login.example.com", "issuer: ''", f"3: issuers[0].issuer: {EMPTY}", name="empty"),
    change("  - issuer: https://login.example.com\n    audiences", "  - audiences", "3: issuers[0].issuer: is missing", name="missing"),
    change("    audiences: [https://api.example.com]\n", "", "3: issuers[0].audiences: is missing", name="audiences-missing"),
    change("audiences: [https://api.example.com]", "audiences: []", f"4: issuers[0].audiences: {EMPTY}", name="audiences-empty"),
    change("audiences: [https://api.example.com]", "audiences: https://api.example.com", "4: issuers[0].audiences: must be a list", name="audiences-text"),
    change("audiences: [https://api.example.com]", 'audiences: [""]', f"4: issuers[0].audiences[0]: {EMPTY}", name="audience-empty"),
    change("audiences: [https://api.example.com]", r'audiences: ["a\tb"]', "4: issuers[0].audiences[0]: must not contain control or invisible characters", name="audience-control"),
    refuse("issuer", "jwks_uri: http://login.example.com/keys", f"5: issuers[0].jwks_uri: {HTTPS}", name="jwks-uri-http"),
    refuse("issuer", "jwks_uri: http://localhost:0/keys", f"5: issuers[0].jwks_uri: {URL}", name="jwks-uri-port-0"),
    refuse("issuer", "jwks_uri: ftp://login.example.com/keys", f"5: issuers[0].jwks_uri: {URL}", name="jwks-uri-ftp"),
    refuse("issuer", "jwks_uri: https://login.example.com/a b", f"5: issuers[0].jwks_uri: {URL}", name="jwks-uri-space"),
    refuse("issuer", "jwks_uri: https://[login/keys", f"5: issuers[0].jwks_uri: {URL}", name="jwks-uri-broken"),
    refuse("issuer", "jwks_uri: https://me:secret@login.example.com/keys", "5: issuers[0].jwks_uri: must not hold a user name or password", name="jwks-uri-credentials"),
    refuse("issuer", "jwks_uri: https://login.example.com/keys#a", "5: issuers[0].jwks_uri: must not have a fragment", name="jwks-uri-fragment"),
    refuse("issuer", "jwks_uri: https://login.example.com/keys\njwks_file: keys.json", "6: issuers[0].jwks_file: must not stand beside jwks_uri: keys come from one place", name="jwks-uri-and-file"),
    refuse("issuer", "algorithms: []", f"5: issuers[0].algorithms: {EMPTY}", name="algorithms-empty"),
    refuse("issuer", "algorithms: [none]", "5: issuers[0].algorithms[0]: must not be none: such tokens are not signed", name="algorithm-none"),
    refuse("issuer", "algorithms: [HS256]", "5: issuers[0].algorithms[0]: must not be a shared-secret algorithm: whoever verifies could forge", name="algorithm-hs256"),
    refuse("issuer", "algorithms: [rs256]", f"5: issuers[0].algorithms[0]: must be one of {ALGORITHMS}", name="algorithm-lower-case"),
    refuse("issuer", "algorithms: [RS256, RS256]", "5: issuers[0].algorithms: must not name anything twice (items 0 and 1)", name="algorithm-twice"),
    refuse("issuer", "token_type: jwt", "5: issuers[0].token_type: must be any or strict", name="token-type"),
    refuse("issuer", "id_token_claims: allow", "5: issuers[0].id_token_claims: must be refuse or ignore", name="id-token-claims"),
    refuse("issuer", "leeway: 601", "5: issuers[0].leeway: must be a duration from 0s to 10m", name="leeway-too-long"),
    refuse("issuer", "timeout: 0s", "5: issuers[0].timeout: must be a duration from 1s to 1m", name="timeout-0"),
    refuse("issuer", "allow_insecure_http: yes", "5: issuers[0].allow_insecure_http: must be true or false, not yes, no, on or off", name="boolean-yes"),
    refuse("issuer", "allow_insecure_http: 1", "5: issuers[0].allow_insecure_http: must be true or false", name="boolean-1"),
    refuse("issuer", "claims: {acr: []}", f"5: issuers[0].claims.acr: {EMPTY}", name="claim-empty-list"),
    refuse("issuer", "claims: {acr: [[]]}", f"5: issuers[0].claims.acr: {CLAIM}", name="claim-empty-path"),
    refuse("issuer", "claims: {acr: [[a, 1]]}", f"5: issuers[0].claims.acr: {CLAIM}", name="claim-number"),
    refuse("issuer", "claims: {acr: {a: b}}", f"5: issuers[0].claims.acr: {CLAIM}", name="claim-mapping"),
    refuse("issuer", "claims: {amr: amr}", "5: issuers[0].claims.amr: is not a known key; did you mean acr?", name="claim-unknown"),
    refuse("issuer", "tokens: [jwt, opaque]", "5: issuers[0].tokens[1]: needs introspection: only the issuer knows an opaque token", name="tokens-opaque"),
    refuse("issuer", "tokens: [paseto]", "5: issuers[0].tokens[0]: must be jwt or opaque", name="tokens-unknown"),
    refuse("issuer", "jwks_file: ''", f"5: issuers[0].jwks_file: {EMPTY}", name="jwks-file-empty"),
    pytest.param(
        VALID.replace("assurance", "  - {issuer: 'https://login.example.com', audiences: [a]}\nassurance", 1),
        ["6: issuers[1].issuer: is already issuers[0].issuer (line 3)"],
        id="issuer-twice",
    ),
]  # fmt: skip

APIS = [
    change("name: payments", "name: pay.ments", f"8: apis[0].name: {NAME}", name="name-dot"),
    change("name: payments", f"name: {'a' * 65}", f"8: apis[0].name: {NAME}", name="name-65"),
    change("name: payments", "name: 2024", "8: apis[0].name: must be text: put it in quotes", name="name-number"),
    refuse("api", "hosts: []", f"9: apis[0].hosts: {EMPTY}", name="hosts-empty"),
    refuse("api", "hosts: ['*']", "9: apis[0].hosts[0]: must be a host name; leave out hosts for any host", name="host-star"),
    refuse("api", "hosts: ['a.*.example']", f"9: apis[0].hosts[0]: {HOST}", name="host-inner-star"),
    refuse("api", "hosts: ['a..example']", f"9: apis[0].hosts[0]: {HOST}", name="host-empty-label"),
    refuse("api", "hosts: ['a.example:443']", "9: apis[0].hosts[0]: must be a host name without scheme, port and path", name="host-port"),
    refuse("api", "hosts: ['https://a.example']", "9: apis[0].hosts[0]: must be a host name without scheme, port and path", name="host-url"),
    refuse("api", "hosts: ['bücher.example']", "9: apis[0].hosts[0]: must be ASCII: write international names as xn--…", name="host-non-ascii"),
    refuse("api", "hosts: [A.example, a.example.]", "9: apis[0].hosts: must not name anything twice (items 0 and 1)", name="host-twice"),
    refuse("api", "base_path: payments", "9: apis[0].base_path: must start with /", name="base-path-relative"),
    refuse("api", "base_path: ''", "9: apis[0].base_path: must start with /", name="base-path-empty"),
    refuse("api", "base_path: '/{tenant}'", f"9: apis[0].base_path: {BASE_PATH}", name="base-path-template"),
    refuse("api", "base_path: '/a/*'", f"9: apis[0].base_path: {BASE_PATH}", name="base-path-star"),
    refuse("api", "base_path: /a//b", f"9: apis[0].base_path: {BASE_PATH}", name="base-path-double-slash"),
    refuse("api", "base_path: /a/../b", f"9: apis[0].base_path: {BASE_PATH}", name="base-path-dots"),
    refuse("api", "base_path: /a%20b", f"9: apis[0].base_path: {BASE_PATH}", name="base-path-encoded"),
    refuse("api", "base_path: /a;b", f"9: apis[0].base_path: {BASE_PATH}", name="base-path-semicolon"),
    refuse("api", "issuers: []", f"9: apis[0].issuers: {EMPTY}", name="issuers-empty"),
    refuse("api", "issuers: [https://login.example.com/]", "9: apis[0].issuers[0]: is not an issuer of this file; did you mean https://login.example.com?", name="issuer-unknown-near"),
    refuse("api", "issuers: [bank]", "9: apis[0].issuers[0]: is not an issuer of this file", name="issuer-unknown"),
    refuse("api", "audiences: []", f"9: apis[0].audiences: {EMPTY}", name="audiences-empty"),
    refuse("api", r'realm: "a\u0007"', "9: apis[0].realm: must not contain control or invisible characters", name="realm-control"),
    refuse("api", "realm: zürich", "9: apis[0].realm: must be ASCII (anything else cannot stand in a challenge)", name="realm-non-ascii"),
    refuse("api", "resource: payments", f"9: apis[0].resource: {URL}", name="resource-no-url"),
    refuse("api", "resource: http://api.example.com", "9: apis[0].resource: must be an https:// URL (RFC 9728 §1.2); http:// only on loopback", name="resource-http"),
    refuse("api", "resource: https://api.example.com#a", "9: apis[0].resource: must not have a fragment", name="resource-fragment"),
    refuse("api", "mode: audit", "9: apis[0].mode: must be enforce or monitor", name="mode"),
    refuse("api", "unmatched: reject", "9: apis[0].unmatched: must be deny, require_token or allow", name="unmatched"),
    refuse("api", "cors_preflight: deny", "9: apis[0].cors_preflight: must be allow or check", name="cors-preflight"),
    refuse("api", "path: {allow_semicolons: true}", "9: apis[0].path.allow_semicolons: is not a known key; did you mean allow_semicolon?", name="path-unknown"),
    refuse("api", "sender_constraint: bearer", "9: apis[0].sender_constraint: must be none, any, dpop, mtls or required", name="sender-constraint"),
    *(refuse("api", f"sender_constraint: {constraint}", f"9: apis[0].sender_constraint: {NO_ORIGIN}", name=f"without-origin-{constraint}") for constraint in ("any", "dpop", "required")),
    refuse("api", "external_origin: https://api.example.com/payments", "9: apis[0].external_origin: must be an origin such as https://api.example.com, without a path", name="origin-with-path"),
    refuse("api", "external_origin: https://api.example.com?", "9: apis[0].external_origin: must be an origin such as https://api.example.com, without a path", name="origin-with-query"),
    refuse("api", "external_origin: http://api.example.com", "9: apis[0].external_origin: must be an https:// origin; http:// only on loopback", name="origin-insecure"),
    refuse("api", "external_origin: api.example.com", f"9: apis[0].external_origin: {URL}", name="origin-without-scheme"),
    pytest.param(VALID + "  - {name: payments, base_path: /b}\n", ["19: apis[1].name: is already apis[0].name (line 8)"], id="name-twice"),
    pytest.param(VALID + "  - name: other\n", ["19: apis[1]: has the same base path, both for any host, as apis[0] (line 8)"], id="no-host-twice"),
    pytest.param(
        with_line("api", "hosts: [a.example, b.example]\nbase_path: /p")
        + "  - name: other\n    hosts: [c.example, B.example.]\n    base_path: /p/\n",
        ["21: apis[1].hosts[1]: has the same host and base path as apis[0] (line 8)"],
        id="host-and-base-path-twice",
    ),
]  # fmt: skip

OPERATIONS = [
    change("name: read", "name: pay", "14: apis[0].operations[1].name: is already apis[0].operations[0].name (line 11)", name="name-twice"),
    change("name: read", "name: read.all", f"11: apis[0].operations[0].name: {NAME}", name="name-dot"),
    change("        paths: [/accounts]\n", "", "11: apis[0].operations[0].paths: is missing", name="paths-missing"),
    change("paths: [/accounts]", "paths: []", f"12: apis[0].operations[0].paths: {EMPTY}", name="paths-empty"),
    change("paths: [/accounts]", "paths: [accounts]", "12: apis[0].operations[0].paths[0]: must start with /", name="path-relative"),
    change("paths: [/accounts]", "paths: ['/**/a']", "12: apis[0].operations[0].paths[0]: must have ** only as its last segment", name="path-rest-not-last"),
    change("paths: [/accounts]", "paths: ['/a{id}']", "12: apis[0].operations[0].paths[0]: must have {name} as a whole segment (name: letters, digits, _, -, .)", name="path-name-not-whole"),
    change("paths: [/accounts]", "paths: ['/a;b']", "12: apis[0].operations[0].paths[0]: must not contain ; unless path.allow_semicolon is true", name="path-semicolon"),
    change("paths: [/accounts]", "paths: [/accounts, /accounts]", "12: apis[0].operations[0].paths: must not name anything twice (items 0 and 1)", "12: apis[0].operations[0].paths[1]: ties with apis[0].operations[0].paths[0] (line 12) for any method: no request could choose between them", name="path-twice"),
    change("paths: [/accounts]", "paths: [/a, /transfers/]", "15: apis[0].operations[1].paths[0]: ties with apis[0].operations[0].paths[1] (line 12) for any method: no request could choose between them", name="paths-tie"),
    change("paths: [/accounts]", "paths: ['/a/{id}', '/a/*']", "12: apis[0].operations[0].paths[1]: ties with apis[0].operations[0].paths[0] (line 12) for any method: no request could choose between them", name="paths-tie-by-name"),
    change("paths: [/accounts]", "paths: ['/a*', '/*b']", "12: apis[0].operations[0].paths[1]: ties with apis[0].operations[0].paths[0] (line 12) for any method: no request could choose between them", name="starred-paths-tie"),
    refuse("operation", "methods: []", f"13: apis[0].operations[0].methods: {EMPTY}", name="methods-empty"),
    change("paths: [/accounts]", "paths: ['/a*', '/*b']\n        methods: [5]", "13: apis[0].operations[0].methods[0]: must be text: put it in quotes", name="method-number-ties-with-nothing"),
    refuse("operation", "methods: [get]", "13: apis[0].operations[0].methods[0]: must be upper case: methods are case-sensitive", name="method-lower-case"),
    refuse("operation", "methods: ['*']", "13: apis[0].operations[0].methods[0]: must be a method such as GET; leave out methods for any method", name="method-star"),
    refuse("operation", "methods: [ANY]", "13: apis[0].operations[0].methods[0]: must be a method such as GET; leave out methods for any method", name="method-any"),
    refuse("operation", "methods: ['GE T']", "13: apis[0].operations[0].methods[0]: must be a method such as GET", name="method-space"),
    refuse("operation", "methods: [GET, GET, get]", "13: apis[0].operations[0].methods: must not name anything twice (items 0 and 1)", "13: apis[0].operations[0].methods[2]: must be upper case: methods are case-sensitive", name="method-twice-beside-a-faulty-one"),
    refuse("operation", "methods: [5, 5]", "13: apis[0].operations[0].methods[0]: must be text: put it in quotes", "13: apis[0].operations[0].methods[1]: must be text: put it in quotes", name="methods-faulty"),
    refuse("operation", "methods: [GET, GET]", "13: apis[0].operations[0].methods: must not name anything twice (items 0 and 1)", name="method-twice"),
    refuse("operation", "public: true\nrequire: {max_age: 5m}", "14: apis[0].operations[0].require: must not stand beside public: true, which looks at no token", name="public-with-require"),
    refuse("operation", "requires: {max_age: 5m}", "13: apis[0].operations[0].requires: is not a known key; did you mean require?", name="unknown-key"),
    refuse("operation", "require:", "13: apis[0].operations[0].require: must have a value; leave it out for the default", name="require-without-value"),
    change("scopes: [payments:write]", "scopes: []", f"17: apis[0].operations[1].require.scopes: {EMPTY}", name="scopes-empty"),
    change("scopes: [payments:write]", "scopes: [payments read]", f"17: apis[0].operations[1].require.scopes[0]: {CHALLENGE}", name="scope-space"),
    change("scopes: [payments:write]", "scopes: ['a\"b']", f"17: apis[0].operations[1].require.scopes[0]: {CHALLENGE}", name="scope-quote"),
    change("scopes: [payments:write]", r"scopes: ['a\b']", f"17: apis[0].operations[1].require.scopes[0]: {CHALLENGE}", name="scope-backslash"),
    change("scopes: [payments:write]", "scopes: [zürich]", f"17: apis[0].operations[1].require.scopes[0]: {CHALLENGE}", name="scope-non-ascii"),
    refuse("require", "acr_values: []", f"18: apis[0].operations[1].require.acr_values: {EMPTY}", name="acr-values-empty"),
    refuse("require", "acr_values: [two factors]", f"18: apis[0].operations[1].require.acr_values[0]: {CHALLENGE}", name="acr-space"),
    refuse("require", "acr_values: [2]", "18: apis[0].operations[1].require.acr_values[0]: must be text: put it in quotes", name="acr-number"),
    refuse("require", "min_acr: mfa\nacr_values: [mfa]", "18: apis[0].operations[1].require.min_acr: must not stand beside acr_values: one of them says it all", name="min-acr-and-acr-values"),
    refuse("require", "min_acr: MFA\nacr_values: [mfa]", "18: apis[0].operations[1].require.min_acr: is not one of assurance_levels", "18: apis[0].operations[1].require.min_acr: must not stand beside acr_values: one of them says it all", name="min-acr-unknown-and-acr-values"),
    refuse("require", "min_acr: MFA", "18: apis[0].operations[1].require.min_acr: is not one of assurance_levels", name="min-acr-unknown"),
    pytest.param(
        with_line("require", "min_acr: mfa").replace("assurance_levels: [pwd, mfa, phr]\n", ""),
        ["17: apis[0].operations[1].require.min_acr: needs assurance_levels, which this file does not have"],
        id="min-acr-without-levels",
    ),
    refuse("require", "max_age: 5:00", f"18: apis[0].operations[1].require.max_age: {DURATION}", name="max-age-sexagesimal"),
    refuse("require", "max_age: 1.5", f"18: apis[0].operations[1].require.max_age: {DURATION}", name="max-age-float"),
    refuse("require", "max_age: -1", f"18: apis[0].operations[1].require.max_age: {DURATION}", name="max-age-negative"),
    refuse("require", "max_age: true", f"18: apis[0].operations[1].require.max_age: {DURATION}", name="max-age-true"),
    refuse("require", "max_age: 5d", f"18: apis[0].operations[1].require.max_age: {DURATION}", name="max-age-days"),
    refuse("require", "max_age: 010", f"18: apis[0].operations[1].require.max_age: {DURATION}", name="max-age-octal"),
    refuse("require", "max_age: 87601h", "18: apis[0].operations[1].require.max_age: must be a duration from 0s to 87600h", name="max-age-too-long"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "expected"), [*FILE, *LISTEN, *HEADERS, *ISSUERS, *APIS, *OPERATIONS]
)
def test_what_is_refused_is_named_with_its_line_path_and_reason(
    tmp_path: Path, text: str, expected: list[str]
) -> None:
    assert problems_of(tmp_path, text) == [f"bridge.yaml:{problem}" for problem in expected]


def test_no_header_of_the_bridges_own_answers_can_be_an_identity_header() -> None:
    api = Api("a", (), (), realm="a", sender_constraint="dpop", dpop_algorithms=("ES256",))
    request = CheckRequest("nginx", "GET", ("a",), "/", (), cross_origin=True)
    own = {"set-cookie", "x-accel-redirect"}  # not ours, but obeyed
    for fault in (IssuerError("a", "keys_unavailable"), ProofError("nonce", "nonce_missing", "n")):
        decision = decide_on_token(api, None, fault, 0, scheme="dpop")
        answer = nginx.reply(decision, request, IdentityHeaders(()).nobody)
        head = in_bytes(answer).decode().partition("\r\n\r\n")[0]
        own |= {line.partition(":")[0] for line in head.splitlines()[1:]}
    assert own >= {"date", "server", "www-authenticate", "dpop-nonce", "retry-after"}
    for name in own:
        with pytest.raises(ValueError, match="must not be a header that the"):
            header_name(name)


def test_all_problems_are_reported_at_once_by_line_and_without_follow_ups(tmp_path: Path) -> None:
    text = """\
workers: many
issuers:
  - issuer: http://login.example.com
    audience: [https://api.example.com]
  - nonsense
assurance_levels: [pwd, two factors]
apis:
  - issuers: [https://unknown.example]
    operations:
      - {name: a, methods: [get], paths: [/a], require: {min_acr: 'two factors', max_age: soon}}
      - {name: a, methods: [get, POST], paths: [/b, /a, 3], require: {min_acr: gold}}
      - {name: c, paths: [a], public: yes, require: {}}
      - 5
  - name: b
    name: c
"""
    operation = "apis[0].operations"
    assert problems_of(tmp_path, text) == [
        "bridge.yaml:1: workers: must be a whole number from 1 to 256",
        "bridge.yaml:3: issuers[0].audiences: is missing",
        f"bridge.yaml:3: issuers[0].issuer: {HTTPS}",
        "bridge.yaml:4: issuers[0].audience: is not a known key; did you mean audiences?",
        "bridge.yaml:5: issuers[1]: must be a mapping of keys to values",
        f"bridge.yaml:6: assurance_levels[1]: {CHALLENGE}",
        "bridge.yaml:8: apis[0].name: is missing",
        f"bridge.yaml:10: {operation}[0].methods[0]: must be upper case: methods are case-sensitive",
        f"bridge.yaml:10: {operation}[0].require.max_age: {DURATION}",
        f"bridge.yaml:10: {operation}[0].require.min_acr: {CHALLENGE}",
        f"bridge.yaml:11: {operation}[1].methods[0]: must be upper case: methods are case-sensitive",
        f"bridge.yaml:11: {operation}[1].name: is already {operation}[0].name (line 10)",
        f"bridge.yaml:11: {operation}[1].paths[1]: ties with {operation}[0].paths[0] (line 10) for get:"
        " no request could choose between them",
        f"bridge.yaml:11: {operation}[1].paths[2]: must be text: put it in quotes",
        f"bridge.yaml:11: {operation}[1].require.min_acr: is not one of assurance_levels",
        f"bridge.yaml:12: {operation}[2].paths[0]: must start with /",
        f"bridge.yaml:12: {operation}[2].public: must be true or false, not yes, no, on or off",
        f"bridge.yaml:13: {operation}[3]: must be a mapping of keys to values",
        "bridge.yaml:14: apis[1]: has the same base path, both for any host, as apis[0] (line 8)",
        "bridge.yaml:15: apis[1].name: is set twice (first on line 14)",
    ]


def test_a_merge_key_and_a_tag_hide_no_other_problem(tmp_path: Path) -> None:
    text = "workers: !!int 0\nlog: {<<: {level: info}}\nissuers: []\n"
    assert problems_of(tmp_path, text) == [
        "bridge.yaml:1: apis: is missing",
        'bridge.yaml:1: workers: has a tag that is not supported: "!!int"',
        "bridge.yaml:1: workers: must be a whole number from 1 to 256",
        'bridge.yaml:2: log."<<": merge keys are not supported: repeat the keys',
        f"bridge.yaml:3: issuers: {EMPTY}",
    ]


def test_problems_in_an_alias_are_named_at_the_place_that_uses_it(tmp_path: Path) -> None:
    text = VALID.replace("paths: [/accounts]", "paths: &p [/accounts]")
    text = text.replace("paths: [/transfers]", "paths: *p")
    assert problems_of(tmp_path, text) == [
        "bridge.yaml:12: apis[0].operations[1].paths[0]: ties with apis[0].operations[0].paths[0]"
        " (line 12) for any method: no request could choose between them"
    ]
