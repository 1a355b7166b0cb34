local typedefs = require "kong.db.schema.typedefs"
local url = require "kong.plugins.stepup-bridge.url"


local MAX_MILLISECONDS = 2 ^ 31 - 2


local function validate_url(value)
  local target, err = url.parse(value)
  if not target then
    return nil, err
  end
  return true
end


return {
  name = "stepup-bridge",
  fields = {
    -- It runs before there could be a consumer.
    { consumer = typedefs.no_consumer },
    { protocols = typedefs.protocols_http },
    { config = {
        type = "record",
        fields = {
          { url = {
              description = "Where the bridge's authz listener is: "
                .. "http://host[:port], https://host[:port] or unix:/path.",
              type = "string",
              required = true,
              custom_validator = validate_url,
          }, },
          { timeout = {
              description = "How long one check may take in all, in "
                .. "milliseconds. More than the bridge's longest "
                .. "issuers[].timeout, or a slow issuer looks like a bridge "
                .. "that is down.",
              type = "integer",
              required = true,
              default = 2500,
              between = { 1, MAX_MILLISECONDS },
          }, },
          { keepalive = {
              description = "How long an idle connection to the bridge is "
                .. "kept, in milliseconds; 0 for a new connection for every "
                .. "check. Less than the bridge keeps it.",
              type = "integer",
              required = true,
              default = 60000,
              between = { 0, MAX_MILLISECONDS },
          }, },
          { pool_size = {
              description = "How many idle connections to the bridge each "
                .. "worker keeps, as a number of connections.",
              type = "integer",
              required = true,
              default = 256,
              between = { 1, 65535 },
          }, },
          { ssl_verify = {
              description = "Whether the bridge's certificate is verified, "
                .. "true or false, for https. Kong's "
                .. "lua_ssl_trusted_certificate names the authorities.",
              type = "boolean",
              required = true,
              default = true,
          }, },
          { forward_headers = {
              description = "Names of the request headers whose values the "
                .. "bridge gets; any case, `-` and `_` count as one.",
              type = "set",
              required = true,
              len_min = 1,
              elements = typedefs.header_name,
              default = {
                "authorization",
                "origin",
                "access-control-request-method",
                "dpop",
                "x-http-method-override",
                "x-method-override",
                "x-http-method",
                "x-request-id",
              },
          }, },
        },
    }, },
  },
}
