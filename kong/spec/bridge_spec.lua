local fake_ngx = require "fake_ngx"


local OK = "HTTP/1.1 200 OK\r\n"
local LENGTH_2 = "Content-Length: 2\r\n\r\n"
local POOL = "stepup-bridge http://127.0.0.1:9191 true"


local function ask(connections, conf, prepare)
  local world = fake_ngx.install(fake_ngx.request())
  world.connections = connections
  if prepare then
    prepare(world)
  end
  local bridge = fake_ngx.load("bridge")
  local body, err = bridge.ask(fake_ngx.conf(conf), "{}")
  return body, err, world
end


local function calls(world, name)
  local found = {}
  for _, call in ipairs(world.calls) do
    if call[1] == name then
      found[#found + 1] = call
    end
  end
  return found
end


describe("the conversation with the bridge", function()
  it("is one request with the question as its body", function()
    local body, err, world = ask({ { OK .. LENGTH_2 .. "ok" } })
    assert.equal("ok", body)
    assert.is_nil(err)
    assert.same({ {
      "send",
      "POST /v1/check HTTP/1.1\r\n"
      .. "Host: 127.0.0.1:9191\r\n"
      .. "User-Agent: kong-plugin-stepup-bridge\r\n"
      .. "Accept: application/json\r\n"
      .. "Content-Type: application/json\r\n"
      .. "Content-Length: 2\r\n\r\n{}",
    } }, calls(world, "send"))
  end)

  it("does not begin with a wrong url", function()
    local body, err, world = ask({}, { url = "http://a/b" })
    assert.is_nil(body)
    assert.matches("^url must be ", err)
    assert.same({}, world.calls)
  end)

  it("bounds each step by the time-out, and all of them", function()
    local _, _, world = ask({ { OK .. LENGTH_2 .. "ok" } })
    assert.same({ { "settimeouts", 2500, 2500, 2500 } },
                calls(world, "settimeouts"))
    assert.same({ 2500 }, world.threads[2].arguments)
    assert.is_true(world.threads[2].killed)
  end)

  it("is given up when the time is over", function()
    local body, err, world = ask({}, {}, function(prepared)
      prepared.watch_wins = true
    end)
    assert.is_nil(body)
    assert.equal("timeout", err)
    assert.equal(2.5, world.slept)
    assert.is_true(world.threads[1].killed)
  end)

  it("fails where the plugin itself does", function()
    local body, err = ask({ { {} } })
    assert.is_nil(body)
    assert.matches("^the plugin failed: ", err)
  end)

  it("goes to a socket without a port", function()
    local _, _, world = ask({ { OK .. LENGTH_2 .. "ok" } },
                            { url = "unix:/a" })
    assert.same({ {
      "connect", "unix:/a",
      { pool = "stepup-bridge unix:/a true", pool_size = 256 },
    } }, calls(world, "connect"))
  end)

  describe("over TLS", function()
    it("begins with a handshake for the host", function()
      local _, _, world = ask({ { OK .. LENGTH_2 .. "ok" } },
                              { url = "https://b", ssl_verify = false })
      assert.same({ { "sslhandshake", false, "b", false } },
                  calls(world, "sslhandshake"))
      assert.equal("stepup-bridge https://b false",
                   calls(world, "connect")[1][4].pool)
    end)

    it("has had its handshake on a kept connection", function()
      local _, _, world = ask({ { OK .. LENGTH_2 .. "ok", reused = true } },
                              { url = "https://b" })
      assert.same({}, calls(world, "sslhandshake"))
    end)

    it("fails with the handshake", function()
      local body, err, world = ask({ { handshake_fails = "expired" } },
                                   { url = "https://b" })
      assert.is_nil(body)
      assert.equal("no TLS connection: expired", err)
      assert.same({}, calls(world, "send"))
    end)
  end)
end)


describe("a connection", function()
  it("is kept after a whole answer", function()
    local _, _, world = ask({ { OK .. LENGTH_2 .. "ok" } })
    assert.same({ { "setkeepalive", 60000, 256 } },
                calls(world, "setkeepalive"))
    assert.same({}, calls(world, "close"))
  end)

  for name, case in pairs({
    ["keepalive is 0"] = { OK .. LENGTH_2 .. "ok", { keepalive = 0 } },
    ["the bridge closes"] = { OK .. "Connection: close\r\n" .. LENGTH_2
                              .. "ok" },
    ["it is HTTP/1.0"] = { "HTTP/1.0 200 OK\r\n" .. LENGTH_2 .. "ok" },
    ["there is more"] = { OK .. LENGTH_2 .. "ok!" },
    ["only its end ends the answer"] = { OK .. "\r\nok" },
  }) do
    it("is not kept where " .. name, function()
      local body, _, world = ask({ { case[1] } }, case[2])
      assert.equal("ok", string.sub(body, 1, 2))
      assert.same({}, calls(world, "setkeepalive"))
      assert.equal(1, #calls(world, "close"))
    end)
  end

  it("that is stale is replaced once, by one that is not pooled", function()
    local body, err, world = ask({
      { reused = true },
      { OK .. LENGTH_2 .. "ok" },
    })
    assert.equal("ok", body)
    assert.is_nil(err)
    local connects = calls(world, "connect")
    assert.equal(POOL, connects[1][4].pool)
    assert.equal(POOL .. " once", connects[2][4].pool)
    assert.same({}, calls(world, "setkeepalive"))
    assert.equal(2, #calls(world, "close"))
  end)

  it("that is gone when the question is sent is replaced", function()
    local body = ask({
      { reused = true, send_fails = "broken pipe" },
      { OK .. LENGTH_2 .. "ok" },
    })
    assert.equal("ok", body)
  end)

  it("is not replaced twice", function()
    local body, err, world = ask({ { reused = true }, { reused = true } })
    assert.is_nil(body)
    assert.equal("no answer: closed", err)
    assert.equal(2, #calls(world, "connect"))
  end)

  for name, connection in pairs({
    ["new"] = {},
    ["new and cannot be sent on"] = { send_fails = "broken pipe" },
    ["kept, but slow"] = { reused = true, ends = "timeout" },
    ["kept, but slow to be sent on"] =
      { reused = true, send_fails = "timeout" },
    ["kept, and had begun to answer"] = { "H", reused = true },
    ["kept, and had answered half"] =
      { OK .. LENGTH_2 .. "o", reused = true },
    ["kept, and answered an error"] =
      { "HTTP/1.1 500 E\r\n\r\n", reused = true },
    ["refused"] = { refuses = "connection refused" },
  }) do
    it("is not replaced where it is " .. name, function()
      local body, err, world = ask({ connection })
      assert.is_nil(body)
      assert.is_string(err)
      assert.equal(1, #calls(world, "connect"))
    end)
  end
end)


describe("an answer", function()
  local chunked = OK .. "Transfer-Encoding: chunked\r\n\r\n"

  for name, pieces in pairs({
    ["with a length"] = { OK .. LENGTH_2 .. "ok" },
    ["in two pieces"] = { OK .. LENGTH_2 .. "o", "k" },
    ["with its head in pieces"] = { "HT", "TP/1.1 200 OK\r", "\n",
                                    LENGTH_2 .. "ok" },
    ["without a reason"] = { "HTTP/1.1 200\r\n" .. LENGTH_2 .. "ok" },
    ["with odd spaces"] = { OK .. "CONTENT-length:\t 2 \r\n\r\nok" },
    ["to the connection's end"] = { OK .. "\r\n", "o", "k" },
    ["in a chunk"] = { chunked .. "2\r\nok\r\n0\r\n\r\n" },
    ["in chunks"] = { chunked .. "1;x=y\r\n", "o\r", "\n0001\r\nk\r\n",
                      "0\r\n", "\r\n" },
  }) do
    it("is read " .. name, function()
      assert.equal("ok", (ask({ pieces })))
    end)
  end

  local large = string.rep("x", 16384)
  local endless = {}
  for position = 1, 20 do
    endless[position] = large
  end

  for name, case in pairs({
    ["that is not HTTP"] = { { "ok\r\n\r\n" }, "the answer is not HTTP/1.1" },
    ["of HTTP/2"] = { { "HTTP/2 200\r\n\r\n" }, "the answer is not HTTP/1.1" },
    ["with status 201"] = { { "HTTP/1.1 201 C\r\n\r\n" },
                            "the answer has the status 201" },
    ["with status 2000"] = { { "HTTP/1.1 2000 C\r\n\r\n" },
                             "the answer is not HTTP/1.1" },
    ["that ends in its head"] = { { OK }, "closed" },
    ["that ends in its body"] = { { OK .. LENGTH_2 .. "o" }, "closed" },
    ["that ends in a chunk"] = { { chunked .. "2\r\no" }, "closed" },
    ["that ends before a chunk"] = { { chunked }, "closed" },
    ["that is slow"] = { { OK, ends = "timeout" }, "timeout" },
    ["that is slow without a length"] =
      { { OK .. "\r\n", ends = "timeout" }, "timeout" },
    ["with a length of letters"] =
      { { OK .. "Content-Length: x\r\n\r\n" },
        "the answer's length is unclear" },
    ["with a coding"] = { { OK .. "Transfer-Encoding: gzip\r\n\r\n" },
                          "the answer's length is unclear" },
    ["with two lengths"] =
      { { OK .. "Transfer-Encoding: chunked\r\n" .. LENGTH_2 },
        "the answer's length is unclear" },
    ["with a chunk without an end"] =
      { { chunked .. "1\r\nokay" }, "the answer's length is unclear" },
    ["with a chunk without a size"] =
      { { chunked .. string.rep("z", 300) },
        "the answer's length is unclear" },
    ["with trailers"] = { { chunked .. "0\r\nA: b\r\n\r\n" },
                          "the answer's length is unclear" },
    ["with a length over the limit"] =
      { { OK .. "Content-Length: 262145\r\n\r\n" },
        "the answer has over 262144 bytes" },
    ["with an endless head"] = { endless,
                                 "the answer has over 262144 bytes" },
  }) do
    it("is refused " .. name, function()
      local body, err, world = ask({ case[1] })
      assert.is_nil(body)
      assert.equal("no answer: " .. case[2], err)
      assert.equal(1, #calls(world, "close"))
      assert.same({}, calls(world, "setkeepalive"))
    end)
  end

  for name, head in pairs({
    ["without a length"] = OK .. "\r\n",
    ["in a large chunk"] = chunked .. "ffffffff\r\n",
  }) do
    it("is not read to its end " .. name, function()
      local connection = { head }
      for position = 1, 100 do
        connection[position + 1] = large
      end
      local body, err = ask({ connection })
      assert.is_nil(body)
      assert.equal("no answer: the answer has over 262144 bytes", err)
      assert.is_true(#connection > 80)
    end)
  end
end)
