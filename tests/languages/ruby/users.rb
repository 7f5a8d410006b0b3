# Counts the users of a OneAccess tenant, in threads.
require "json"
require "net/http"
require_relative "oneaccess"

USERS_URL = URI(ENV.fetch("ONEACCESS_TENANT_USERS_URL"))
CA_FILE = ENV["ONEACCESS_CA_FILE"]

# Calls a management API; replaces a token that it no longer accepts.
def get(client, url, attempts: 2)
  token = client.token
  tls = { use_ssl: url.scheme == "https", ca_file: CA_FILE }
  answer = Net::HTTP.start(url.host, url.port, **tls) do |http|
    http.get(url.request_uri, "Authorization" => token.authorization)
  end
  return JSON.parse(answer.body) if answer.is_a?(Net::HTTPOK)

  expired = answer.code == "401" || answer.code == "400" && answer.body.include?("invalid_token")
  raise "HTTP #{answer.code} from #{url}" if !expired || attempts == 1

  client.reject(token)
  get(client, url, attempts: attempts - 1)
end

def count_users(client)
  get(client, USERS_URL)["total"]
end

def show_error(client_id)
  endpoint = ENV.fetch("ONEACCESS_ENDPOINT")
  wrong = { endpoint:, client_id:, client_secret: "wrong", ca_file: CA_FILE }
  OneAccess::Client.open(**wrong, &:token)
rescue OneAccess::Error => e
  puts "kind #{e.kind}, HTTP #{e.http_status}, #{e.vendor_code}: #{e.message}"
end

OneAccess::Client.open do |client|
  threads = Array.new(8) { Thread.new { count_users(client) } }
  puts "users: #{threads.map(&:value).join(' ')}"
end
show_error(ENV.fetch("ONEACCESS_CLIENT_ID"))
show_error("disabled-application")
puts "ok"
