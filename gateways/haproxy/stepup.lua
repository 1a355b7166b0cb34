-- HAProxy asks the bridge about a request, and applies its answer.
--
-- Load it in `global` (lua-load), and call it with the URL of a frontend of
-- this HAProxy that leads to the bridge:
--   http-request lua.stepup http://127.0.0.1:9190
--
-- Not with the bridge's own: the client in Lua waits seconds for one that is
-- down, and opens a connection for every check. A backend does better.
--
-- No policy here, and no state. Fails closed: without a proper answer nothing
-- passes. Needs HAProxy 2.6 and later, whose HTTP client it uses.


-- More than the backend's `timeout server`.
local TIMEOUT_MS = 3500
local UNAVAILABLE_BODY = '{"error":"temporarily_unavailable",'
  .. '"error_description":"Access cannot be checked at the moment"}'

-- What the bridge's rules are about, all lines of each; never a cookie.
local FORWARDED = {
  "authorization",
  "origin",
  "access-control-request-method",
  "dpop",
  "x-http-method-override",
  "x-method-override",
  "x-http-method",
  "x-request-id",
}

-- The connection's, not the bridge's.
local FRAMING = {
  ["connection"] = true,
  ["content-length"] = true,
  ["keep-alive"] = true,
  ["server"] = true,
  ["transfer-encoding"] = true,
}


-- Lines of a header are numbered from 0.
local function values(lines)
  local list = {}
  for at = 0, #lines do
    list[#list + 1] = lines[at]
  end
  return list
end


-- The names of `upstream_headers` all contain this, in any spelling: with
-- other names, say so here.
local function is_identity(name)
  return string.find(string.gsub(name, "_", "-"), "^x%-stepup%-") ~= nil
end


local function deny(txn, status, headers, body)
  local reply = txn:reply({ status = status, body = body })
  for _, header in ipairs(headers) do
    reply:add_header(header[1], header[2])
  end
  txn:done(reply)
end


local function refuse(txn)
  deny(txn, 503, {
    { "content-type", "application/json" },
    { "cache-control", "no-store" },
    { "retry-after", "1" },
  }, UNAVAILABLE_BODY)
end


-- When the bridge is down or slow HAProxy makes up a response of its own.
local function is_from_bridge(answer)
  local server = answer and answer.headers and answer.headers["server"]
  return server ~= nil and server[0] == "stepup-bridge"
end


local function question(txn, received)
  local asked = {
    ["x-forwarded-method"] = { txn.sf:method() },
    ["x-forwarded-proto"] = { txn.f:ssl_fc() == 1 and "https" or "http" },
    -- The raw target, with its query.
    ["x-forwarded-uri"] = { txn.sf:pathq() },
    ["x-forwarded-host"] = received["host"] and values(received["host"]) or {},
  }
  for _, name in ipairs(FORWARDED) do
    if received[name] then
      asked[name] = values(received[name])
    end
  end
  return asked
end


core.register_action("stepup", { "http-req" }, function(txn, bridge)
  local received = txn.http:req_get_headers()
  local answer = core.httpclient():get({
    url = bridge .. "/forward-auth",
    headers = question(txn, received),
    timeout = TIMEOUT_MS,
  })

  if not is_from_bridge(answer) then
    return refuse(txn)
  end

  if answer.status == 200 then
    for name in pairs(received) do
      if is_identity(name) then
        txn.http:req_del_header(name)
      end
    end
    for name, lines in pairs(answer.headers) do
      if is_identity(name) then
        txn.http:req_set_header(name, lines[0])
      end
    end
    return
  end

  if answer.status < 400 or answer.status > 599 then
    return refuse(txn)
  end

  local headers = {}
  for name, lines in pairs(answer.headers) do
    if not FRAMING[name] then
      for _, value in ipairs(values(lines)) do
        headers[#headers + 1] = { name, value }
      end
    end
  end
  deny(txn, answer.status, headers, answer.body or "")
end, 1)
