--- A stand-in for the `kong.db.schema.typedefs` that the plugin's schema uses.


return {
  no_consumer = { type = "foreign", reference = "consumers", eq = ngx.null },
  protocols_http = {
    type = "set",
    required = true,
    default = { "grpc", "grpcs", "http", "https" },
  },
  header_name = {
    type = "string",
    custom_validator = function(name)
      if string.find(name, "^[%w_-]+$") then
        return true
      end
      return nil, "bad header name '" .. name
                  .. "', allowed characters are A-Z, a-z, 0-9, '_', and '-'"
    end,
  },
}
