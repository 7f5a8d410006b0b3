-- Access tokens of Huawei Cloud OneAccess, kept fresh by liboneaccess.
local ffi = require "ffi"

ffi.cdef [[
typedef struct oneaccess_client oneaccess_client;
typedef struct oneaccess_config oneaccess_config;
typedef struct oneaccess_error oneaccess_error;
typedef struct oneaccess_token oneaccess_token;
oneaccess_config *oneaccess_config_new(const char *, const char *, const char *);
oneaccess_config *oneaccess_config_new_from_env(void);
void oneaccess_config_set(oneaccess_config *, const char *, const char *);
void oneaccess_config_free(oneaccess_config *);
oneaccess_error *oneaccess_client_new(const oneaccess_config *, oneaccess_client **);
oneaccess_error *oneaccess_client_get_token(const oneaccess_client *, oneaccess_token **);
void oneaccess_client_reject_token(const oneaccess_client *, const char *);
void oneaccess_client_free(oneaccess_client *);
const char *oneaccess_token_access_token(const oneaccess_token *);
const char *oneaccess_token_authorization(const oneaccess_token *);
int64_t oneaccess_token_expires_at(const oneaccess_token *);
void oneaccess_token_free(oneaccess_token *);
int32_t oneaccess_error_kind(const oneaccess_error *);
int32_t oneaccess_error_http_status(const oneaccess_error *);
const char *oneaccess_error_vendor_code(const oneaccess_error *);
const char *oneaccess_error_message(const oneaccess_error *);
int32_t oneaccess_error_is_retryable(const oneaccess_error *);
void oneaccess_error_free(oneaccess_error *);
]]

local C = ffi.load "liboneaccess.so.0"

local oneaccess = { DENIED = 7 } -- a kind of error; all of them are in oneaccess.h

local function text(pointer)
  return pointer ~= nil and ffi.string(pointer) or nil -- a copy
end

local Error = { __tostring = function(self) return self.message end }

-- Throws a table that tostring() understands.
local function check(err)
  if err == nil then return end
  local thrown = setmetatable({
    kind = C.oneaccess_error_kind(err),
    http_status = C.oneaccess_error_http_status(err),
    vendor_code = text(C.oneaccess_error_vendor_code(err)),
    message = text(C.oneaccess_error_message(err)),
    is_retryable = C.oneaccess_error_is_retryable(err) ~= 0,
  }, Error)
  C.oneaccess_error_free(err)
  error(thrown)
end

function oneaccess.is_error(value)
  return getmetatable(value) == Error
end

local Client = {}
Client.__index = Client

-- Without options: from the environment, ONEACCESS_ENDPOINT and so on.
function oneaccess.client(options)
  local config
  if options then
    config = C.oneaccess_config_new(options.endpoint, options.client_id, options.client_secret)
    C.oneaccess_config_set(config, "ca_file", options.ca_file)
  else
    config = C.oneaccess_config_new_from_env()
  end
  local out = ffi.new "oneaccess_client *[1]"
  local err = C.oneaccess_client_new(config, out)
  C.oneaccess_config_free(config)
  check(err)
  return setmetatable({ handle = ffi.gc(out[0], C.oneaccess_client_free) }, Client)
end

-- { access_token, authorization, expires_at }. Call it before every use; it blocks about once in a
-- token's life.
function Client:token()
  local out = ffi.new "oneaccess_token *[1]"
  check(C.oneaccess_client_get_token(self.handle, out))
  local token = {
    access_token = text(C.oneaccess_token_access_token(out[0])),
    authorization = text(C.oneaccess_token_authorization(out[0])), -- "Bearer ...", for the header
    expires_at = tonumber(C.oneaccess_token_expires_at(out[0])), -- Unix time; to show
  }
  C.oneaccess_token_free(out[0])
  return token
end

-- A management API did not accept this token.
function Client:reject(token)
  C.oneaccess_client_reject_token(self.handle, token.access_token)
end

-- Frees it now; the garbage collector does it later.
function Client:close()
  C.oneaccess_client_free(ffi.gc(self.handle, nil))
  self.handle = nil
end

return oneaccess
