local fake_ngx = require "fake_ngx"
local lfs = require "lfs"


local DIRECTORY = "kong/plugins/stepup-bridge"


local function load_rockspec()
  local rockspec = {}
  local chunk = loadfile("kong-plugin-stepup-bridge-0.1.0-1.rockspec")
  setfenv(chunk, rockspec)()
  return rockspec
end


describe("the rockspec", function()
  it("has every file of the plugin", function()
    local expected = {}
    for file in lfs.dir(DIRECTORY) do
      local name = string.match(file, "^(.+)%.lua$")
      if name then
        expected["kong.plugins.stepup-bridge." .. name] =
          DIRECTORY .. "/" .. file
      end
    end
    assert.same(expected, load_rockspec().build.modules)
  end)

  it("has the handler's version", function()
    fake_ngx.install(fake_ngx.request())
    local handler = fake_ngx.load("handler")
    assert.equal(handler.VERSION .. "-1", load_rockspec().version)
  end)
end)
