--- What an allow does to the request on its way to the upstream.
-- Place in the flow: last, on allow only.


local names = require "kong.plugins.stepup-bridge.names"


local canonical = names.canonical
local concat = table.concat
local gmatch = string.gmatch
local ipairs = ipairs
local ngx = ngx
local pairs = pairs
local type = type


local _M = {}


-- A client that sends `Connection: x-stepup-subject` makes the next hop drop
-- the header (RFC 9110 §7.6.1), and Kong is that hop: after the plugins it
-- clears what `Connection` names, with what this plugin has set.
local function unlist_from_connection(owned, connection)
  if not connection then
    return
  end

  if type(connection) == "table" then
    connection = concat(connection, ",")
  end

  local kept, found = {}, false
  for option in gmatch(connection, "[^,%s]+") do
    if owned[canonical(option)] then
      found = true
    else
      kept[#kept + 1] = option
    end
  end
  if not found then
    return
  end

  if kept[1] then
    kong.service.request.set_header("connection", concat(kept, ", "))
  else
    kong.service.request.clear_header("connection")
  end
  -- Kong 3.6 to 3.9 would go by the headers as it read them for the router.
  ngx.ctx.cached_request_headers = nil
end


--- Sets the identity headers, after clearing every spelling of them that the
-- client sent.
-- @tparam table set name → value
-- @tparam table remove names
function _M.apply(set, remove)
  local owned = {}
  for name in pairs(set) do
    owned[canonical(name)] = true
  end
  for _, name in ipairs(remove) do
    owned[canonical(name)] = true
  end

  -- 0 is "all": a forged header must not hide behind a limit.
  local received = ngx.req.get_headers(0)
  for name in pairs(received) do
    if owned[canonical(name)] then
      kong.service.request.clear_header(name)
    end
  end

  unlist_from_connection(owned, received.connection)

  for name, value in pairs(set) do
    kong.service.request.set_header(name, value)
  end
end


return _M
