-- Checks the wrapper. Prints one line per check: those that tests/bindings.rs expects.
local cjson = require "cjson"
local ffi = require "ffi"
local oneaccess = require "oneaccess"

ffi.cdef "int fork(void); int waitpid(int, int *, int); void _exit(int); char *mkdtemp(char *);"

local ENDPOINT = os.getenv "ONEACCESS_ENDPOINT"
local ID = os.getenv "ONEACCESS_CLIENT_ID"
local SECRET = os.getenv "ONEACCESS_CLIENT_SECRET"
local CA_FILE = os.getenv "ONEACCESS_CA_FILE"

local function check(name, passed)
  print((passed and "ok " or "FAILED ") .. name)
end

-- A client with these credentials, and `more` settings.
local function with(id, secret, more)
  local settings = { endpoint = ENDPOINT, client_id = id, client_secret = secret }
  for name, value in pairs(more or { ca_file = CA_FILE }) do
    settings[name] = value
  end
  return oneaccess.new(settings)
end

local function failure(result, err)
  return assert(result == nil and err)
end

local function refused(settings)
  local made, err = pcall(oneaccess.new, settings)
  return not made and type(err) == "string" and err:find(next(settings), 1, true)
end

-- What a printer or serialiser of tables finds.
local function show(value)
  if type(value) ~= "table" then return tostring(value) end
  local shown = tostring(value)
  for name, field in pairs(value) do
    shown = shown .. " " .. name .. "=" .. show(field)
  end
  for name, field in pairs(getmetatable(value)) do
    shown = shown .. " " .. name .. "=" .. tostring(field)
  end
  return shown
end

check("version", oneaccess.version() == "0.1.0")

-- The environment has everything, but must not complete explicit credentials.
local err = failure(oneaccess.new { client_id = ID, client_secret = SECRET })
check("no endpoint", err.kind == oneaccess.ARGUMENT)
check("no secret", failure(with(ID, nil)).kind == oneaccess.ARGUMENT)
err = failure(with(ID, SECRET, { timeout = 5 }))
local named = tostring(err):find("timeout_ms", 1, true)
check("unknown setting", err.kind == oneaccess.CONFIG and named)
err = failure(with(ID, SECRET, { timeout_ms = 0 }))
check("bad value", err.kind == oneaccess.CONFIG)
check("NUL character", refused { ca_file = "a\0b" } and refused { ca_file = {} })
local line_break = failure(with(ID, SECRET, { headers = { X = "1\r\nY: 2" } }))
check("headers", line_break.kind == oneaccess.ARGUMENT and refused { headers = { "X: 1" } })
local client = assert(with(ID, SECRET, {
  ca_file = CA_FILE,
  timeout_ms = 20000,
  system_roots = false,
  client_key_file = nil,
  headers = { ["X-Test"] = "bindings" },
}))

local nothing = client:cached_token() == nil and client:refresh_in() == 0
check("no token yet", nothing and failure(client:get_token(0)).kind == oneaccess.TIMEOUT)
local token = assert(client:get_token())
local words = token.token_type == "Bearer" and token.scope == "all"
local parts = token.id_token:find "^[^.]+%.[^.]+%.[^.]+$"
local authorization = token.authorization == "Bearer " .. token.access_token
local life = token.expires_at - os.time()
check("token", words and parts and authorization and 0 < life and life <= 1801)
local cached = client:cached_token().access_token == token.access_token
check("cached token", cached and client:get_token(0).id_token == token.id_token)
check("refresh in", 0 < client:refresh_in() and client:refresh_in() < 1800)
client:reject(token)
local new_token = client:get_token().access_token
check("rejected token", new_token ~= token.access_token)
client:reject(new_token) -- too early after the first rejection: ignored
check("rejected again", client:get_token().access_token == new_token)
local numbers = client:statistics()
local counted = numbers.refreshes == 2 and numbers.attempts == 2 and numbers.rejections == 1
counted = counted and numbers.failures == 0 and numbers.waits == 0 and numbers.denials == 0
counted = counted and numbers.store_hits == 0 and numbers.store_failures == 0
check("statistics", counted and numbers.token_age_ms >= 0 and numbers.token_remaining_ms > 0)
local child = ffi.C.fork()
if child == 0 then
  ffi.C._exit(client:get_token().access_token == new_token and 0 or 1)
end
local status = ffi.new "int[1]"
ffi.C.waitpid(child, status, 0)
check("forked child", child > 0 and status[0] == 0)

local wrong = assert(with(ID, "wrong"))
err = failure(wrong:get_token())
local denied = err.kind == oneaccess.DENIED and err.http_status == 401
denied = denied and err.vendor_code == "invalid_client"
denied = denied and not err.is_retryable and not err.is_remembered
local ago = os.time() - err.occurred_at -- the clock of os.time is a few milliseconds late
check("denied", denied and -1 <= ago and ago < 60)
err = failure(wrong:get_token())
check("remembered", err.is_remembered and 0 < err.retry_after and err.retry_after < 3600)
check("last error", wrong:last_error().kind == oneaccess.DENIED)
check("empty secret", failure(wrong:set_client_secret "").kind == oneaccess.ARGUMENT)
assert(wrong:set_client_secret(SECRET))
local accepted = wrong:get_token().token_type == "Bearer"
check("new secret", accepted and wrong:last_error() == nil)
err = failure(with("disabled-id", SECRET):get_token())
local message = tostring(err):find("应用已禁用", 1, true)
check("vendor code", err.vendor_code == "APP.0003" and message)

local template = "/tmp/oneaccess-XXXXXX"
local folder = ffi.string(ffi.C.mkdtemp(ffi.new("char[?]", #template + 1, template)))
local store = { ca_file = CA_FILE, store = "file:" .. folder .. "/store" }
local first, second = assert(with(ID, SECRET, store)), assert(with(ID, SECRET, store))
local shared = first:get_token().access_token == second:get_token().access_token
os.execute("rm -r " .. folder)
numbers = second:statistics()
shared = shared and numbers.store_hits == 1 and numbers.attempts == 0
shared = shared and second:last_store_error() == nil
store.store = "file:/nonexistent/folder"
local without = assert(with(ID, SECRET, store))
local bearer = without:get_token().token_type == "Bearer"
numbers = without:statistics()
bearer = bearer and numbers.store_hits == 0 and numbers.attempts == 1
bearer = bearer and numbers.store_failures >= 1
check("shared store", shared and bearer and without:last_store_error().kind == oneaccess.CONFIG)

local shown = show(client) .. show(token) .. show(err) .. err .. cjson.encode(token)
local hidden = true
for _, secret in ipairs { SECRET, token.access_token, token.id_token } do
  hidden = hidden and not shown:find(secret, 1, true)
end
check("secrets hidden", hidden and shown:find(token.scope, 1, true))

client:close()
client:close()
local closed = client:cached_token() == nil and client:refresh_in() == nil
check("closed", closed and failure(client:get_token()).kind == oneaccess.CLOSED)
client = assert(oneaccess.from_env { timeout_ms = 20000, headers = { ["X-Test"] = "settings" } })
check("from the environment", client:get_token().token_type == "Bearer")
