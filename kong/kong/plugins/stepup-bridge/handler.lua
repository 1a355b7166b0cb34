--- The plugin: asks the bridge about every request and applies its answer.
-- No policy, and no state: nothing of a request outlives its `access`.


local answer = require "kong.plugins.stepup-bridge.answer"
local bridge = require "kong.plugins.stepup-bridge.bridge"
local question = require "kong.plugins.stepup-bridge.question"
local upstream = require "kong.plugins.stepup-bridge.upstream"


local ngx = ngx


local UNAVAILABLE_BODY = '{"error":"temporarily_unavailable",'
  .. '"error_description":"Access cannot be checked at the moment"}'


local StepupBridgeHandler = {
  VERSION = "0.1.0",

  -- After cors (2000), which answers or decorates for browsers, and after what
  -- refuses for less than a call to the bridge: bot-detection (2500), the
  -- authentication plugins (1450 to 1030), ip-restriction (990).
  -- Before whatever acts on the user or alters the request: acl (950),
  -- rate-limiting (910; it may count by `x-stepup-subject`, which is only then
  -- the verified one), request-transformer (801), proxy-cache (100; a cached
  -- response must not pass without a check).
  PRIORITY = 970,
}


-- In a timer, since nginx adds the request line, with the query, to whatever is
-- logged in a request.
local function write_log_line(_, line)
  ngx.log(ngx.ERR, line)
end


-- Fails closed: without a proper answer nothing passes.
local function refuse(conf, reason)
  ngx.timer.at(0, write_log_line,
               "[stepup-bridge] request refused, no decision from " .. conf.url
               .. ": " .. reason
               .. " (request_id: " .. (ngx.var.kong_request_id or "-") .. ")")

  return kong.response.exit(503, UNAVAILABLE_BODY, {
    ["Content-Type"] = "application/json",
    ["Cache-Control"] = "no-store",
    ["Retry-After"] = "1",
  })
end


function StepupBridgeHandler:access(conf)
  local body, err = bridge.ask(conf, question.write(conf))
  if not body then
    return refuse(conf, err)
  end

  local decision
  decision, err = answer.read(body)
  if not decision then
    return refuse(conf, err)
  end

  if not decision.allow then
    return kong.response.exit(decision.status, decision.body, decision.headers)
  end

  upstream.apply(decision.set, decision.remove)
end


return StepupBridgeHandler
