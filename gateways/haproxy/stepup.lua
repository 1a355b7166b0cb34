-- HAProxy asks the bridge about a request, and applies its answer.
--
-- Load it in `global` (lua-load), and call it with the bridge's address:
--   http-request lua.stepup http://127.0.0.1:9191
--   http-request lua.stepup unix@/run/bridge/authz.sock
--
-- No policy here, and no state. Fails closed: without a proper answer nothing
-- passes. Needs HAProxy 2.6 and later, whose HTTP client it uses.


local TIMEOUT_MS = 2500
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
  "traceparent",
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
  local on_socket = string.find(bridge, "^unix@") ~= nil
  local answer = core.httpclient():get({
    url = (on_socket and "http://bridge" or bridge) .. "/forward-auth",
    dst = on_socket and bridge or nil,
    headers = question(txn, received),
    timeout = TIMEOUT_MS,
  })

  if not answer or not answer.status or answer.status == 0 then
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
