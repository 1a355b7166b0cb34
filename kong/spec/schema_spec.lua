local fake_ngx = require "fake_ngx"


fake_ngx.install(fake_ngx.request())

local schema = fake_ngx.load("schema")
local validate = require("schema_stand_in").validate


describe("the configuration", function()
  it("needs nothing but the url", function()
    assert.same({
      url = "http://127.0.0.1:9191",
      timeout = 2500,
      keepalive = 60000,
      pool_size = 256,
      ssl_verify = true,
      forward_headers = {
        "authorization", "origin", "access-control-request-method", "dpop",
        "x-http-method-override", "x-method-override", "x-http-method",
        "x-request-id",
      },
    }, validate(schema, { url = "http://127.0.0.1:9191" }))
  end)

  for name, case in pairs({
    ["no url"] = { {}, "url" },
    ["a url with a path"] = { { url = "http://a/b" }, "url" },
    ["a number as url"] = { { url = 1 }, "url" },
    ["timeout 0"] = { { timeout = 0 }, "timeout" },
    ["half a millisecond"] = { { timeout = 0.5 }, "timeout" },
    ["a duration in words"] = { { timeout = "2s" }, "timeout" },
    ["an endless timeout"] = { { timeout = 2 ^ 31 }, "timeout" },
    ["a negative keepalive"] = { { keepalive = -1 }, "keepalive" },
    ["no pool"] = { { pool_size = 0 }, "pool_size" },
    ["ssl_verify in words"] = { { ssl_verify = "no" }, "ssl_verify" },
    ["no headers"] = { { forward_headers = {} }, "forward_headers" },
    ["no header name"] = { { forward_headers = { "a b" } },
                           "forward_headers" },
    ["an unknown field"] = { { policy = "x" }, "policy" },
  }) do
    it("is refused with " .. name, function()
      local conf = case[1]
      if case[2] ~= "url" then
        conf.url = "http://a"
      end
      local complete, faults = validate(schema, conf)
      assert.is_nil(complete)
      assert.is_string(faults[case[2]])
    end)
  end

  it("takes the bounds", function()
    assert.is_table(validate(schema, {
      url = "unix:/a", timeout = 1, keepalive = 0, pool_size = 1,
    }))
  end)

  it("describes each field, with the unit of each quantity", function()
    for _, entry in ipairs(schema.fields[3].config.fields) do
      local name, field = next(entry)
      assert.is_string(field.description)
      if name == "timeout" or name == "keepalive" then
        assert.matches("milliseconds", field.description)
      end
    end
  end)

  it("is for HTTP, and not for a consumer, who is not known yet", function()
    assert.equal("stepup-bridge", schema.name)
    assert.is_not_nil(schema.fields[1].consumer.eq)
    assert.is_table(schema.fields[2].protocols)
  end)
end)
