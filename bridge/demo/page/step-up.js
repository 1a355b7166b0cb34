// A browser client that can step up (RFC 9470), whole, in plain JavaScript. Copy it, and read it
// from top to bottom: call the API; read the challenge of a denial; send the user to the
// authorization server with what the challenge demands; come back with a new token; call again.
//
// The gateway must let the page's origin send `Authorization` and read `WWW-Authenticate` (CORS):
// `access-control-allow-headers: authorization`, `access-control-expose-headers: www-authenticate`.

export class StepUpClient {
  #settings; #confirm; #tell; #scope = "";
  token = null; // in memory only: a token in session storage is there for every script to take

  // confirm(outcome): may the user be sent away now? The page is left, so save what is unsaved.
  // tell(event, details): for show; never gets a token or a code.
  constructor(settings, { confirm = async () => true, tell = () => {} } = {}) {
    [this.#settings, this.#confirm, this.#tell] = [settings, confirm, tell];
  }

  forget() { [this.token, this.#scope] = [null, ""]; }

  // Call the API, `POST /transfers`. Where a login would help, the browser leaves for it, and
  // `comeBack` makes the call again. `answered`: the demands that this call's logins were for.
  async call(request, answered = []) {
    const [method, path] = request.split(" ");
    const headers = this.token ? { authorization: `Bearer ${this.token}` } : {};
    const response = await fetch(this.#settings.gateway + path, { method, headers });
    const header = response.headers.get("www-authenticate");
    const challenge = header ? readChallenge(header) : null;
    const demand = JSON.stringify(["error", "acr_values", "max_age", "scope"].map((n) => challenge?.[n]));
    // The same demand after a login for it: the authorization server did not do what was asked, and
    // would not the next time either. Without this check the browser would go to and fro for ever.
    const loops = challenge !== null && answered.includes(demand);
    const outcome = { request, response, header, challenge, loops };
    await this.#tell("answered", outcome);
    if (challenge && challenge.error !== "invalid_request" && !loops && (await this.#confirm(outcome)))
      await this.authorize(challenge, { request, answered: [...answered, demand] });
    return outcome;
  }

  // Leave for the authorization server (RFC 6749 §4.1.1).
  async authorize(challenge = {}, then = {}) {
    const { client_id, redirect_uri, first_scope } = this.#settings;
    const { authorization_endpoint } = await this.#discover();
    const [state, verifier] = [random(), random()];
    // PKCE (RFC 7636): whoever steals the code cannot redeem it without the verifier.
    const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(verifier));
    // What the token has, and what the challenge asks for beside it.
    const wanted = `${this.#scope} ${challenge.scope ?? (this.#scope ? "" : first_scope)}`;
    const scope = [...new Set(wanted.split(" ").filter(Boolean))].join(" ");
    const query = new URLSearchParams({ response_type: "code", client_id, redirect_uri, state, scope,
      code_challenge: base64url(digest), code_challenge_method: "S256" });
    // What RFC 9470 adds (§4): hand on what the challenge demands.
    for (const name of ["acr_values", "max_age"])
      if (challenge[name] !== undefined) query.set(name, challenge[name]);
    sessionStorage.setItem("pending", JSON.stringify({ ...then, state, verifier, scope }));
    await this.#tell("leaves", Object.fromEntries(query));
    location.assign(`${authorization_endpoint}?${query}`);
  }

  // Call this whenever the page loads: it does nothing unless the user comes from the login.
  async comeBack() {
    const answer = new URLSearchParams(location.search);
    if (!answer.has("state")) return;
    const { client_id, redirect_uri, issuer } = this.#settings;
    history.replaceState(null, "", redirect_uri); // the code does not stay in the address bar
    const pending = JSON.parse(sessionStorage.getItem("pending") ?? "{}");
    sessionStorage.removeItem("pending");
    // `state`: the answer is to our question. `iss`: it is from our server (RFC 9207).
    if (answer.get("state") !== pending.state || answer.get("iss") !== issuer)
      return this.#tell("failed", { error: "not the answer to our request" });
    if (answer.has("error")) return this.#tell("failed", Object.fromEntries(answer));
    const { token_endpoint } = await this.#discover();
    const form = new URLSearchParams({ grant_type: "authorization_code", client_id, redirect_uri,
      code: answer.get("code"), code_verifier: pending.verifier });
    const result = await (await fetch(token_endpoint, { method: "POST", body: form })).json();
    if (!result.access_token) return this.#tell("failed", result);
    this.token = result.access_token;
    this.#scope = result.scope ?? pending.scope; // left out where it is what was asked for (§5.1)
    await this.#tell("came back", {});
    if (pending.request) await this.call(pending.request, pending.answered);
  }

  async #discover() {
    const url = `${this.#settings.issuer}/.well-known/oauth-authorization-server`;
    const metadata = await (await fetch(url)).json();
    if (metadata.issuer !== this.#settings.issuer) throw new Error("metadata of another issuer");
    return metadata;
  }
}

// One Bearer challenge: `Bearer name="value", ...` (RFC 9110 §11.2); values may come unquoted.
const readChallenge = (header) => Object.fromEntries(
  [...header.matchAll(/(\w+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))/g)].map(
    ([, name, quoted, bare]) => [name.toLowerCase(), quoted?.replace(/\\(.)/g, "$1") ?? bare]));
const base64url = (bytes) => btoa(String.fromCharCode(...new Uint8Array(bytes)))
  .replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
const random = () => base64url(crypto.getRandomValues(new Uint8Array(32)));
