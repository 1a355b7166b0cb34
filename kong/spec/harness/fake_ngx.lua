--- The `ngx` and `kong` that the specs give to the plugin: what it does to them
-- is recorded, and sockets say what a spec tells them to. The real ones are met
-- in `tests/kong`.


local _M = {}


-- @param steps what the connection gives, in turn: a string is received, `nil,
--   err` fails; see `new_socket` for the rest
local function new_socket(world)
  local sock = { calls = {} }
  local step

  local function record(name, ...)
    world.calls[#world.calls + 1] = { name, ... }
  end

  function sock.settimeouts(_, ...)
    record("settimeouts", ...)
  end

  function sock.connect(_, ...)
    record("connect", ...)
    step = table.remove(world.connections, 1) or { refuses = "no more" }
    if step.refuses then
      return nil, step.refuses
    end
    return 1
  end

  function sock.getreusedtimes()
    return step.reused and 1 or 0
  end

  function sock.sslhandshake(_, ...)
    record("sslhandshake", ...)
    if step.handshake_fails then
      return nil, step.handshake_fails
    end
    return true
  end

  function sock.send(_, bytes)
    record("send", bytes)
    if step.send_fails then
      return nil, step.send_fails
    end
    return #bytes
  end

  function sock.receiveany(_, size)
    assert(size > 0)
    local piece = table.remove(step, 1)
    if not piece then
      return nil, step.ends or "closed"
    end
    return piece
  end

  function sock.setkeepalive(_, ...)
    record("setkeepalive", ...)
    return 1
  end

  function sock.close()
    record("close")
    return 1
  end

  return sock
end


local function new_threads(world)
  local threads = {}

  function threads.spawn(run, ...)
    local thread = { run = run, arguments = { ... } }
    world.threads[#world.threads + 1] = thread
    return thread
  end

  function threads.wait(work, watch)
    local thread = world.watch_wins and watch or work
    return pcall(thread.run, unpack(thread.arguments))
  end

  function threads.kill(thread)
    thread.killed = true
  end

  return threads
end


--- Makes both globals.
-- @tparam table request `method`, `scheme`, `host`, `target`, `headers` (as
--   `ngx.req.get_headers` gives them), `variables`
-- @treturn table what happened: `calls` on sockets and on the request,
--   `exit`, `log`, `threads`; `connections` is what the sockets will do
function _M.install(request)
  local world = {
    calls = {}, connections = {}, threads = {}, log = {}, limits = {},
  }

  _G.ngx = {
    ERR = 4,
    ctx = { cached_request_headers = {} },
    null = {},
    var = request.variables or {},
    socket = { tcp = function() return new_socket(world) end },
    thread = new_threads(world),
    sleep = function(seconds) world.slept = seconds end,
    decode_base64 = function(text)
      return text == "QUJD" and "ABC" or nil
    end,
    log = function(level, line)
      assert(level == ngx.ERR)
      world.log[#world.log + 1] = line
    end,
    timer = {
      at = function(delay, run, ...)
        assert(delay == 0)
        world.in_timer = true
        run(false, ...)
        world.in_timer = false
        return true
      end,
    },
    req = {
      get_headers = function(limit)
        world.limits[#world.limits + 1] = limit
        return request.headers
      end,
    },
  }

  local function record(name)
    return function(...)
      world.calls[#world.calls + 1] = { name, ... }
    end
  end

  _G.kong = {
    request = {
      get_method = function() return request.method end,
      get_scheme = function() return request.scheme end,
      get_host = function() return request.host end,
      get_path_with_query = function() return request.target end,
    },
    service = {
      request = {
        set_header = record("set_header"),
        clear_header = record("clear_header"),
      },
    },
    response = {
      -- The real one does not come back.
      exit = function(status, body, headers)
        world.exit = { status = status, body = body, headers = headers }
        error(world.exit)
      end,
    },
  }

  return world
end


--- Loads a module of the plugin anew, with the globals as they are now.
function _M.load(name)
  for loaded in pairs(package.loaded) do
    if string.find(loaded, "^kong%.plugins%.stepup%-bridge") then
      package.loaded[loaded] = nil
    end
  end

  package.loaded["resty.sha256"] = {
    new = function()
      return {
        update = function(self, bytes) self.bytes = bytes end,
        final = function(self) return "\0\15\255" .. self.bytes end,
      }
    end,
  }
  return require("kong.plugins.stepup-bridge." .. name)
end


--- A request with nothing special, to be changed by a spec.
function _M.request(changes)
  local request = {
    method = "GET",
    scheme = "https",
    host = "api.test",
    target = "/a?b",
    headers = { host = "api.test" },
  }
  for name, value in pairs(changes or {}) do
    request[name] = value
  end
  return request
end


--- A configuration as Kong gives it, with what it adds.
function _M.conf(changes)
  local conf = {
    __key__ = "plugins:stepup-bridge:::::",
    __plugin_id = "a",
    url = "http://127.0.0.1:9191",
    timeout = 2500,
    keepalive = 60000,
    pool_size = 256,
    ssl_verify = true,
    forward_headers = { "authorization", "x-method-override" },
  }
  for name, value in pairs(changes or {}) do
    conf[name] = value
  end
  return conf
end


return _M
