local url = require "kong.plugins.stepup-bridge.url"


describe("the bridge's url", function()
  for _, case in ipairs({
    { nil, "not given" },
    { 1, "a number" },
    { "", "empty" },
    { "127.0.0.1:9191", "without a scheme" },
    { "HTTP://a", "with a scheme in capitals" },
    { "ftp://a", "with another scheme" },
    { "http://", "without a host" },
    { "http://:80", "with a port only" },
    { "http://a:", "with an empty port" },
    { "http://a:x", "with a port that is no number" },
    { "http://a:80:90", "with two ports" },
    { "http://a/", "with a path" },
    { "http://a?b", "with a query" },
    { "http://a#b", "with a fragment" },
    { "http://u:p@a", "with a user" },
    { "http://a b", "with a space" },
    { "http://a\r\nb", "with a line break" },
    { "http://[::1", "with half an address" },
    { "unix:", "of a socket without a path" },
    { "unix:relative", "of a socket with a relative path" },
    { "unix:/a\nb", "of a socket with a line break" },
  }) do
    it("is refused " .. case[2], function()
      local target, err = url.parse(case[1])
      assert.is_nil(target)
      assert.matches("^must be http://host", err)
    end)
  end

  for _, port in ipairs({ "0", "65536", "99999999999999999999" }) do
    it("is refused with the port " .. port, function()
      local target, err = url.parse("http://a:" .. port)
      assert.is_nil(target)
      assert.equal("the port must be between 1 and 65535", err)
    end)
  end

  it("is refused where the socket's path is too long for a socket", function()
    assert.is_table(url.parse("unix:/" .. string.rep("a", 106)))
    local target, err = url.parse("unix:/" .. string.rep("a", 107))
    assert.is_nil(target)
    assert.matches("longer than 107 bytes", err)
  end)

  for given, expected in pairs({
    ["http://a"] = { host = "a", port = 80, authority = "a", tls = false },
    ["https://a"] = { host = "a", port = 443, authority = "a", tls = true },
    ["http://a_b.c-d:1"] =
      { host = "a_b.c-d", port = 1, authority = "a_b.c-d:1", tls = false },
    ["http://127.0.0.1:65535"] = {
      host = "127.0.0.1", port = 65535, authority = "127.0.0.1:65535",
      tls = false,
    },
    ["https://[::1]:9191"] =
      { host = "[::1]", port = 9191, authority = "[::1]:9191", tls = true },
    ["http://[::1]"] =
      { host = "[::1]", port = 80, authority = "[::1]", tls = false },
    ["unix:/run/bridge/authz.sock"] = {
      host = "unix:/run/bridge/authz.sock", authority = "localhost",
      tls = false,
    },
  }) do
    it("is taken apart: " .. given, function()
      assert.same(expected, url.parse(given))
    end)
  end
end)
