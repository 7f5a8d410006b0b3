# frozen_string_literal: true

# Prints the names of the users of a OneAccess tenant.

require "json"
require "net/http"
require "oneaccess"

URL = URI("#{ENV.fetch('ONEACCESS_ENDPOINT')}/api/v2/tenant/users")
TLS = { use_ssl: true, ca_file: ENV.fetch("ONEACCESS_CA_FILE", nil) }.freeze

# Calls a management API. If it rejects the token, tries once more with a new one.
def call(client, url, attempts: 2)
  token = client.get_token
  response = Net::HTTP.start(url.host, url.port, **TLS) do |http|
    http.get(url.request_uri, "Authorization" => token.authorization)
  end
  return JSON.parse(response.body) if response.is_a?(Net::HTTPOK)

  rejected = response.code == "401" ||
             (response.code == "400" && response.body.include?("invalid_token"))
  raise "HTTP #{response.code} from #{url}" unless rejected && attempts > 1

  client.reject(token)
  call(client, url, attempts: attempts - 1)
end

client = OneAccess::Client.from_env
call(client, URL)["users"].each { |user| puts user["user_name"] }
