"""What a check costs: CPU of the server process per request, in one run on one machine.

`make bench` prints the table. The bare handler is aiohttp's returning the headers that the bridge
returns, as an ordinary `web.Application` with a route; the row after it is the same on aiohttp's
low-level server, which the bridge uses itself, since a router would normalise the path. CPU is the
server's user and system time, so that the client's share and the machine's other work do not
count. All servers are measured in turns, several rounds, and the best round counts: a machine that
is busy with something else slows all of them, but not all at once.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import resource
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jwt
from aiohttp import web
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from bridge.policy.matching import OperationTrie
from bridge.policy.operations import STRICT_PATH_RULES, Operation
from bridge.service.worker import run
from bridge.tokens.access_token import access_token
from bridge.tokens.cache import TokenCache
from bridge.tokens.dpop import check_proof
from bridge.tokens.dpop_settings import DpopSettings
from bridge.tokens.identity import IdentityHeaders
from bridge.tokens.jwk import read_key_set
from bridge.tokens.replay import ReplayMemory, replay_key
from bridge.tokens.settings import IssuerSettings
from e2e.harness.proofs import ProofKey, prove

ISSUER = "https://login.example.com"
AUDIENCE = "https://api.example.com"
REQUEST_ID = "3f2504e0-4f89-11d3-9a0c-0305e82c3301"
CONNECTIONS = 8
ROUNDS = 8
SEEN_REQUESTS = 5_000  # in each round
NEW_TOKENS = 750
CACHED_TOKENS = 100_000
OPAQUE_TOKEN = "0paque" * 8
GOALS = {
    "seen": 1.5,
    "introspected": 1.2,
    "new RS256": 1.4,
    "proof": 1.5,
    "match": 1.5,
    "cache MB": 200.0,
}
PROOFS = 500
BARE = ("bare", "low-level", "signing")


def main() -> int:
    """Measure, print the table, and tell by the exit code whether the goals are met."""
    factor = float(os.environ.get("BENCH_SCALE", "1"))
    rsa_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    ec_key = ec.generate_private_key(ec.SECP256R1())
    new_count = int(NEW_TOKENS * factor)
    seen = _mint("RS256", "r", rsa_key, 1)
    new_rsa = _mint("RS256", "r", rsa_key, new_count * ROUNDS + 1)[1:]
    new_ec = _mint("ES256", "e", ec_key, new_count * ROUNDS)
    with ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory())
        endpoint = stack.enter_context(_introspection_endpoint())
        config = _write_config(Path(directory), rsa_key, ec_key, endpoint)
        serve = ["-m", "bridge", "serve", "--config", str(config)]
        bridge, bare_handler, low_level_handler, signing_handler = (
            stack.enter_context(_server([sys.executable, *arguments]))
            for arguments in (serve, *([__file__, f"--{name}"] for name in BARE))
        )
        seen_count = int(SEEN_REQUESTS * factor)
        asked = {
            "bare": (bare_handler, _envoy_requests(seen), seen_count),
            "low level": (low_level_handler, _envoy_requests(seen), seen_count),
            "signing": (signing_handler, _envoy_requests(seen), seen_count),
            "seen": (bridge, _envoy_requests(seen), seen_count),
            "introspected": (bridge, _envoy_requests([OPAQUE_TOKEN]), seen_count),
            "native": (bridge, _native_requests(seen), seen_count),
            "new RS256": (bridge, _envoy_requests(new_rsa), new_count),
            "new ES256": (bridge, _envoy_requests(new_ec), new_count),
        }
        us = _best_of_rounds(asked)
    rsa_us = _bare_rsa(rsa_key)
    ec_us = _bare_ec(ec_key)
    print(f"{'CPU per check, microseconds':42}{'bridge':>8}{'bare':>8}{'ratio':>7}{'goal':>7}")
    bare = us["bare"]
    ratios = {
        "seen": _row("token seen before", us["seen"], bare, GOALS["seen"]),
        "introspected": _row(
            "opaque token seen before / JWT", us["introspected"], us["seen"], GOALS["introspected"]
        ),
        "new RS256": _row("never seen, RS256", us["new RS256"], bare + rsa_us, GOALS["new RS256"]),
    }
    _row("  / bare handler that verifies one", us["new RS256"], us["signing"], None)
    _row("never seen, ES256", us["new ES256"], bare + ec_us, None)
    _row("token seen before / low-level server", us["seen"], us["low level"], None)
    _row("native check, token seen before / Envoy's", us["native"], us["seen"], None)
    known, unknown = _proof_us()
    ratios["proof"] = _row("DPoP proof check / bare ES256", known, ec_us, GOALS["proof"])
    _row("  of a client never seen", unknown, ec_us, None)
    print(
        f"  bare = aiohttp handler {bare:.1f} (low level {us['low level']:.1f}, with an RS256 "
        f"signature {us['signing']:.1f}), and bare verify: RS256 {rsa_us:.1f}, ES256 {ec_us:.1f}"
    )
    few, many = _match_us(10), _match_us(100_000)
    ratios["match"] = _row("match among 100,000 operations / 10", many, few, GOALS["match"])
    ratios["cache MB"] = _cache_megabytes()
    print(
        f"{CACHED_TOKENS} cached tokens: {ratios['cache MB']:.0f} MB, goal {GOALS['cache MB']:.0f}"
    )
    missed = [name for name, goal in GOALS.items() if ratios[name] > goal]
    print("goals missed: " + ", ".join(missed) if missed else "all goals met")
    return 1 if missed else 0


def _row(name: str, measured: float, reference: float, goal: float | None) -> float:
    ratio = measured / reference
    shown = "" if goal is None else f"{goal:.1f}"
    print(f"{name:42}{measured:8.1f}{reference:8.1f}{ratio:7.2f}{shown:>7}")
    return ratio


def _mint(algorithm: str, kid: str, key: Any, count: int) -> list[str]:
    now = int(time.time())
    claims = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "exp": now + 3600,
        "iat": now,
        "auth_time": now,
        "acr": "urn:example:mfa",
        "scope": "payments:write accounts:read",
        "client_id": "bench",
    }
    headers = {"kid": kid, "typ": "at+jwt"}
    return [
        jwt.encode({**claims, "sub": f"user-{n}", "jti": f"{n:032x}"}, key, algorithm, headers)
        for n in range(count)
    ]


@contextmanager
def _introspection_endpoint() -> Iterator[str]:
    """Say of every token that it is active, for as long as the block lasts."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            answer = {
                "active": True,
                "exp": int(time.time()) + 3600,
                "auth_time": int(time.time()),
                "acr": "urn:example:mfa",
                "scope": "payments:write accounts:read",
                "client_id": "bench",
                "sub": "user",
                "aud": AUDIENCE,
            }
            body = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/introspect"
        server.shutdown()


def _write_config(directory: Path, rsa_key: Any, ec_key: Any, endpoint: str) -> Path:
    keys = [
        {**json.loads(RSAAlgorithm.to_jwk(rsa_key.public_key())), "kid": "r"},
        {**json.loads(ECAlgorithm.to_jwk(ec_key.public_key())), "kid": "e"},
    ]
    (directory / "keys.json").write_text(json.dumps({"keys": keys}))
    (directory / "secret").write_text("secret")
    introspection = {
        "endpoint": endpoint,
        "client_id": "bridge",
        "client_secret_file": "secret",
        "cache_ttl": "1h",
    }
    issuer = {"issuer": ISSUER, "audiences": [AUDIENCE], "jwks_file": "keys.json"}
    config = {
        "listen": {"authz": "127.0.0.1:0", "admin": "127.0.0.1:0"},
        "issuers": [{**issuer, "introspection": introspection}],
        "apis": [
            {
                "name": "payments",
                "hosts": ["api.example.com"],
                "operations": [
                    {
                        "name": "transfer",
                        "methods": ["POST"],
                        "paths": ["/transfers/{id}"],
                        "require": {
                            "scopes": ["payments:write"],
                            "acr_values": ["urn:example:mfa"],
                            "max_age": "1h",
                        },
                    }
                ],
            }
        ],
    }
    file = directory / "bridge.yaml"
    file.write_text(json.dumps(config))
    return file


@contextmanager
def _server(command: list[str]) -> Iterator[tuple[int, int]]:
    """Run a server that logs as in production; its log goes to a file, its port is in it."""
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, stdout=log)
        try:
            yield process.pid, _port_of(log, process)
        finally:
            process.terminate()
            process.wait(15)


def _port_of(log: Any, process: subprocess.Popen[bytes]) -> int:
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline and process.poll() is None:
        started = _find_event(os.pread(log.fileno(), 65536, 0), "service_started")
        fetched = _find_event(os.pread(log.fileno(), 65536, 0), "key_set_fetched")
        if started is not None and (fetched is not None or "bare" in started):
            return int(started["authz"].rpartition(":")[2])
        time.sleep(0.05)
    raise RuntimeError("the server did not start")


def _find_event(text: bytes, event: str) -> dict[str, Any] | None:
    for line in text.splitlines():
        if f'"{event}"'.encode() in line:
            document: dict[str, Any] = json.loads(line)
            return document
    return None


def _envoy_requests(tokens: Sequence[str]) -> list[bytes]:
    return [
        (
            f"POST /envoy/transfers/42?dry=1 HTTP/1.1\r\nhost: api.example.com\r\n"
            f"content-length: 0\r\nauthorization: Bearer {token}\r\n"
            f"x-request-id: {REQUEST_ID}\r\n\r\n"
        ).encode()
        for token in tokens
    ]


def _native_requests(tokens: Sequence[str]) -> list[bytes]:
    """The same questions as the native check takes them, without white space as most write JSON."""
    questions = [
        json.dumps(
            {
                "method": "POST",
                "scheme": "https",
                "host": "api.example.com",
                "path": "/transfers/42?dry=1",
                "headers": {"authorization": [f"Bearer {token}"], "x-request-id": [REQUEST_ID]},
            },
            separators=(",", ":"),
        )
        for token in tokens
    ]
    return [
        (
            f"POST /v1/check HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
            f"content-length: {len(question)}\r\n\r\n{question}"
        ).encode()
        for question in questions
    ]


def _cpu_per_request(
    pid: int, port: int, requests: Sequence[bytes], count: int, warm: Sequence[bytes]
) -> float:
    """Send requests over a few kept connections; give the server's CPU microseconds for each.

    Args:
        warm: What is sent before, so that new connections and what is cold do not count.
    """
    sockets = [socket.create_connection(("127.0.0.1", port), 5) for _ in range(CONNECTIONS)]
    try:
        _send(sockets, warm, 1_000)
        before = _cpu_seconds(pid)
        _send(sockets, requests, count)
        return (_cpu_seconds(pid) - before) / count * 1e6
    finally:
        for connection in sockets:
            connection.close()


def _best_of_rounds(
    asked: dict[str, tuple[tuple[int, int], list[bytes], int]],
) -> dict[str, float]:
    """Ask every server a share of its requests, in turns, and give the least CPU for each kind."""
    best = dict.fromkeys(asked, float("inf"))
    for number in range(ROUNDS):
        for name, ((pid, port), requests, count) in asked.items():
            mine = requests if len(requests) == 1 else requests[number * count :][:count]
            warm = requests if len(requests) == 1 else asked["seen"][1]
            best[name] = min(best[name], _cpu_per_request(pid, port, mine, count, warm))
    return best


def _send(sockets: list[socket.socket], requests: Sequence[bytes], count: int) -> None:
    sent = 0
    while sent < count:
        batch = sockets[: min(len(sockets), count - sent)]
        for offset, connection in enumerate(batch):
            connection.sendall(requests[(sent + offset) % len(requests)])
        for connection in batch:
            answer = connection.recv(65536)
            if not answer.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(answer.decode(errors="replace"))
        sent += len(batch)


def _cpu_seconds(pid: int) -> float:
    """Give the time that all its threads were on a CPU: in nanoseconds, where ticks are coarse."""
    threads = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9


def _per_call_us(call: Callable[[], object], count: int) -> float:
    best = float("inf")
    for _ in range(3):
        started = time.process_time()
        for _ in range(count):
            call()
        best = min(best, time.process_time() - started)
    return best / count * 1e6


def _bare_rsa(key: rsa.RSAPrivateKey) -> float:
    message = b"m" * 500
    signature = key.sign(message, padding.PKCS1v15(), hashes.SHA256())
    public = key.public_key()
    return _per_call_us(
        lambda: public.verify(signature, message, padding.PKCS1v15(), hashes.SHA256()), 3_000
    )


def _bare_ec(key: ec.EllipticCurvePrivateKey) -> float:
    message = b"m" * 500
    signature = key.sign(message, ec.ECDSA(hashes.SHA256()))
    public = key.public_key()
    return _per_call_us(lambda: public.verify(signature, message, ec.ECDSA(hashes.SHA256())), 3_000)


def _proof_us() -> tuple[float, float]:
    """Check and use proofs: of one client, then each of a client that was never seen."""
    one = ProofKey.generate()
    strangers = [[ProofKey.generate() for _ in range(PROOFS)] for _ in range(3)]
    known = _proof_seconds([one] * PROOFS, passes=6)
    unknown = min(_proof_seconds(keys, passes=1) for keys in strangers)
    return known / PROOFS * 1e6, unknown / PROOFS * 1e6


def _proof_seconds(keys: list[ProofKey], passes: int) -> float:
    now, token, origin = int(time.time()), "t" * 800, "https://api.example.com"
    settings = DpopSettings()
    request = {"method": "POST", "origin": origin, "path": "/transfers/42", "token": token}
    uri = f"{origin}/transfers/42"
    proofs = [(key.jkt, prove(key, "POST", uri, token, now=now)) for key in keys]
    best = float("inf")
    for _ in range(passes):
        memory = ReplayMemory(10_000, settings.lifetime, now)
        started = time.process_time()
        for jkt, proof in proofs:
            used = check_proof(proof, settings, jkt=jkt, now=now, nonces=None, **request)
            if memory.claim(replay_key(used.jkt, used.jti), used.iat, now) != "fresh":
                raise RuntimeError("a fresh proof was refused")
        best = min(best, time.process_time() - started)
    return best


def _match_us(operations: int) -> float:
    trie = OperationTrie(
        [Operation(f"op{n}", (f"/resources-{n}/{{id}}/items",)) for n in range(operations)],
        STRICT_PATH_RULES,
    )
    segments = (f"resources-{operations - 1}", "42", "items")
    return _per_call_us(lambda: trie.find("GET", segments), 20_000)


def _cache_megabytes() -> float:
    """Fill a cache with tokens that share nothing but what real ones share."""
    settings = IssuerSettings(ISSUER, (AUDIENCE,))
    identity = IdentityHeaders(
        (f"x-stepup-{name}", claim)
        for name, claim in (
            ("subject", "sub"),
            ("client-id", "client_id"),
            ("issuer", "iss"),
            ("acr", "acr"),
            ("auth-time", "auth_time"),
            ("scope", "scope"),
        )
    )
    key = read_key_set(
        json.dumps(
            {
                "keys": [
                    json.loads(
                        ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256R1()).public_key())
                    )
                ]
            }
        ).encode()
    )[0]
    cache: TokenCache[str] = TokenCache(CACHED_TOKENS, 300)
    before = _resident_bytes()
    for n in range(CACHED_TOKENS):
        claims = json.loads(
            json.dumps(
                {
                    "iss": ISSUER,
                    "exp": 2_000_000_000 + n,
                    "sub": f"0f8fad5b-d9cb-469f-a165-{n:012d}",
                    "client_id": "mobile-app",
                    "acr": "urn:example:mfa",
                    "auth_time": 1_900_000_000 + n,
                    "scope": "accounts:read payments:write profile",
                }
            )
        )
        token = access_token(claims, (AUDIENCE,), settings, identity)
        cache.add(n.to_bytes(32, "big"), token, "issuer", key, 1_900_000_000)
    if len(cache) != CACHED_TOKENS:
        raise RuntimeError("the cache did not keep what it was given")
    return (_resident_bytes() - before) / 1e6


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


async def _bare(kind: str) -> None:
    """Serve what the bridge would answer, and nothing else; `signing`: verify a signature first."""
    headers = (
        ("x-stepup-subject", "user-0"),
        ("x-stepup-client-id", "bench"),
        ("x-stepup-issuer", ISSUER),
        ("x-stepup-acr", "urn:example:mfa"),
        ("x-stepup-auth-time", "1900000000"),
        ("x-stepup-scope", "payments:write accounts:read"),
        ("x-envoy-auth-headers-to-remove", ", ".join(["x-stepup-would-deny"] * 8)),
        ("server", "bare"),
    )

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    message, public = b"m" * 500, key.public_key()
    signature = key.sign(message, padding.PKCS1v15(), hashes.SHA256())

    async def handle(_: web.BaseRequest) -> web.Response:
        if kind == "signing":
            public.verify(signature, message, padding.PKCS1v15(), hashes.SHA256())
        return web.Response(body=b"", headers=headers)

    logging.disable()
    runner: web.BaseRunner
    if kind == "low-level":
        runner = web.ServerRunner(web.Server(handle, access_log=None))
    else:
        application = web.Application()
        application.router.add_route("*", "/{tail:.*}", handle)
        runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    listener = socket.create_server(("127.0.0.1", 0))
    await web.SockSite(runner, listener).start()
    port = listener.getsockname()[1]
    print(json.dumps({"event": "service_started", "bare": True, "authz": f"x:{port}"}), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    if sys.argv[1:]:
        try:
            run(_bare(sys.argv[1].removeprefix("--")))
        except KeyboardInterrupt:
            sys.exit(0)
    sys.exit(main())
