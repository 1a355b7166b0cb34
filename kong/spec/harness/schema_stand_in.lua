--- A stand-in for the part of Kong's schema language that the plugin uses:
-- fills in defaults, and reports per field what Kong would report.


local TYPES = {
  string = function(value) return type(value) == "string" end,
  boolean = function(value) return type(value) == "boolean" end,
  integer = function(value)
    return type(value) == "number" and math.floor(value) == value
  end,
  set = function(value) return type(value) == "table" end,
}

local _M = {}


local function fault_of(field, value)
  if not TYPES[field.type](value) then
    return "expected " .. (field.type == "integer" and "an " or "a ")
           .. field.type
  end

  local between = field.between
  if between and (value < between[1] or value > between[2]) then
    return "value should be between " .. between[1] .. " and " .. between[2]
  end

  if field.len_min and #value < field.len_min then
    return "length must be at least " .. field.len_min
  end

  for _, element in ipairs(field.elements and value or {}) do
    local fault = fault_of(field.elements, element)
    if fault then
      return fault
    end
  end

  if field.custom_validator then
    local ok, err = field.custom_validator(value)
    if not ok then
      return err
    end
  end
end


--- Checks a plugin's configuration.
-- @tparam table schema as the plugin's `schema.lua` gives it
-- @tparam table conf
-- @treturn table|nil the configuration with its defaults
-- @treturn table|nil field → fault
function _M.validate(schema, conf)
  local fields
  for _, entry in ipairs(schema.fields) do
    fields = entry.config and entry.config.fields or fields
  end

  local complete, faults, known = {}, {}, {}
  for _, entry in ipairs(fields) do
    local name, field = next(entry)
    known[name] = true
    assert(field.description, name .. " has no description")

    local value = conf[name]
    if value == nil then
      value = field.default
    end

    if value ~= nil then
      faults[name] = fault_of(field, value)
    elseif field.required then
      faults[name] = "required field missing"
    end
    complete[name] = value
  end

  for name in pairs(conf) do
    if not known[name] then
      faults[name] = "unknown field"
    end
  end

  if next(faults) then
    return nil, faults
  end
  return complete
end


return _M
