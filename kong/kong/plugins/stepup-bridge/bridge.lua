--- The conversation with the bridge: one `POST /v1/check`, one answer.
-- Place in the flow: between `question` and `answer`; the only part that does
-- I/O. It speaks HTTP/1.1 on the cosocket itself, since `resty.http` can
-- neither bound a header line nor tell whether a failed answer had begun.
-- Spec: RFC 9112.


local url = require "kong.plugins.stepup-bridge.url"


local concat = table.concat
local find = string.find
local lower = string.lower
local match = string.match
local ngx = ngx
local sub = string.sub
local tonumber = tonumber
local tostring = tostring


local MAX_ANSWER_BYTES = 256 * 1024
local READ_BYTES = 16 * 1024
local MAX_CHUNK_LINE_BYTES = 256

local ERR_TOO_LARGE = "the answer has over " .. MAX_ANSWER_BYTES .. " bytes"
local ERR_NOT_HTTP = "the answer is not HTTP/1.1"
local ERR_FRAMING = "the answer's length is unclear"
local ERR_TIMEOUT = "timeout"


local _M = {}


-- What has come of the answer so far. `more` gives nil and an error, at the
-- latest when the answer gets too large.
local function new_reader(sock)
  local reader = { data = "" }

  function reader.more()
    local bytes, err = sock:receiveany(READ_BYTES)
    if not bytes then
      return nil, err
    end

    reader.data = reader.data .. bytes
    if #reader.data > MAX_ANSWER_BYTES then
      return nil, ERR_TOO_LARGE
    end
    return true
  end

  function reader.up_to(size)
    while #reader.data < size do
      local ok, err = reader.more()
      if not ok then
        return nil, err
      end
    end
    return true
  end

  return reader
end


-- @return the head in lower case with CRLF after each line, or nil
-- @return where the body begins, or what failed
local function read_head(reader)
  while true do
    local head_end, body_start = find(reader.data, "\r\n\r\n", 1, true)
    if head_end then
      return lower(sub(reader.data, 1, head_end + 1)), body_start + 1
    end

    local ok, err = reader.more()
    if not ok then
      return nil, err
    end
  end
end


local function field(head, name)
  return match(head, "\r\n" .. name .. ":[ \t]*([^\r\n]-)[ \t]*\r\n")
end


-- RFC 9112 §7.1; trailers are not understood.
local function read_chunks(reader, at)
  local parts = {}

  while true do
    local _, line_end, size = find(reader.data, "^(%x+)[^\r\n]*\r\n", at)
    if line_end then
      local chunk_end = line_end + tonumber(size, 16)
      local ok, err = reader.up_to(chunk_end + 2)
      if not ok then
        return nil, err
      end

      if sub(reader.data, chunk_end + 1, chunk_end + 2) ~= "\r\n" then
        return nil, ERR_FRAMING
      end

      at = chunk_end + 3
      if chunk_end == line_end then
        return concat(parts), at
      end
      parts[#parts + 1] = sub(reader.data, line_end + 1, chunk_end)

    elseif #reader.data - at > MAX_CHUNK_LINE_BYTES then
      return nil, ERR_FRAMING

    else
      local ok, err = reader.more()
      if not ok then
        return nil, err
      end
    end
  end
end


-- @return the body, or nil
-- @return where it ends (nil: with the connection), or what failed
local function read_body(reader, head, at)
  local coding = field(head, "transfer%-encoding")
  local length = field(head, "content%-length")

  if coding then
    if coding ~= "chunked" or length then
      return nil, ERR_FRAMING
    end
    return read_chunks(reader, at)
  end

  if length then
    if not match(length, "^%d+$") then
      return nil, ERR_FRAMING
    end

    length = tonumber(length)
    if length > MAX_ANSWER_BYTES then
      return nil, ERR_TOO_LARGE
    end

    local ok, err = reader.up_to(at + length - 1)
    if not ok then
      return nil, err
    end
    return sub(reader.data, at, at + length - 1), at + length
  end

  local ok, err
  repeat
    ok, err = reader.more()
  until not ok
  if err ~= "closed" then
    return nil, err
  end
  return sub(reader.data, at)
end


-- @return the body, or nil
-- @return whether the connection can serve again, or what failed
-- @return whether it failed before any byte of the answer
local function receive(sock)
  local reader = new_reader(sock)

  local head, body_start = read_head(reader)
  if not head then
    local err = body_start
    return nil, err, reader.data == "" and err ~= ERR_TIMEOUT
  end

  local minor, status = match(head, "^http/1%.([01]) (%d%d%d)[ \r]")
  if not status then
    return nil, ERR_NOT_HTTP
  end
  if status ~= "200" then
    return nil, "the answer has the status " .. status
  end

  local body, body_end = read_body(reader, head, body_start)
  if not body then
    return nil, body_end
  end

  local clean = body_end == #reader.data + 1
  local lasting = minor == "1" and field(head, "connection") ~= "close"
  return body, clean and lasting
end


local function connect(target, conf, pool)
  local sock = ngx.socket.tcp()
  sock:settimeouts(conf.timeout, conf.timeout, conf.timeout)

  local options = { pool = pool, pool_size = conf.pool_size }
  local ok, err
  if target.port then
    ok, err = sock:connect(target.host, target.port, options)
  else
    ok, err = sock:connect(target.host, options)
  end
  if not ok then
    return nil, "no connection: " .. tostring(err)
  end

  local reused = sock:getreusedtimes() > 0
  if target.tls and not reused then
    -- false: no session object, which nobody would use.
    ok, err = sock:sslhandshake(false, target.host, conf.ssl_verify)
    if not ok then
      sock:close()
      return nil, "no TLS connection: " .. tostring(err)
    end
  end

  return sock, nil, reused
end


-- @return the answer's body, or nil
-- @return what failed
-- @return whether the connection was stale: pooled, and gone before any byte
local function exchange(target, conf, request, pool, keep)
  local sock, err, reused = connect(target, conf, pool)
  if not sock then
    return nil, err
  end

  local sent
  sent, err = sock:send(request)
  if not sent then
    sock:close()
    return nil, "not sent: " .. err, reused and err ~= ERR_TIMEOUT
  end

  local body, lasting, untouched = receive(sock)
  if not body then
    sock:close()
    return nil, "no answer: " .. lasting, reused and untouched
  end

  if keep and lasting then
    sock:setkeepalive(conf.keepalive, conf.pool_size)
  else
    sock:close()
  end
  return body
end


local function ask_twice_if_stale(target, conf, request)
  -- Connections that were verified, or should be, are never mixed with others.
  local pool = "stepup-bridge " .. conf.url .. " " .. tostring(conf.ssl_verify)
  local keep = conf.keepalive > 0

  local body, err, stale = exchange(target, conf, request, pool, keep)
  if body or not stale then
    return body, err
  end

  -- The bridge closed while the question was under way. A pool that nothing is
  -- returned to gives a new connection, not the next stale one.
  return exchange(target, conf, request, pool .. " once", false)
end


local function sleep(milliseconds)
  ngx.sleep(milliseconds / 1000)
end


--- Asks the bridge. Takes no longer than `timeout` in all: resolving, TLS,
-- drip-fed answers and the second try included.
-- @tparam table conf the plugin's configuration
-- @tparam string question JSON
-- @treturn string|nil the body of an answer with the status 200
-- @treturn string|nil what failed; holds nothing of question or answer
function _M.ask(conf, question)
  local target, err = url.parse(conf.url)
  if not target then
    return nil, "url " .. err
  end

  local request = concat({
    "POST /v1/check HTTP/1.1\r\n",
    "Host: ", target.authority, "\r\n",
    "User-Agent: kong-plugin-stepup-bridge\r\n",
    "Accept: application/json\r\n",
    "Content-Type: application/json\r\n",
    "Content-Length: ", #question, "\r\n\r\n",
    question,
  })

  -- The socket's own time-outs start anew with every byte.
  local work = ngx.thread.spawn(ask_twice_if_stale, target, conf, request)
  local watch = ngx.thread.spawn(sleep, conf.timeout)
  local ok, body, fault = ngx.thread.wait(work, watch)

  if ok and not body and not fault then
    ngx.thread.kill(work)
    return nil, ERR_TIMEOUT
  end

  ngx.thread.kill(watch)
  if not ok then
    return nil, "the plugin failed: " .. tostring(body)
  end
  return body, fault
end


return _M
