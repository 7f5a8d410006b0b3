-- Prints the names of the users of a OneAccess tenant.
local cjson = require "cjson"
local http_request = require "http.request"
local http_tls = require "http.tls"
local oneaccess = require "oneaccess"

local URL = os.getenv "ONEACCESS_ENDPOINT" .. "/api/v2/tenant/users"
local CA_FILE = os.getenv "ONEACCESS_CA_FILE"

local tls = http_tls.new_client_context()
if CA_FILE then tls:getStore():add(CA_FILE) end

local function get(url, authorization)
  local request = http_request.new_from_uri(url)
  request.ctx = tls
  request.headers:upsert("authorization", authorization)
  local headers, stream = assert(request:go(15))
  local body = assert(stream:get_body_as_string(15))
  return tonumber(headers:get ":status"), body
end

-- Calls a management API. If it rejects the token, tries once more with a new one.
local function call(client, url, attempts)
  local token = assert(client:get_token())
  local status, body = get(url, token.authorization)
  if status == 200 then return cjson.decode(body) end
  local rejected = status == 401 or status == 400 and body:find("invalid_token", 1, true)
  if not rejected or attempts == 1 then error("HTTP " .. status .. " from " .. url) end
  client:reject(token)
  return call(client, url, (attempts or 2) - 1)
end

local client = assert(oneaccess.from_env())
for _, user in ipairs(call(client, URL).users) do
  print(user.user_name)
end
