--- A stand-in for Kong around this plugin, for its tests. It is no Kong: it has
-- the parts of Kong's PDK that the plugin calls, behaving as Kong 3.9.1 was
-- observed to, and the two steps of its run loop that touch what the plugin
-- does: routing by `Host`, and clearing what `Connection` names after the
-- plugins have run. Sockets, headers, variables and time are nginx's own.


local cjson = require "cjson.safe"
local validate = require "schema_stand_in".validate


local _M = {}


local MAX_HEADERS = 1000

-- host → the plugin's configuration
local routes = {}
local handler


local function check_header(name, value)
  if type(name) ~= "string" then
    error("invalid header name: got " .. type(name) .. ", expected string", 3)
  end

  if type(value) == "table" then
    for _, one in ipairs(value) do
      if type(one) ~= "string" then
        error("invalid header value in array: got " .. type(one), 3)
      end
    end

  elseif type(value) ~= "string" and type(value) ~= "number"
         and type(value) ~= "boolean"
  then
    error("invalid header value: got " .. type(value), 3)
  end
end


local request = {}


function request.get_method()
  return ngx.req.get_method()
end


function request.get_scheme()
  return ngx.var.scheme
end


function request.get_host()
  return ngx.var.host
end


-- The target as on the wire.
function request.get_path_with_query()
  return ngx.var.request_uri or ""
end


-- Of several the first; `-` and `_` are the same to it.
function request.get_header(name)
  local value = ngx.req.get_headers(0)[name]
  if type(value) == "table" then
    return value[1]
  end
  return value
end


function request.get_headers(max_headers)
  if max_headers ~= nil
     and (type(max_headers) ~= "number" or max_headers < 1
          or max_headers > MAX_HEADERS)
  then
    error("max_headers must be a number from 1 to " .. MAX_HEADERS, 2)
  end
  return ngx.req.get_headers(max_headers or 100)
end


local service_request = {}


function service_request.set_header(name, value)
  check_header(name, value)
  ngx.req.set_header(name, value)
end


-- Clears this spelling only: `x-a` does not clear `x_a`.
function service_request.clear_header(name)
  if type(name) ~= "string" then
    error("header must be a string", 2)
  end
  ngx.req.clear_header(name)
end


local response = {}


-- Does not come back: what follows it in a plugin does not run, not even in
-- `pcall`. A string body gets no Content-Type.
function response.exit(status, body, headers)
  if type(status) ~= "number" or status < 100 or status > 599 then
    error("code must be a number between 100 and 599", 2)
  end
  if body ~= nil and type(body) ~= "string" and type(body) ~= "table" then
    error("body must be a nil, string or table", 2)
  end

  for name, value in pairs(headers or {}) do
    check_header(name, value)
  end

  ngx.status = status
  for name, value in pairs(headers or {}) do
    ngx.header[name] = value
  end

  if type(body) == "table" then
    body = cjson.encode(body)
    ngx.header["Content-Type"] = ngx.header["Content-Type"]
                                 or "application/json; charset=utf-8"
  end
  if body then
    ngx.header["Content-Length"] = #body
    ngx.print(body)
  end
  return ngx.exit(status)
end


local function new_pdk()
  return {
    request = request,
    service = { request = service_request },
    response = response,
    configuration = {},
  }
end


-- As Kong does when all plugins have run: by the headers as they were when it
-- routed the request, unless something made it forget them.
local function clear_what_connection_names()
  local ctx = ngx.ctx
  ctx.cached_request_headers = ctx.cached_request_headers
                               or ngx.req.get_headers(100)

  local connection = ctx.cached_request_headers.connection
  if type(connection) == "table" then
    connection = connection[1]
  end

  for name in string.gmatch(connection or "", "[^,%s]+") do
    name = string.lower(name)
    if name ~= "close" and name ~= "keep-alive" and name ~= "upgrade" then
      ngx.req.clear_header(name)
    end
  end
end


--- Loads the plugin and its configurations, refusing what Kong would refuse.
-- @tparam string file JSON: host → the plugin's configuration
function _M.init(file)
  -- Before there is a `kong`: a plugin must not need it to be loaded.
  handler = require "kong.plugins.stepup-bridge.handler"
  local schema = require "kong.plugins.stepup-bridge.schema"
  assert(type(handler.VERSION) == "string", "VERSION is mandatory")
  assert(math.floor(handler.PRIORITY) == handler.PRIORITY)

  local opened = assert(io.open(file))
  for host, conf in pairs(assert(cjson.decode(opened:read("*a")))) do
    local complete, err = validate(schema, conf)
    if not complete then
      error("declarative config is invalid: " .. cjson.encode(err), 0)
    end
    routes[host] = complete
  end
  opened:close()

  _G.kong = new_pdk()
end


function _M.access()
  ngx.ctx.cached_request_headers = ngx.req.get_headers(100)

  local host = string.gsub(ngx.var.http_host or "", ":%d+$", "")
  local conf = routes[host]
  if not conf then
    return response.exit(404, {
      message = "no Route matched with those values",
    })
  end

  if string.lower(ngx.var.http_upgrade or "") == "websocket" then
    ngx.var.upstream_connection = "keep-alive, Upgrade"
    ngx.var.upstream_upgrade = "websocket"
  else
    ngx.var.upstream_connection = "keep-alive"
  end

  handler:access(conf)

  clear_what_connection_names()
end


return _M
