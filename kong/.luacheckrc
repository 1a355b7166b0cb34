std = "ngx_lua"
max_line_length = 80
-- Kong calls phases as methods.
ignore = { "212/self" }
read_globals = { "kong" }

-- The one state that outlives a request: Kong's own cache of request headers.
files["kong/plugins/stepup-bridge/upstream.lua"] = {
  globals = { "ngx.ctx.cached_request_headers" },
}

files["spec"] = {
  std = "ngx_lua+busted",
  globals = { "kong", "ngx" },
}
