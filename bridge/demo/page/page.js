// What the demo shows; the client that it shows is all in step-up.js.

import { StepUpClient } from "./step-up.js";

const settings = await (await fetch("settings.json")).json();
const $ = (selector, root = document) => root.querySelector(selector);
// The log outlives the redirects. No token and no code is ever written into it.
const log = JSON.parse(sessionStorage.getItem("log") ?? "[]");
let goOn = null; // what the button of the newest entry does, as long as this page lives

const client = new StepUpClient(settings, { tell, confirm });

async function tell(event, details) {
  if (event === "answered") return write(await answered(details));
  if (event === "came back")
    return write({ request: "back from the authorization server; POST /token",
                   status: "a new access token", kind: "good" });
  if (event === "failed")
    return write({ request: "back from the authorization server", kind: "bad",
                   status: details.error, say: details.error_description });
  const query = new URLSearchParams({ ...details, state: "...", code_challenge: "..." });
  write({ request: "the browser goes to the authorization server", status: "",
          header: decodeURIComponent(`/authorize?${query}`).replaceAll("&", "\n  &") });
}

async function answered({ request, response, header, challenge, loops }) {
  const stepUp = challenge?.error === "insufficient_user_authentication";
  let say = challenge && (challenge.error ?? "The API wants to know who you are.");
  if (stepUp)
    say = "The token is good, but the user must authenticate again, as the challenge says.";
  if (loops)
    say = "The same challenge after a login for it: another login would not help, so none is tried.";
  return {
    request: `${request}  ${client.token ? "Authorization: Bearer ..." : "(no token)"}`,
    status: `${response.status} ${response.statusText}`,
    header: header && `WWW-Authenticate: ${header}`,
    body: await response.text(),
    kind: response.ok ? "good" : stepUp ? "step-up" : "bad",
    say,
  };
}

// Wait for the button: a page should not vanish under its user's hands.
function confirm({ challenge }) {
  const stepUp = challenge.error === "insufficient_user_authentication";
  return new Promise((resolve) => offer(stepUp ? "Step up" : "Log in", () => resolve(true)));
}

async function call(request) {
  offer("", null);
  try {
    await client.call(request);
  } catch {
    write({ request, status: "no answer; is the demo still running?", kind: "bad" });
  }
}

function offer(label, action) {
  goOn = action && { label, action };
  show();
}

function write(entry) {
  log.push({ at: new Date().toLocaleTimeString(), ...entry });
  if (log.length > 50) log.shift();
  sessionStorage.setItem("log", JSON.stringify(log));
  show();
}

function show() {
  showToken();
  $("#log").replaceChildren(...log.map((entry, index) => {
    const item = $("#entry").content.cloneNode(true).firstElementChild;
    const next = index === log.length - 1 ? goOn : null;
    item.className = entry.kind ?? "";
    $(".request", item).textContent = `${entry.at}  ${entry.request}`;
    $(".status", item).textContent = entry.status;
    $(".challenge", item).textContent = entry.header ?? "";
    $(".say", item).textContent = entry.say ?? "";
    $(".body", item).textContent = entry.body ?? "";
    $("details", item).hidden = !entry.body;
    $("details", item).open = entry.kind === "good";
    $(".next", item).hidden = !next;
    $(".next", item).textContent = next?.label ?? "";
    $(".next", item).onclick = next?.action;
    return item;
  }).reverse());
}

// For show only: a client never decides by what is in an access token (RFC 9068 §6).
const claims = (jwt) => JSON.parse(atob(jwt.split(".")[1].replaceAll("-", "+").replaceAll("_", "/")));

function showToken() {
  const age = (then) => `${Math.max(0, Math.floor(Date.now() / 1000) - then)} s ago`;
  const given = client.token ? claims(client.token) : null;
  const rows = given
    ? { sub: given.sub, acr: given.acr, auth_time: age(given.auth_time), scope: given.scope }
    : { "": "none" };
  $("#token").replaceChildren(...Object.entries(rows).flatMap(([name, value]) =>
    [["dt", name], ["dd", value]].map(([tag, text]) =>
      Object.assign(document.createElement(tag), { textContent: text }))));
}

$("#gateway").textContent = $("#gateway").href = settings.gateway;
for (const button of document.querySelectorAll("[data-request]"))
  button.onclick = () => call(button.dataset.request);
$("#log-in").onclick = () => client.authorize();
$("#forget").onclick = () => { client.forget(); show(); };
$("#clear").onclick = () => { log.length = 0; sessionStorage.removeItem("log"); show(); };
setInterval(showToken, 1000);
show();
await client.comeBack();
