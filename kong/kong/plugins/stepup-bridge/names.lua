--- One spelling for header names that a lenient upstream reads as one.
-- CGI, WSGI and their kin turn `-` into `_`, so `x_stepup_subject`,
-- `X-Stepup_Subject` and `x-stepup-subject` are one name to them. Kong passes
-- underscores on (`underscores_in_headers on`).


local find = string.find
local gsub = string.gsub
local lower = string.lower


local _M = {}


--- Gives a header name in lower case with `-` for `_`.
function _M.canonical(name)
  name = lower(name)
  if find(name, "_", 1, true) then
    name = gsub(name, "_", "-")
  end
  return name
end


return _M
