// An authorization server of oidc-provider (npm) for the end-to-end tests: JWT access tokens for
// one resource, opaque ones for another, DPoP, introspection, and a second factor on demand.
// Its settings come as one JSON object in the environment variable SETTINGS.

import { generateKeyPairSync, randomUUID } from "node:crypto";
import { createServer } from "node:http";

import Provider, { interactionPolicy } from "oidc-provider";

const settings = JSON.parse(process.env.SETTINGS);
const { pwd, mfa, scopes } = settings;

const { Check, base } = interactionPolicy;
const policy = base();
policy.remove("consent"); // granted in advance, by loadExistingGrant

// acr_values is voluntary in OpenID Connect, and oidc-provider leaves it to us.
policy.get("login").checks.add(
  new Check("acr_unmet", "a stronger authentication is required", (ctx) => {
    const { params, session, result } = ctx.oidc;
    const wanted = params.acr_values?.split(" ") ?? [];
    const unmet = wanted.length > 0 && !wanted.includes(session.acr) && !result?.login;
    return unmet ? Check.REQUEST_PROMPT : Check.NO_NEED_TO_PROMPT;
  }),
);

const provider = new Provider(settings.issuer, {
  clients: [
    {
      client_id: "app",
      application_type: "native",
      token_endpoint_auth_method: "none",
      redirect_uris: [settings.redirect_uri],
    },
    {
      client_id: "bridge",
      client_secret: settings.bridge_secret,
      redirect_uris: [],
      grant_types: [],
      response_types: [],
    },
  ],
  clientDefaults: { id_token_signed_response_alg: "ES256" },
  acrValues: [pwd, mfa],
  cookies: { keys: [randomUUID()] },
  features: {
    devInteractions: { enabled: false },
    dPoP: { enabled: true },
    introspection: { enabled: true },
    revocation: { enabled: true },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: (ctx, resource) => {
        const format = settings.resources[resource];
        return {
          scope: scopes,
          audience: resource,
          accessTokenFormat: format,
          accessTokenTTL: 600,
          jwt: format === "jwt" ? { sign: { alg: "ES256" } } : undefined,
        };
      },
      useGrantedResource: () => true,
    },
  },
  interactions: { policy, url: (ctx, { uid }) => `/interaction/${uid}` },
  // What RFC 9068 section 2.2.1 lets an access token say about the authentication.
  extraTokenClaims: (ctx) => {
    const { AuthorizationCode: code } = ctx.oidc.entities;
    return { acr: code.acr, auth_time: code.authTime };
  },
  findAccount: (ctx, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
  jwks: { keys: [signingKey()] },
  loadExistingGrant: async (ctx) => {
    const { client, params, session } = ctx.oidc;
    const grant = new provider.Grant({ accountId: session.accountId, clientId: client.clientId });
    grant.addOIDCScope("openid");
    grant.addResourceScope(params.resource, scopes);
    await grant.save();
    return grant;
  },
  pkce: { required: () => true },
  ttl: { Interaction: 600, Session: 3600, Grant: 3600, IdToken: 600 },
});

function signingKey() {
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  return { ...privateKey.export({ format: "jwk" }), use: "sig", alg: "ES256" };
}

// The login page: the password, and the code too where level mfa is wanted.
async function interact(request, response) {
  const { params } = await provider.interactionDetails(request, response);
  const strong = params.acr_values?.split(" ").includes(mfa) ?? false;
  if (request.method === "POST") {
    const form = new URLSearchParams(await body(request));
    if (
      form.get("password") === settings.password &&
      (!strong || form.get("otp") === settings.code)
    ) {
      const login = { accountId: form.get("username"), acr: strong ? mfa : pwd };
      await provider.interactionFinished(request, response, { login });
      return;
    }
  }
  const fields = ["username", "password", ...(strong ? ["otp"] : [])];
  const inputs = fields.map((name) => `<label>${name} <input name="${name}"></label>`);
  response.writeHead(200, { "content-type": "text/html", "cache-control": "no-store" });
  response.end(
    `<!doctype html><title>Sign in</title><form method="post">${inputs.join("")}` +
      '<input type="submit"></form>',
  );
}

async function body(request) {
  let text = "";
  for await (const chunk of request) text += chunk;
  return text;
}

const callback = provider.callback();
createServer((request, response) => {
  if (!request.url.startsWith("/interaction/")) {
    callback(request, response);
    return;
  }
  interact(request, response).catch((error) => {
    console.error(error);
    response.writeHead(500).end("error");
  });
}).listen(settings.port, "127.0.0.1");
