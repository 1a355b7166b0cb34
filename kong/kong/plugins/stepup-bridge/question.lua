--- The question to the bridge: the client's request as it came.
-- Place in the flow: first. Reads the request, decides nothing, reads no body.
-- Spec: docs of `POST /v1/check`.


local cjson = require "cjson.safe"
local names = require "kong.plugins.stepup-bridge.names"
local sha256 = require "resty.sha256"


local byte = string.byte
local canonical = names.canonical
local char = string.char
local concat = table.concat
local find = string.find
local floor = math.floor
local format = string.format
local gsub = string.gsub
local ipairs = ipairs
local lower = string.lower
local match = string.match
local ngx = ngx
local pairs = pairs
local type = type


local _M = {}


-- A byte over 0x7f becomes the code point of the same number. A client's bytes
-- are not always UTF-8, JSON always is: sent as they are, they would make the
-- question malformed, and the answer 503 instead of the client's 400.
local function encode_byte(c)
  local code = byte(c)
  return char(0xc0 + floor(code / 0x40), 0x80 + code % 0x40)
end


local function text(bytes)
  if find(bytes, "[\128-\255]") then
    bytes = gsub(bytes, "[\128-\255]", encode_byte)
  end
  return bytes
end


-- Every value of the wanted headers, under one spelling of the name: an
-- upstream that takes `x_http_method_override` for the real one must not get
-- past the bridge's rule about it.
local function wanted_headers(forward_headers, received)
  local wanted = {}
  for _, name in ipairs(forward_headers) do
    wanted[canonical(name)] = {}
  end

  for name, value in pairs(received) do
    local values = wanted[canonical(name)]
    if values and type(value) == "table" then
      for _, one in ipairs(value) do
        values[#values + 1] = text(one)
      end
    elseif values then
      values[#values + 1] = text(value)
    end
  end

  local headers = {}
  for name, values in pairs(wanted) do
    if values[1] then
      headers[name] = values
    end
  end
  return headers
end


-- Kong's router and `preserve_host` go by `Host`, but a target in absolute form
-- overrides it (RFC 9112 §3.2.2), and nginx's `$host` follows the target. Where
-- they differ, or there are several, the bridge is told all of them, and
-- refuses that as it refuses two `Host` lines.
local function host(received)
  local value = received.host
  if not value then
    return ""
  end

  if type(value) == "table" then
    return text(concat(value, ", "))
  end

  local name = gsub(gsub(lower(value), ":%d*$", ""), "%.$", "")
  local effective = kong.request.get_host()
  if name ~= "" and name ~= effective then
    value = value .. ", " .. effective
  end
  return text(value)
end


-- Whether the certificate is one to trust is the bridge's question: a token may
-- be bound to a self-signed one (RFC 8705 §2.2). Kong, when it asks for one,
-- has seen that the client holds the key.
local function certificate_sha256()
  local pem = ngx.var.ssl_client_raw_cert
  if not pem then
    return nil
  end

  local base64 = match(pem, "BEGIN CERTIFICATE%-+(.-)%-+END CERTIFICATE")
  local der = base64 and ngx.decode_base64((gsub(base64, "%s+", "")))
  if not der then
    return nil
  end

  local digest = sha256:new()
  digest:update(der)
  return (gsub(digest:final(), ".", function(c)
    return format("%02x", byte(c))
  end))
end


--- Writes the question.
-- @tparam table conf the plugin's configuration
-- @treturn string JSON
function _M.write(conf)
  -- 0 is "all": with a limit, what stands behind it would go unseen. nginx's
  -- `large_client_header_buffers` bounds them.
  local received = ngx.req.get_headers(0)

  return cjson.encode({
    method = kong.request.get_method(),
    scheme = kong.request.get_scheme(),
    host = host(received),
    -- The target as on the wire, neither decoded nor normalised.
    path = text(kong.request.get_path_with_query()),
    headers = wanted_headers(conf.forward_headers, received),
    client_certificate_sha256 = certificate_sha256(),
  })
end


return _M
