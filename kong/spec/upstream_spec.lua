local fake_ngx = require "fake_ngx"


local function apply(headers, set, remove)
  local world = fake_ngx.install(fake_ngx.request({ headers = headers }))
  fake_ngx.load("upstream").apply(set, remove)

  local cleared = {}
  local position = 1
  while world.calls[position]
        and world.calls[position][1] == "clear_header"
  do
    cleared[#cleared + 1] = world.calls[position][2]
    position = position + 1
  end
  table.sort(cleared)

  local later = {}
  for index = position, #world.calls do
    later[#later + 1] = world.calls[index]
  end
  return cleared, later, world
end


describe("an allow", function()
  it("clears every spelling that came, then sets", function()
    local cleared, later, world = apply({
      ["x-stepup-subject"] = { "admin", "root" },
      ["x_stepup_subject"] = "admin",
      ["x-stepup_subject"] = "admin",
      ["x_stepup-scope"] = "all",
      ["x-stepup"] = "kept",
      ["cookie"] = "kept",
    }, { ["X-Stepup-Subject"] = "alice" }, { "x-stepup-scope" })
    assert.same({
      "x-stepup-subject", "x-stepup_subject", "x_stepup-scope",
      "x_stepup_subject",
    }, cleared)
    assert.same({ { "set_header", "X-Stepup-Subject", "alice" } }, later)
    assert.same({ 0 }, world.limits)
  end)

  it("clears what did not come neither", function()
    local cleared, later = apply({}, {}, { "x-stepup-scope" })
    assert.same({}, cleared)
    assert.same({}, later)
  end)

  for name, case in pairs({
    ["alone"] = { "x-stepup-subject", nil },
    ["in another spelling"] = { "X_Stepup-Subject", nil },
    ["that is to be removed"] = { "x-stepup-scope", nil },
    ["among others"] = { "close ,\tX-STEPUP-SUBJECT,, x-hop", "close, x-hop" },
    ["in a second line"] = { { "upgrade", "x-stepup-subject" }, "upgrade" },
  }) do
    it("unlists from Connection a header " .. name, function()
      local _, later, world = apply({ connection = case[1] },
        { ["x-stepup-subject"] = "alice" }, { "x-stepup-scope" })
      local set = { "set_header", "x-stepup-subject", "alice" }
      if case[2] then
        assert.same({ { "set_header", "connection", case[2] }, set }, later)
      else
        -- Cleared like the rest.
        assert.same({ set }, later)
        assert.same({ "clear_header", "connection" }, world.calls[1])
      end
      assert.is_nil(ngx.ctx.cached_request_headers)
    end)
  end

  it("leaves another Connection alone, and Kong's cache", function()
    local cleared, later = apply({ connection = "keep-alive, x-hop" },
                                 {}, { "x-stepup-scope" })
    assert.same({}, cleared)
    assert.same({}, later)
    assert.same({}, ngx.ctx.cached_request_headers)
  end)
end)
