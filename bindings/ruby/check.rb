# frozen_string_literal: true

# Checks the wrapper. Prints one line per check: those that tests/bindings.rs expects.

require "json"
require "oneaccess"
require "pathname"
require "socket"
require "tmpdir"
require "yaml"

SECRET = ENV.fetch("ONEACCESS_CLIENT_SECRET")
CREDENTIALS = {
  endpoint: ENV.fetch("ONEACCESS_ENDPOINT"),
  client_id: ENV.fetch("ONEACCESS_CLIENT_ID"),
  client_secret: SECRET
}.freeze
CA_FILE = ENV.fetch("ONEACCESS_CA_FILE")

Kind = OneAccess::Kind

def new_client(**changes) = OneAccess::Client.new(**CREDENTIALS, **changes)

def check(name, passed)
  puts "#{passed ? 'ok' : 'FAILED'} #{name}"
end

def failure
  yield
  nil
rescue OneAccess::Error => e
  e
end

def refused(error, name)
  yield
  false
rescue error => e
  e.message.include?(name)
end

def check_settings
  # The environment has everything, but must not complete explicit credentials.
  check("no endpoint", failure { new_client(endpoint: nil) }.kind == Kind::ARGUMENT)
  check("no secret", failure { new_client(client_secret: nil) }.kind == Kind::ARGUMENT)
  error = failure { new_client(timeout: 5) }
  check("unknown setting", error.kind == Kind::CONFIG && error.message.include?("timeout_ms"))
  bad = failure { new_client(timeout_ms: 0) }.kind == Kind::CONFIG
  check("bad value", bad && refused(TypeError, "proxy") { new_client(proxy: { "a" => "b" }) })
  check("NUL character", refused(ArgumentError, "ca_file") { new_client(ca_file: "a\0b") })
  line_break = failure { new_client(headers: { "X" => "1\r\nY: 2" }) }.kind == Kind::ARGUMENT
  check("headers", line_break && refused(TypeError, "headers") { new_client(headers: ["X: 1"]) })
end

def check_tokens(client)
  nothing = client.cached_token.nil? && client.refresh_in.zero?
  timeout = failure { client.get_token(timeout: 0) }
  check("no token yet", nothing && timeout.kind == Kind::TIMEOUT)
  token = client.get_token
  words = [token.token_type, token.scope, token.id_token.count(".")] == ["Bearer", "all", 2]
  life = token.expires_at - Time.now
  authorization = token.authorization == "Bearer #{token.access_token}"
  check("token", words && authorization && life.positive? && life <= 1801)
  tokens = [client.cached_token, client.get_token(timeout: Float::INFINITY)].map(&:access_token)
  check("cached token", tokens.uniq == [token.access_token])
  check("refresh in", client.refresh_in.between?(1, 1800))
  client.reject(token)
  new_token = client.get_token
  check("rejected token", new_token.access_token != token.access_token)
  client.reject(new_token.access_token) # too early after the first rejection: ignored
  check("rejected again", client.get_token.access_token == new_token.access_token)
  numbers = client.statistics
  times = numbers.delete(:token_age_ms) >= 0 && numbers.delete(:token_remaining_ms).positive?
  expected = { refreshes: 2, attempts: 2, failures: 0, waits: 0, rejections: 1, denials: 0,
               store_hits: 0, store_failures: 0 }
  check("statistics", times && numbers == expected)
end

# What a call in a thread brings while this thread plays the server, which does not answer.
def closed_during_a_call
  server = TCPServer.new("127.0.0.1", 0)
  client = new_client(endpoint: "127.0.0.1:#{server.addr[1]}", ca_file: CA_FILE)
  call = Thread.new { failure { client.get_token } }
  server.accept
  yield call
  client.close
  call.value
end

def check_threads_and_forks(client)
  access_token = client.get_token.access_token
  tokens = Array.new(8) { Thread.new { client.get_token.access_token } }.map(&:value)
  closed = closed_during_a_call { nil }.kind == Kind::CLOSED
  killed = closed_during_a_call(&:kill).nil? # tests/bindings.rs counts what it does not free
  check("threads", tokens.uniq == [access_token] && closed && killed)
  child = fork { exit(client.get_token.access_token == access_token) }
  check("forked child", Process.wait2(child)[1].success?)
end

def check_errors
  wrong = new_client(client_secret: "wrong", ca_file: CA_FILE)
  error = failure { wrong.get_token }
  denied = [error.kind, error.http_status, error.vendor_code]
  now = Time.now - error.occurred_at < 60
  final = !error.retryable? && !error.remembered?
  check("denied", denied == [Kind::DENIED, 401, "invalid_client"] && now && final)
  error = failure { wrong.get_token }
  check("remembered", error.remembered? && error.retry_after.between?(0.001, 3600))
  check("last error", wrong.last_error.kind == Kind::DENIED)
  check("empty secret", failure { wrong.client_secret = "" }.kind == Kind::ARGUMENT)
  wrong.client_secret = SECRET
  check("new secret", wrong.get_token.token_type == "Bearer" && wrong.last_error.nil?)
  disabled = new_client(client_id: "disabled-id", ca_file: CA_FILE)
  error = failure { disabled.get_token }
  check("vendor code", error.vendor_code == "APP.0003" && error.message.include?("应用已禁用"))
end

def with_store(folder) = new_client(ca_file: CA_FILE, store: "file:#{folder}")

def check_store
  first, second = nil
  tokens = Dir.mktmpdir do |folder|
    first, second = Array.new(2) { with_store("#{folder}/store") }
    [first, second].map { |client| client.get_token.access_token }
  end
  numbers = second.statistics.values_at(:store_hits, :attempts)
  shared = tokens.uniq.one? && numbers == [1, 0] && second.last_store_error.nil?
  without = with_store("/nonexistent/folder")
  bearer = without.get_token.token_type == "Bearer"
  numbers = without.statistics
  skipped = numbers.values_at(:store_hits, :attempts) == [0, 1] && numbers[:store_failures] >= 1
  config = without.last_store_error.kind == Kind::CONFIG
  check("shared store", shared && bearer && skipped && config)
end

def check_secrets(client)
  token = client.get_token
  error = failure { client.client_secret = "" }
  objects = [client, token, error]
  shown = objects.flat_map { |object| [object.inspect, object.to_s, object.to_json] }
  shown += [client, token].map(&:to_yaml)
  hidden = [SECRET, token.access_token, token.id_token].none? { |text| shown.join.include?(text) }
  refused = [client, token].all? { |object| refused(TypeError, "") { Marshal.dump(object) } }
  check("secrets hidden", hidden && refused)
end

check("version", OneAccess.version == "0.1.0")
check_settings
client = new_client(
  ca_file: Pathname(CA_FILE),
  timeout_ms: 20_000,
  system_roots: false,
  client_key_file: nil,
  headers: { "X-Test": "bindings" }
)
check_tokens(client)
check_threads_and_forks(client)
check_errors
check_store
check_secrets(client)

client.close
client.close
closed = client.cached_token.nil? && client.refresh_in.nil?
check("closed", closed && failure { client.get_token }.kind == Kind::CLOSED)
client = OneAccess::Client.from_env(timeout_ms: 20_000, headers: { "X-Test" => "settings" })
check("from the environment", client.get_token.token_type == "Bearer")
