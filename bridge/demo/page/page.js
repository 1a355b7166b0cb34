// A client that can step up. Read it from top to bottom: it is meant as an example.
//
// It calls the API with its access token. When the API answers with the challenge
// `insufficient_user_authentication` (RFC 9470), it sends the user to the authorization server with
// the `acr_values`, `max_age` and `scope` of the challenge, comes back with a new token, and calls
// again.

const { gateway, issuer, client_id, redirect_uri, first_scope } =
  await (await fetch("settings.json")).json();
const $ = (selector, root = document) => root.querySelector(selector);

// The token lives in memory only: a stolen session storage would be a stolen token.
let token = null;
// The log outlives the redirects. No token and no code is ever written into it.
const log = JSON.parse(sessionStorage.getItem("log") ?? "[]");

// --- Calling the API -----------------------------------------------------------------------------

async function call(request) {
  const [method, path] = request.split(" ");
  const headers = token ? { authorization: `Bearer ${token}` } : {};
  let response;
  try {
    response = await fetch(gateway + path, { method, headers });
  } catch {
    return write({ request, status: "no answer; is the demo still running?", kind: "bad" });
  }
  // Another origin's page sees this header only because the answer has
  // `access-control-expose-headers: www-authenticate`.
  const header = response.headers.get("www-authenticate") ?? "";
  const challenge = header ? readChallenge(header) : {};
  const stepUp = challenge.error === "insufficient_user_authentication";
  write({
    request: `${request}  ${token ? "Authorization: Bearer ..." : "(no token)"}`,
    status: `${response.status} ${response.statusText}`,
    header: header && `WWW-Authenticate: ${header}`,
    body: await response.text(),
    kind: response.ok ? "good" : stepUp ? "step-up" : "bad",
    say: stepUp
      ? "The token is good, but the user must authenticate again, as the challenge says."
      : challenge.error ?? (header && "The API wants to know who you are."),
    next: header && { challenge, request, label: stepUp ? "Step up" : "Log in" },
  });
}

// One Bearer challenge: `Bearer name="value", ...` (RFC 9110 §11.2); values may come unquoted.
function readChallenge(header) {
  const params = {};
  for (const [, name, quoted, bare] of header.matchAll(/(\w+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))/g))
    params[name.toLowerCase()] = quoted?.replace(/\\(.)/g, "$1") ?? bare;
  return params;
}

// --- Logging in, and stepping up -----------------------------------------------------------------

async function authorize(challenge = {}, request = null) {
  const metadata = await discover();
  // PKCE (RFC 7636): whoever steals the code cannot redeem it without the verifier.
  const verifier = random();
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(verifier));
  const state = random();
  sessionStorage.setItem("pending", JSON.stringify({ verifier, state, request }));

  const query = new URLSearchParams({
    response_type: "code", client_id, redirect_uri, state,
    code_challenge: base64url(digest), code_challenge_method: "S256",
    scope: union(token ? claims(token).scope : "", challenge.scope ?? (token ? "" : first_scope)),
  });
  // What RFC 9470 adds (§4): hand on what the challenge demands.
  for (const name of ["acr_values", "max_age"])
    if (challenge[name] !== undefined) query.set(name, challenge[name]);
  const url = `${metadata.authorization_endpoint}?${query}`;
  for (const name of ["state", "code_challenge"]) query.set(name, "...");
  write({ request: "the browser goes to the authorization server", status: "",
          header: decodeURIComponent(`/authorize?${query}`).replaceAll("&", "\n  &") });
  location.assign(url);
}

async function comeBack(answer) {
  history.replaceState(null, "", redirect_uri); // the code does not stay in the address bar
  const pending = JSON.parse(sessionStorage.getItem("pending") ?? "null");
  sessionStorage.removeItem("pending");
  // `state`: the answer is to our question. `iss`: it is from our server (RFC 9207).
  if (!pending || answer.get("state") !== pending.state || answer.get("iss") !== issuer)
    return write({ request: "back from the authorization server", kind: "bad",
                   status: "not the answer to our request; ignored" });
  if (answer.has("error"))
    return write({ request: "back from the authorization server", kind: "bad",
                   status: answer.get("error"), say: answer.get("error_description") });
  const metadata = await discover();
  const response = await fetch(metadata.token_endpoint, {
    method: "POST",
    body: new URLSearchParams({ grant_type: "authorization_code", client_id, redirect_uri,
                                code: answer.get("code"), code_verifier: pending.verifier }),
  });
  const result = await response.json();
  token = result.access_token ?? null;
  write({ request: "back from the authorization server; POST /token",
          status: token ? "a new access token" : result.error, kind: token ? "good" : "bad" });
  if (token && pending.request) await call(pending.request);
}

async function discover() {
  const metadata = await (await fetch(`${issuer}/.well-known/oauth-authorization-server`)).json();
  if (metadata.issuer !== issuer) throw new Error("metadata of another issuer (RFC 8414 §3.3)");
  return metadata;
}

const base64url = (bytes) => btoa(String.fromCharCode(...new Uint8Array(bytes)))
  .replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
// What the token has, and what the challenge asks for beside it.
const union = (...scopes) => [...new Set(scopes.join(" ").split(" ").filter(Boolean))].join(" ");
const random = () => base64url(crypto.getRandomValues(new Uint8Array(32)));
// For show only: a client never decides by what is in an access token (RFC 9068 §6).
const claims = (jwt) => JSON.parse(atob(jwt.split(".")[1].replaceAll("-", "+").replaceAll("_", "/")));

// --- Showing it ----------------------------------------------------------------------------------

function write(entry) {
  log.push({ at: new Date().toLocaleTimeString(), ...entry });
  if (log.length > 50) log.shift();
  sessionStorage.setItem("log", JSON.stringify(log));
  show();
}

function show() {
  $("#log").replaceChildren(...log.map((entry, index) => {
    const item = $("#entry").content.cloneNode(true).firstElementChild;
    item.className = entry.kind ?? "";
    $(".request", item).textContent = `${entry.at}  ${entry.request}`;
    $(".status", item).textContent = entry.status;
    $(".challenge", item).textContent = entry.header ?? "";
    $(".say", item).textContent = entry.say ?? "";
    $(".body", item).textContent = entry.body ?? "";
    $("details", item).hidden = !entry.body;
    $("details", item).open = entry.kind === "good";
    $(".next", item).hidden = !entry.next || index !== log.length - 1;
    $(".next", item).textContent = entry.next?.label ?? "";
    $(".next", item).onclick = () => authorize(entry.next.challenge, entry.next.request);
    return item;
  }).reverse());
}

function showToken() {
  const age = (then) => `${Math.max(0, Math.floor(Date.now() / 1000) - then)} s ago`;
  const given = token ? claims(token) : null;
  const rows = given
    ? { sub: given.sub, acr: given.acr, auth_time: age(given.auth_time), scope: given.scope }
    : { "": "none" };
  $("#token").replaceChildren(...Object.entries(rows).flatMap(([name, value]) =>
    [["dt", name], ["dd", value]].map(([tag, text]) =>
      Object.assign(document.createElement(tag), { textContent: text }))));
}

$("#gateway").textContent = $("#gateway").href = gateway;
for (const button of document.querySelectorAll("[data-request]"))
  button.onclick = () => call(button.dataset.request).then(showToken);
$("#log-in").onclick = () => authorize();
$("#forget").onclick = () => { token = null; showToken(); };
$("#clear").onclick = () => { log.length = 0; sessionStorage.removeItem("log"); show(); };
setInterval(showToken, 1000);
show();
const answer = new URLSearchParams(location.search);
if (answer.has("state")) await comeBack(answer);
showToken();
