--- Where the bridge listens: the `url` of the configuration taken apart.
-- Place in the flow: the schema refuses what does not parse, `bridge` connects
-- to what does.


local match = string.match
local tonumber = tonumber
local type = type


local DEFAULT_PORTS = { http = 80, https = 443 }
local MAX_PORT = 65535
-- sun_path of Linux holds 108 bytes with the closing NUL.
local MAX_SOCKET_PATH_BYTES = 107

local ERR_URL = "must be http://host[:port], https://host[:port] or "
                .. "unix:/path, without a path, query or user"


local _M = {}


--- Takes the bridge's URL apart.
-- @tparam string url
-- @treturn table|nil `host` (or `unix:/path`) to connect to, `port` (nil for a
--   socket), `authority` for the `Host` header, `tls`
-- @treturn string|nil what is wrong
function _M.parse(url)
  if type(url) ~= "string" then
    return nil, ERR_URL
  end

  local path = match(url, "^unix:(/[^%c]+)$")
  if path then
    if #path > MAX_SOCKET_PATH_BYTES then
      return nil, "the socket's path must not be longer than "
                  .. MAX_SOCKET_PATH_BYTES .. " bytes"
    end
    return { host = url, authority = "localhost", tls = false }
  end

  local scheme, authority = match(url, "^(https?)://([^/?#@%c ]+)$")
  if not scheme then
    return nil, ERR_URL
  end

  local host, port = match(authority, "^([%w._-]+):?(%d*)$")
  if not host then
    host, port = match(authority, "^(%[[%x:.]+%]):?(%d*)$")
  end
  if not host or match(authority, ":$") then
    return nil, ERR_URL
  end

  port = port == "" and DEFAULT_PORTS[scheme] or tonumber(port)
  if port < 1 or port > MAX_PORT then
    return nil, "the port must be between 1 and " .. MAX_PORT
  end

  return {
    host = host,
    port = port,
    authority = authority,
    tls = scheme == "https",
  }
end


return _M
