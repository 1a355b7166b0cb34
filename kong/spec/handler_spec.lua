local fake_ngx = require "fake_ngx"


local OK = "HTTP/1.1 200 OK\r\n\r\n"


-- @return what happened
-- @return whether `access` came back
local function access(connection, changes)
  local world = fake_ngx.install(fake_ngx.request(changes))
  world.connections = { connection }
  local handler = fake_ngx.load("handler")
  local came_back, err = pcall(handler.access, handler, fake_ngx.conf())
  assert(came_back or err == world.exit, err)
  return world, came_back
end


describe("the plugin", function()
  it("loads where there is no kong yet", function()
    _G.kong = nil
    local handler = fake_ngx.load("handler")
    assert.is_function(handler.access)
  end)

  it("has a version, and a priority among the bundled plugins'", function()
    local handler = fake_ngx.load("handler")
    assert.matches("^%d+%.%d+%.%d+$", handler.VERSION)
    assert.equal(0, handler.PRIORITY % 1)
    -- ip-restriction 990, acl 950
    assert.is_true(handler.PRIORITY < 990 and handler.PRIORITY > 950)
  end)

  it("works in access alone, where sockets are and errors deny", function()
    local handler = fake_ngx.load("handler")
    for _, phase in ipairs({ "rewrite", "response", "header_filter",
                             "body_filter", "log", "init_worker" }) do
      assert.is_nil(handler[phase])
    end
  end)

  it("keeps nothing of a request on its table", function()
    local world = fake_ngx.install(fake_ngx.request())
    world.connections = {
      { OK .. '{"allow":true,"upstream":{"set":{},"remove":[]}}' },
    }
    local handler = fake_ngx.load("handler")
    local before = {}
    for name, value in pairs(handler) do
      before[name] = value
    end
    handler:access(fake_ngx.conf())
    assert.same(before, handler)
  end)

  it("lets an allow pass with its headers", function()
    local world, came_back = access({
      OK .. '{"allow":true,"upstream":{"set":{"a":"b"},"remove":[]}}',
    })
    assert.is_true(came_back)
    assert.is_nil(world.exit)
    assert.same({ "set_header", "a", "b" }, world.calls[#world.calls])
    assert.same({}, world.log)
  end)

  it("responds with a denial as given", function()
    local world = access({
      OK .. '{"allow":false,"response":{"status":401,'
      .. '"headers":[["www-authenticate","Bearer"]],"body":""}}',
    })
    assert.same({
      status = 401,
      headers = { ["www-authenticate"] = "Bearer" },
      -- Not nil, for which nginx has a page of its own.
      body = "",
    }, world.exit)
    assert.same({}, world.log)
  end)

  for name, case in pairs({
    ["no bridge"] = { { refuses = "connection refused" },
                      "no connection: connection refused" },
    ["no proper answer"] = { { OK .. '{"allow":1}' },
                             "the answer's allow is not a boolean" },
  }) do
    it("refuses with 503 where there is " .. name, function()
      local world = access(case[1], {
        target = "/a?secret",
        headers = { host = "api.test", authorization = "secret" },
        variables = { kong_request_id = "r1" },
      })
      assert.same({
        status = 503,
        body = '{"error":"temporarily_unavailable",'
          .. '"error_description":"Access cannot be checked at the moment"}',
        headers = {
          ["Content-Type"] = "application/json",
          ["Cache-Control"] = "no-store",
          ["Retry-After"] = "1",
        },
      }, world.exit)
      assert.same({
        "[stepup-bridge] request refused, no decision from "
        .. "http://127.0.0.1:9191: " .. case[2] .. " (request_id: r1)",
      }, world.log)
    end)
  end

  it("logs outside of the request, whose line has the query", function()
    local outside
    local world = fake_ngx.install(fake_ngx.request())
    ngx.log = function()
      outside = world.in_timer
    end
    local handler = fake_ngx.load("handler")
    pcall(handler.access, handler, fake_ngx.conf())
    assert.is_true(outside)
  end)

  it("logs without a request id where Kong is older than 3.5", function()
    local world = access({ refuses = "x" })
    assert.matches("%(request_id: %-%)$", world.log[1])
  end)
end)
