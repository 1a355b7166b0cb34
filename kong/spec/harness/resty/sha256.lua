--- A stand-in for lua-resty-string's `resty.sha256`, which Kong brings and
-- Debian does not package: the same interface over the same OpenSSL.


local ffi = require "ffi"


ffi.cdef [[
unsigned char *SHA256(const unsigned char *d, size_t n, unsigned char *md);
]]

local DIGEST_BYTES = 32


local Sha256 = {}
Sha256.__index = Sha256


function Sha256:new()
  return setmetatable({ parts = {} }, self)
end


function Sha256:update(bytes)
  self.parts[#self.parts + 1] = bytes
  return true
end


function Sha256:final()
  local bytes = table.concat(self.parts)
  local digest = ffi.new("unsigned char[?]", DIGEST_BYTES)
  ffi.C.SHA256(bytes, #bytes, digest)
  return ffi.string(digest, DIGEST_BYTES)
end


return Sha256
