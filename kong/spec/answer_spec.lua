local answer = require "kong.plugins.stepup-bridge.answer"


local function denial(status, headers, body)
  return '{"allow":false,"response":{"status":' .. status .. ',"headers":'
         .. headers .. ',"body":' .. body .. "}}"
end


local function allow(set, remove)
  return '{"allow":true,"upstream":{"set":' .. set .. ',"remove":' .. remove
         .. "}}"
end


describe("an allow", function()
  it("has what to set and what to remove", function()
    assert.same(
      { allow = true, set = { a = "b", c = "" }, remove = { "d", "e_f" } },
      answer.read(allow('{"a":"b","c":""}', '["d","e_f"]')))
  end)

  it("may have nothing of both, and members of a later version", function()
    assert.same(
      { allow = true, set = {}, remove = {} },
      answer.read('{"allow":true,"new":[1],"operation":null,'
                  .. '"upstream":{"set":{},"remove":[],"new":1}}'))
  end)
end)


describe("a denial", function()
  it("has status, headers and body", function()
    assert.same({
      allow = false,
      status = 401,
      headers = {
        ["www-authenticate"] = 'Bearer realm="a"',
        ["content-type"] = "application/json",
      },
      body = "{}",
    }, answer.read(denial(401,
      '[["WWW-Authenticate","Bearer realm=\\"a\\""],'
      .. '["content-type","application/json"]]', '"{}"')))
  end)

  it("has its challenges in one line, for nginx keeps only one", function()
    local read = answer.read(denial(401,
      '[["www-authenticate","Bearer"],["Www-Authenticate","DPoP"]]', '""'))
    assert.same({ ["www-authenticate"] = "Bearer, DPoP" }, read.headers)
  end)

  it("has several lines of another header as a list", function()
    local read = answer.read(denial(401, '[["Vary","a"],["vary","b"]]', '""'))
    assert.same({ vary = { "a", "b" } }, read.headers)
  end)

  for _, status in ipairs({ 400, 401, 403, 429, 503, 599 }) do
    it("may have the status " .. status, function()
      assert.equal(status, answer.read(denial(status, "[]", '""')).status)
    end)
  end
end)


describe("an answer", function()
  for name, case in pairs({
    ["that is empty"] = { "", "JSON" },
    ["that is half"] = { '{"allow":tr', "JSON" },
    ["with something behind it"] = { "{}x", "JSON" },
    ["that is HTML"] = { "<html>", "JSON" },
    ["that is true"] = { "true", "JSON" },
    ["that is null"] = { "null", "JSON" },
    ["that is a list"] = { "[true]", "allow" },
    ["without allow"] = { "{}", "allow" },
    ["with allow as a string"] = { '{"allow":"true"}', "allow" },
    ["with allow as a number"] = { '{"allow":1}', "allow" },
    ["with allow null"] = { '{"allow":null}', "allow" },
    ["without upstream"] = { '{"allow":true}', "upstream" },
    ["with upstream null"] = { '{"allow":true,"upstream":null}', "upstream" },
    ["with set null"] = { allow("null", "[]"), "upstream" },
    ["with remove null"] = { allow("{}", "null"), "upstream" },
    ["with remove an object"] = { allow("{}", '{"a":"b"}'), "upstream" },
    ["with set a list"] = { allow('["a"]', "[]"), "header" },
    ["with a number to set"] = { allow('{"a":1}', "[]"), "header" },
    ["with a list to set"] = { allow('{"a":["b"]}', "[]"), "header" },
    ["with null to set"] = { allow('{"a":null}', "[]"), "header" },
    ["with CR to set"] = { allow('{"a":"b\\r"}', "[]"), "header" },
    ["with LF to set"] = { allow('{"a":"b\\nc"}', "[]"), "header" },
    ["with NUL to set"] = { allow('{"a":"\\u0000"}', "[]"), "header" },
    ["with DEL to set"] = { allow('{"a":"\\u007f"}', "[]"), "header" },
    ["with an empty name to set"] = { allow('{"":"b"}', "[]"), "header" },
    ["with a space in a name"] = { allow('{"a b":"c"}', "[]"), "header" },
    ["with a colon in a name"] = { allow('{"a:":"c"}', "[]"), "header" },
    ["with a line break in a name"] = { allow('{"a\\n":"c"}', "[]"),
                                        "header" },
    ["with Connection to set"] = { allow('{"Connection":"x"}', "[]"),
                                   "header" },
    ["with Content-Length to remove"] = { allow("{}", '["content-length"]'),
                                          "header" },
    ["with a number to remove"] = { allow("{}", "[1]"), "header" },
    ["without response"] = { '{"allow":false}', "response" },
    ["with response null"] = { '{"allow":false,"response":null}', "response" },
    ["with body null"] = { denial(401, "[]", "null"), "response" },
    ["with body an object"] = { denial(401, "[]", "{}"), "response" },
    ["with headers null"] = { denial(401, "null", '""'), "response" },
    ["with headers an object"] = { denial(401, '{"a":"b"}', '""'),
                                   "response" },
    ["with a header alone"] = { denial(401, '["a"]', '""'), "header" },
    ["with a header of one"] = { denial(401, '[["a"]]', '""'), "header" },
    ["with a header of three"] = { denial(401, '[["a","b","c"]]', '""'),
                                   "header" },
    ["with a header as object"] = { denial(401, '[{"a":"b"}]', '""'),
                                    "header" },
    ["with a number in a header"] = { denial(401, '[["a",1]]', '""'),
                                      "header" },
    ["with a list in a header"] = { denial(401, '[["a",["b"]]]', '""'),
                                    "header" },
    ["with CRLF in a header"] = { denial(401, '[["a","b\\r\\nc: d"]]', '""'),
                                  "header" },
    ["with a length of its own"] =
      { denial(401, '[["Content-Length","9"]]', '""'), "header" },
    ["with status a string"] = { denial('"401"', "[]", '""'), "status" },
    ["with status null"] = { denial("null", "[]", '""'), "status" },
    ["with status a fraction"] = { denial(401.5, "[]", '""'), "status" },
    ["with status NaN"] = { denial("NaN", "[]", '""'), "status" },
    ["with status huge"] = { denial("1e999", "[]", '""'), "status" },
    ["with status 399"] = { denial(399, "[]", '""'), "status" },
    ["with status 200"] = { denial(200, "[]", '""'), "status" },
    ["with status 600"] = { denial(600, "[]", '""'), "status" },
    ["with status 499, which closes"] = { denial(499, "[]", '""'), "status" },
    ["with status 444, which closes"] = { denial(444, "[]", '""'), "status" },
    ["with status 408, which closes"] = { denial(408, "[]", '""'), "status" },
  }) do
    it("is refused " .. name, function()
      local read, err = answer.read(case[1])
      assert.is_nil(read)
      assert.matches(case[2], err, 1, true)
    end)
  end
end)
