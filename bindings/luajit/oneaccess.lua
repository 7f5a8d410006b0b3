--- Access tokens of Huawei Cloud OneAccess (Bamboocloud), kept fresh.
--
-- local oneaccess = require "oneaccess"
-- local client = assert(oneaccess.from_env()) -- one for the whole process
-- local token = assert(client:get_token()) -- before every use; mostly from memory
-- local headers = { Authorization = token.authorization }
--
-- What fails returns nil and an error: a table with kind, http_status (0 if there was no response),
-- vendor_code, message, is_retryable, is_remembered (from an earlier request; this call sent none),
-- occurred_at (Unix time) and retry_after (seconds). tostring(err) is the message. Arguments of a
-- wrong type raise an error, as in Lua's own functions.

local ffi = require "ffi"

ffi.cdef [[
typedef struct oneaccess_client oneaccess_client;
typedef struct oneaccess_config oneaccess_config;
typedef struct oneaccess_error oneaccess_error;
typedef struct oneaccess_token oneaccess_token;
const char *oneaccess_version(void);
oneaccess_config *oneaccess_config_new(const char *, const char *, const char *);
oneaccess_config *oneaccess_config_new_from_env(void);
void oneaccess_config_set(oneaccess_config *, const char *, const char *);
void oneaccess_config_add_header(oneaccess_config *, const char *, const char *);
void oneaccess_config_free(oneaccess_config *);
oneaccess_error *oneaccess_client_new(const oneaccess_config *, oneaccess_client **);
oneaccess_error *oneaccess_client_get_token(const oneaccess_client *, oneaccess_token **);
oneaccess_error *oneaccess_client_get_token_within(const oneaccess_client *, int64_t,
                                                   oneaccess_token **);
oneaccess_token *oneaccess_client_get_cached_token(const oneaccess_client *);
int64_t oneaccess_client_refresh_in_ms(const oneaccess_client *);
void oneaccess_client_reject_token(const oneaccess_client *, const char *);
oneaccess_error *oneaccess_client_set_client_secret(const oneaccess_client *, const char *);
int64_t oneaccess_client_stat(const oneaccess_client *, int32_t);
oneaccess_error *oneaccess_client_get_last_error(const oneaccess_client *);
oneaccess_error *oneaccess_client_get_last_store_error(const oneaccess_client *);
void oneaccess_client_close(const oneaccess_client *);
void oneaccess_client_free(oneaccess_client *);
const char *oneaccess_token_access_token(const oneaccess_token *);
const char *oneaccess_token_authorization(const oneaccess_token *);
const char *oneaccess_token_token_type(const oneaccess_token *);
const char *oneaccess_token_scope(const oneaccess_token *);
const char *oneaccess_token_id_token(const oneaccess_token *);
int64_t oneaccess_token_expires_at(const oneaccess_token *);
void oneaccess_token_free(oneaccess_token *);
int32_t oneaccess_error_kind(const oneaccess_error *);
int32_t oneaccess_error_http_status(const oneaccess_error *);
const char *oneaccess_error_vendor_code(const oneaccess_error *);
const char *oneaccess_error_message(const oneaccess_error *);
int32_t oneaccess_error_is_retryable(const oneaccess_error *);
int32_t oneaccess_error_is_remembered(const oneaccess_error *);
int64_t oneaccess_error_occurred_at(const oneaccess_error *);
int64_t oneaccess_error_retry_after_ms(const oneaccess_error *);
void oneaccess_error_free(oneaccess_error *);
]]

local function exists(path)
  local file = io.open(path)
  return file and file:close()
end

local function library_path()
  local names = { OSX = "liboneaccess.0.dylib", Windows = "oneaccess.dll" }
  local name = names[ffi.os] or "liboneaccess.so.0"
  local folder = debug.getinfo(1, "S").source:match "^@(.*[/\\])" or "./"
  local path = os.getenv "ONEACCESS_LIBRARY"
  if path and path ~= "" then return path end
  return exists(folder .. name) and folder .. name or name
end

local MODULE = ... -- the name by which it was required
local PATH = library_path()

local loaded, C = pcall(ffi.load, PATH)
if not loaded then
  local hint = "; install it, or set ONEACCESS_LIBRARY to its path"
  error("cannot load the oneaccess library: " .. C .. hint, 0)
end

local oneaccess = {
  -- Kinds of errors. The library's README says what to do about each kind.
  ARGUMENT = 1,
  CONFIG = 2,
  TRANSPORT = 3,
  PROXY = 4,
  TLS = 5,
  TIMEOUT = 6,
  DENIED = 7,
  THROTTLED = 8,
  SERVER = 9,
  PROTOCOL = 10,
  CLOSED = 11,
  INTERNAL = 12,
}

local STATISTICS = {
  "refreshes",
  "attempts",
  "failures",
  "waits",
  "rejections",
  "denials",
  "token_age_ms",
  "token_remaining_ms",
  "store_hits",
  "store_failures",
}

-- A copy, since the text is valid only until its object is freed.
local function copy(text)
  if text ~= nil then return ffi.string(text) end -- NULL is not nil, but equals it
end

local Error = {
  __tostring = function(err) return err.message end,
  __concat = function(left, right) return tostring(left) .. tostring(right) end,
}

local function take_error(handle)
  local err = {
    kind = C.oneaccess_error_kind(handle),
    http_status = C.oneaccess_error_http_status(handle),
    vendor_code = copy(C.oneaccess_error_vendor_code(handle)),
    message = copy(C.oneaccess_error_message(handle)),
    is_retryable = C.oneaccess_error_is_retryable(handle) ~= 0,
    is_remembered = C.oneaccess_error_is_remembered(handle) ~= 0,
    occurred_at = tonumber(C.oneaccess_error_occurred_at(handle)),
    retry_after = tonumber(C.oneaccess_error_retry_after_ms(handle)) / 1000,
  }
  C.oneaccess_error_free(handle)
  return setmetatable(err, Error)
end

-- The access_token, authorization and id_token of each token. They are not in its table, so that
-- printing or encoding the table does not show them.
local secrets = setmetatable({}, { __mode = "k" })

local Token = { __index = function(token, name) return secrets[token][name] end }

local function take_token(handle)
  local token = {
    token_type = copy(C.oneaccess_token_token_type(handle)),
    scope = copy(C.oneaccess_token_scope(handle)),
    expires_at = tonumber(C.oneaccess_token_expires_at(handle)),
  }
  secrets[token] = {
    access_token = copy(C.oneaccess_token_access_token(handle)),
    authorization = copy(C.oneaccess_token_authorization(handle)),
    id_token = copy(C.oneaccess_token_id_token(handle)),
  }
  C.oneaccess_token_free(handle)
  return setmetatable(token, Token)
end

-- The text of an argument. Errors name the place `level` calls above.
local function text(name, value, level)
  if value == nil then return nil end
  local kind = type(value)
  if kind ~= "string" and kind ~= "number" and kind ~= "boolean" then
    error(name .. " must be a string, a number or a boolean, not a " .. kind, level + 1)
  end
  local result = tostring(value)
  if result:find("\0", 1, true) then
    error(name .. " must not contain a NUL character", level + 1)
  end
  return result
end

local Client = {}
Client.__index = Client

local function open(config, settings, done)
  config = ffi.gc(config, C.oneaccess_config_free) -- text() may raise an error
  for name, value in pairs(settings) do
    if name == "headers" and type(value) == "table" then
      C.oneaccess_config_set(config, name, nil) -- removes those from the environment
      for header, content in pairs(value) do
        if type(header) ~= "string" then error("headers must be { name = value }", 3) end
        header, content = text(name, header, 3), text(name, content, 3)
        C.oneaccess_config_add_header(config, header, content)
      end
    elseif not done[name] then
      C.oneaccess_config_set(config, text("a setting", name, 3), text(name, value, 3))
    end
  end
  local out = ffi.new "oneaccess_client *[1]"
  local err = C.oneaccess_client_new(config, out)
  C.oneaccess_config_free(ffi.gc(config, nil))
  if err ~= nil then return nil, take_error(err) end
  return setmetatable({ handle = ffi.gc(out[0], C.oneaccess_client_free) }, Client)
end

local CREDENTIALS = { endpoint = true, client_id = true, client_secret = true }

--- A client with exactly the endpoint, client_id and client_secret of this table. Its other fields
-- are settings of docs/settings.md: `timeout_ms = 5000`, `headers = { ["X-tenant-id"] = "1" }`.
-- Reads no ONEACCESS_ variables. Sends no request.
function oneaccess.new(settings)
  local endpoint = text("endpoint", settings.endpoint, 2)
  local client_id = text("client_id", settings.client_id, 2)
  local client_secret = text("client_secret", settings.client_secret, 2)
  local config = C.oneaccess_config_new(endpoint, client_id, client_secret)
  local client, err = open(config, settings, CREDENTIALS)
  return client, err
end

--- A client from the variables ONEACCESS_ENDPOINT, ONEACCESS_CLIENT_ID, ONEACCESS_CLIENT_SECRET,
-- and one for each setting. The settings in the table, if there is one, take precedence.
function oneaccess.from_env(settings)
  local client, err = open(C.oneaccess_config_new_from_env(), settings or {}, {})
  return client, err
end

--- Version of the loaded library.
function oneaccess.version()
  return ffi.string(C.oneaccess_version())
end

--- A valid token; call it before each use. Usually it comes from memory. Otherwise the call blocks
-- for at most `timeout` seconds (default: the setting timeout_ms). With 0 it sends no request.
-- Fields: authorization (the value of the header), access_token, token_type, scope, id_token,
-- expires_at (Unix time, for display only).
function Client:get_token(timeout)
  local out = ffi.new "oneaccess_token *[1]"
  local err
  if timeout then
    local timeout_ms = math.ceil(math.min(timeout, 86400) * 1000)
    err = C.oneaccess_client_get_token_within(self.handle, timeout_ms, out)
  else
    err = C.oneaccess_client_get_token(self.handle, out)
  end
  if err ~= nil then return nil, take_error(err) end
  return take_token(out[0])
end

--- The token in memory, or nil if there is none or it is not usable. Never waits and never sends a
-- request.
function Client:cached_token()
  local token = C.oneaccess_client_get_cached_token(self.handle)
  if token ~= nil then return take_token(token) end
end

--- Seconds until get_token should be called to refresh the token; nil: never, the client is closed.
function Client:refresh_in()
  local milliseconds = tonumber(C.oneaccess_client_refresh_in_ms(self.handle))
  return milliseconds >= 0 and milliseconds / 1000 or nil
end

--- Reports that a management API rejected this token (or access token): HTTP 401, or HTTP 400 with
-- `invalid_token` in the body. The next get_token requests a new one.
function Client:reject(token)
  local access_token = secrets[token] and token.access_token or token
  C.oneaccess_client_reject_token(self.handle, text("token", access_token, 2))
end

--- Uses this secret for all further requests; the current token is kept. Returns true, or nil and
-- an error.
function Client:set_client_secret(client_secret)
  local secret = text("client_secret", client_secret, 2)
  local err = C.oneaccess_client_set_client_secret(self.handle, secret)
  if err ~= nil then return nil, take_error(err) end
  return true
end

--- The ONEACCESS_STAT_* numbers of oneaccess.h by name, of this client in this process.
function Client:statistics()
  local numbers = {}
  for stat, name in ipairs(STATISTICS) do
    numbers[name] = tonumber(C.oneaccess_client_stat(self.handle, stat))
  end
  return numbers
end

--- Why the last request failed, also if no call reported it because the token was still valid. nil
-- if it succeeded.
function Client:last_error()
  local err = C.oneaccess_client_get_last_error(self.handle)
  if err ~= nil then return take_error(err) end
end

--- The last failure of the shared store (setting store), however long ago; nil if there was none. No
-- call reports it: the call goes on without the store.
function Client:last_store_error()
  local err = C.oneaccess_client_get_last_store_error(self.handle)
  if err ~= nil then return take_error(err) end
end

--- Ends all calls with CLOSED. The memory is freed by the garbage collector.
function Client:close()
  C.oneaccess_client_close(self.handle)
end

-- Runs in a thread of nginx, in a Lua state of its own. The client is that of the worker, at this
-- address, which only the same copy of the library can use.
function oneaccess._refresh(path, address)
  if path ~= PATH then error("nginx.conf needs the line: env ONEACCESS_LIBRARY;", 0) end
  setmetatable({ handle = ffi.cast("oneaccess_client *", address) }, Client):get_token()
end

local function refresh_in_thread(_, client, refresh, thread_pool)
  refresh.runs = true
  local address = tonumber(ffi.cast("intptr_t", client.handle))
  local called, ran, err =
    pcall(ngx.run_worker_thread, thread_pool, MODULE, "_refresh", PATH, address)
  if not (called and ran) then
    ngx.log(ngx.ERR, "cannot refresh the token: ", called and err or ran)
  end
  client.refresh = nil
  refresh:post(math.max(1, -refresh:count())) -- wakes all requests that wait
end

-- A semaphore to wait for the refresh that is running. When there are too many timers
-- (lua_max_running_timers), nginx may drop this one: then a second later another one is made.
function Client:_start_refresh(thread_pool)
  local refresh = self.refresh
  if refresh and (refresh.runs or ngx.now() - refresh.made < 1) then return refresh end
  refresh = require("ngx.semaphore").new()
  refresh.made = ngx.now()
  -- In a timer, since this request may be aborted.
  local ok = ngx.timer.at(0, refresh_in_thread, self, refresh, thread_pool)
  self.refresh = ok and refresh
  return self.refresh
end

--- Like get_token, for request handlers and timers of OpenResty: does not block the worker. A
-- usable token comes from memory; if it is due to be refreshed, that happens in a thread of this
-- pool (`thread_pool` in nginx.conf), one at a time. Without a token, the request waits for it.
function Client:token(thread_pool)
  repeat
    local token = self:cached_token()
    if token and self:refresh_in() ~= 0 then return token end
    local refresh = self:_start_refresh(thread_pool)
    if token then return token end
  until not refresh or refresh:wait(1)
  return self:get_token(0) -- the new token, or the error of that refresh
end

return oneaccess
