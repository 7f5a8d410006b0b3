-- Counts the users of a OneAccess tenant.
local cjson = require "cjson"
local http_request = require "http.request"
local http_tls = require "http.tls"
local oneaccess = require "oneaccess"

local CA_FILE = os.getenv "ONEACCESS_CA_FILE"

local tls = http_tls.new_client_context()
if CA_FILE then tls:getStore():add(CA_FILE) end

local function request(url, authorization)
  local request = http_request.new_from_uri(url)
  request.ctx = tls
  request.headers:upsert("authorization", authorization)
  local headers, stream = assert(request:go(15))
  local body = assert(stream:get_body_as_string(15))
  return tonumber(headers:get ":status"), body
end

-- Calls a management API; replaces a token that it no longer accepts.
local function get(client, url, attempts)
  local token = client:token()
  local status, body = request(url, token.authorization)
  if status == 200 then return cjson.decode(body) end
  local expired = status == 401 or status == 400 and body:find("invalid_token", 1, true)
  if not expired or attempts == 1 then
    error("HTTP " .. status .. " from " .. url)
  end
  client:reject(token)
  return get(client, url, (attempts or 2) - 1)
end

local function count_users(client)
  return get(client, os.getenv "ONEACCESS_TENANT_USERS_URL").total
end

local function show_error(client_id)
  local client = oneaccess.client {
    endpoint = os.getenv "ONEACCESS_ENDPOINT",
    client_id = client_id,
    client_secret = "wrong",
    ca_file = CA_FILE,
  }
  local ok, err = pcall(client.token, client)
  client:close()
  assert(not ok and oneaccess.is_error(err), err)
  print(("kind %d, HTTP %d, %s: %s"):format(err.kind, err.http_status, err.vendor_code, err.message))
end

local client = oneaccess.client()
print("users:", count_users(client), count_users(client))
client:close()
show_error(os.getenv "ONEACCESS_CLIENT_ID")
show_error "disabled-application"
print "ok"
