rockspec_format = "3.0"
package = "kong-plugin-stepup-bridge"
version = "0.1.0-1"
supported_platforms = { "linux", "macosx" }

-- `luarocks make` in this directory builds from the files beside it.
source = {
  url = "file://kong-plugin-stepup-bridge-0.1.0.tar.gz",
  dir = "kong-plugin-stepup-bridge-0.1.0",
}

description = {
  summary = "Step-up authentication (RFC 9470) for Kong: asks stepup-bridge.",
  detailed = [[
    A Kong Gateway 3.x plugin that asks the stepup-bridge service about every
    request and applies its answer. It holds no policy and fails closed.
  ]],
  license = "Apache-2.0",
}

-- What it requires besides comes with Kong: lua-cjson, lua-resty-string.
dependencies = {
  "lua >= 5.1, < 5.2",
}

build = {
  type = "builtin",
  modules = {
    ["kong.plugins.stepup-bridge.answer"] = "kong/plugins/stepup-bridge/answer.lua",
    ["kong.plugins.stepup-bridge.bridge"] = "kong/plugins/stepup-bridge/bridge.lua",
    ["kong.plugins.stepup-bridge.handler"] = "kong/plugins/stepup-bridge/handler.lua",
    ["kong.plugins.stepup-bridge.names"] = "kong/plugins/stepup-bridge/names.lua",
    ["kong.plugins.stepup-bridge.question"] = "kong/plugins/stepup-bridge/question.lua",
    ["kong.plugins.stepup-bridge.schema"] = "kong/plugins/stepup-bridge/schema.lua",
    ["kong.plugins.stepup-bridge.upstream"] = "kong/plugins/stepup-bridge/upstream.lua",
    ["kong.plugins.stepup-bridge.url"] = "kong/plugins/stepup-bridge/url.lua",
  },
}
