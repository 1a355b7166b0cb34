--- The bridge's answer: read, and refused unless it is exactly one.
-- Place in the flow: after `bridge`. Pure: JSON in, a table out.


local cjson = require "cjson.safe"


local concat = table.concat
local find = string.find
local floor = math.floor
local ipairs = ipairs
local lower = string.lower
local pairs = pairs
local type = type


local ERR_JSON = "the answer is not a JSON object"
local ERR_ALLOW = "the answer's allow is not a boolean"
local ERR_UPSTREAM = "the answer's upstream is not of the right form"
local ERR_RESPONSE = "the answer's response is not of the right form"
local ERR_STATUS = "the answer's status is none for a denial"
local ERR_HEADER = "the answer has a header that cannot be sent"

-- The connection's, not the bridge's: a wrong one lets two hops read different
-- messages.
local FRAMING = {
  ["connection"] = true,
  ["content-length"] = true,
  ["keep-alive"] = true,
  ["trailer"] = true,
  ["transfer-encoding"] = true,
  ["upgrade"] = true,
}

-- nginx closes the connection for these instead of responding.
local UNSENDABLE_STATUS = { [408] = true, [444] = true, [499] = true }


local _M = {}


-- RFC 9110 §5.6.2, token.
local function is_name(name)
  return type(name) == "string"
         and not find(name, "[^%w!#$%%&'*+.^_`|~-]")
         and name ~= ""
         and not FRAMING[lower(name)]
end


-- RFC 9110 §5.5: no CR, LF, NUL or other control characters but tab.
local function is_value(value)
  return type(value) == "string" and not find(value, "[%z\1-\8\10-\31\127]")
end


local function is_list(value)
  if type(value) ~= "table" then
    return false
  end

  local count = 0
  for _ in pairs(value) do
    count = count + 1
  end
  return count == #value
end


local function read_allow(upstream)
  if type(upstream) ~= "table"
     or type(upstream.set) ~= "table"
     or not is_list(upstream.remove)
  then
    return nil, ERR_UPSTREAM
  end

  for name, value in pairs(upstream.set) do
    if not is_name(name) or not is_value(value) then
      return nil, ERR_HEADER
    end
  end

  for _, name in ipairs(upstream.remove) do
    if not is_name(name) then
      return nil, ERR_HEADER
    end
  end

  return { allow = true, set = upstream.set, remove = upstream.remove }
end


local function is_denial(status)
  return type(status) == "number"
         and status >= 400 and status <= 599
         and floor(status) == status
         and not UNSENDABLE_STATUS[status]
end


-- A header given several times becomes several lines, but for
-- `WWW-Authenticate`: nginx keeps only the last line of it, so that its
-- challenges are joined (RFC 9110 §11.6.1).
local function read_headers(pairs_of_strings)
  local lists = {}
  for _, pair in ipairs(pairs_of_strings) do
    if not is_list(pair) or #pair ~= 2
       or not is_name(pair[1]) or not is_value(pair[2])
    then
      return nil, ERR_HEADER
    end

    local name = lower(pair[1])
    local list = lists[name] or {}
    list[#list + 1] = pair[2]
    lists[name] = list
  end

  local headers = {}
  for name, list in pairs(lists) do
    if name == "www-authenticate" then
      headers[name] = concat(list, ", ")
    else
      headers[name] = #list == 1 and list[1] or list
    end
  end
  return headers
end


local function read_denial(response)
  if type(response) ~= "table"
     or type(response.body) ~= "string"
     or not is_list(response.headers)
  then
    return nil, ERR_RESPONSE
  end

  if not is_denial(response.status) then
    return nil, ERR_STATUS
  end

  local headers, err = read_headers(response.headers)
  if not headers then
    return nil, err
  end

  return {
    allow = false,
    status = response.status,
    headers = headers,
    body = response.body,
  }
end


--- Reads an answer.
-- @tparam string body JSON
-- @treturn table|nil `allow` with `set` (name → value) and `remove` (names), or
--   `allow` false with `status`, `headers` (name → value or values) and `body`
-- @treturn string|nil what is wrong; holds nothing of the answer
function _M.read(body)
  local document = cjson.decode(body)
  if type(document) ~= "table" then
    return nil, ERR_JSON
  end

  if document.allow == true then
    return read_allow(document.upstream)
  end
  if document.allow == false then
    return read_denial(document.response)
  end
  return nil, ERR_ALLOW
end


return _M
