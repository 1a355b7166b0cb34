local cjson = require "cjson.safe"
local fake_ngx = require "fake_ngx"


local function question_of(changes, conf)
  local world = fake_ngx.install(fake_ngx.request(changes))
  local question = fake_ngx.load("question")
  return cjson.decode(question.write(fake_ngx.conf(conf))), world
end


describe("the question", function()
  it("has the members of the contract and no others", function()
    assert.same({
      method = "GET",
      scheme = "https",
      host = "api.test",
      path = "/a?b",
      headers = {},
    }, (question_of()))
  end)

  it("says no headers as an object, not as a list", function()
    fake_ngx.install(fake_ngx.request())
    local json = fake_ngx.load("question").write(fake_ngx.conf())
    assert.matches('"headers":{}', json, 1, true)
  end)

  it("asks for all headers, since 100 is only the default", function()
    local _, world = question_of()
    assert.same({ 0 }, world.limits)
  end)

  it("has all values of a wanted header and nothing of another", function()
    local question = question_of({
      headers = {
        host = "api.test",
        authorization = { "Bearer a", "Bearer b" },
        cookie = "c",
      },
    })
    assert.same({ authorization = { "Bearer a", "Bearer b" } },
                question.headers)
  end)

  it("has every spelling of a wanted header under one name", function()
    local question = question_of({
      headers = {
        host = "api.test",
        ["x_method_override"] = "PUT",
        ["x-method_override"] = { "PATCH", "POST" },
        ["x-method-override"] = "DELETE",
      },
    })
    local values = question.headers["x-method-override"]
    table.sort(values)
    assert.same({ "DELETE", "PATCH", "POST", "PUT" }, values)
  end)

  it("takes names of forward_headers in any spelling", function()
    local question = question_of(
      { headers = { host = "api.test", ["x-custom"] = "1" } },
      { forward_headers = { "X_Custom" } })
    assert.same({ ["x-custom"] = { "1" } }, question.headers)
  end)

  it("has an empty value of a header", function()
    local question = question_of({
      headers = { host = "api.test", authorization = "" },
    })
    assert.same({ authorization = { "" } }, question.headers)
  end)

  it("says bytes over 0x7f as the code points of the same number", function()
    local question = question_of({
      target = "/\195\169\128\255",
      headers = { host = "\233", authorization = { "\233", "a" } },
      host = "\233",
    })
    assert.equal("/\195\131\194\169\194\128\195\191", question.path)
    assert.equal("\195\169", question.host)
    assert.same({ "\195\169", "a" }, question.headers.authorization)
  end)

  describe("names the host", function()
    for _, case in ipairs({
      { "as sent", "api.test", "api.test", "api.test" },
      { "in its case", "API.Test", "api.test", "API.Test" },
      { "with its port", "api.test:8443", "api.test", "api.test:8443" },
      { "with its dot", "api.test.:80", "api.test", "api.test.:80" },
      { "as an address", "[::1]:80", "[::1]", "[::1]:80" },
      { "as empty where there is none", nil, "kong", "" },
      { "as empty where it is", "", "kong", "" },
      { "twice where the target has another", "a", "b", "a, b" },
      { "as often as it was sent", { "a", "b" }, "a", "a, b" },
      { "with the same name twice", { "a", "a" }, "a", "a, a" },
    }) do
      it(case[1], function()
        local question = question_of({
          headers = { host = case[2] }, host = case[3],
        })
        assert.equal(case[4], question.host)
      end)
    end
  end)

  describe("has of a client certificate", function()
    local function digest_of(pem)
      return question_of({
        variables = { ssl_client_raw_cert = pem },
      }).client_certificate_sha256
    end

    it("the hex SHA-256 of its DER", function()
      assert.equal("000fff414243", digest_of(
        "-----BEGIN CERTIFICATE-----\nQU\nJD\n-----END CERTIFICATE-----\n"))
    end)

    it("nothing where there is none", function()
      assert.is_nil(digest_of(nil))
    end)

    for _, pem in ipairs({
      "", "QUJD", "-----BEGIN CERTIFICATE-----\n?\n-----END CERTIFICATE-----",
    }) do
      it("nothing where it is unreadable: " .. #pem .. " bytes", function()
        assert.is_nil(digest_of(pem))
      end)
    end
  end)
end)
