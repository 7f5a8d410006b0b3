# frozen_string_literal: true

require "fiddle"
require "rbconfig"

# Access tokens of Huawei Cloud OneAccess (Bamboocloud), kept fresh.
#
#   client = OneAccess::Client.from_env # one for the whole process
#   token = client.get_token            # before every use, from any thread
#   headers = { "Authorization" => token.authorization }
module OneAccess
  # What failed. The library's README says what to do about each kind.
  module Kind
    ARGUMENT = 1
    CONFIG = 2
    TRANSPORT = 3
    PROXY = 4
    TLS = 5
    TIMEOUT = 6
    DENIED = 7
    THROTTLED = 8
    SERVER = 9
    PROTOCOL = 10
    CLOSED = 11
    INTERNAL = 12
  end

  STATISTICS = {
    refreshes: 1,
    attempts: 2,
    failures: 3,
    waits: 4,
    rejections: 5,
    denials: 6,
    token_age_ms: 7,
    token_remaining_ms: 8,
    store_hits: 9,
    store_failures: 10
  }.freeze
  private_constant :STATISTICS

  # Version of the loaded library.
  def self.version = Library.oneaccess_version

  # A call failed. The message is one line that says what to do; it contains no secret.
  class Error < StandardError
    # One of Kind; a newer library may have more numbers.
    attr_reader :kind

    # The HTTP status of the response; 0 if there was none.
    attr_reader :http_status

    # The error_code of OneAccess, or the OAuth error; or nil.
    attr_reader :vendor_code

    # When the request failed, a Time.
    attr_reader :occurred_at

    # Seconds until a retry made sense when this was raised; 0 if unknown.
    attr_reader :retry_after

    def initialize(message = nil, kind: Kind::INTERNAL, http_status: 0, vendor_code: nil,
                   retryable: false, remembered: false, occurred_at: Time.now, retry_after: 0.0)
      super(message)
      @kind = kind
      @http_status = http_status
      @vendor_code = vendor_code
      @retryable = retryable
      @remembered = remembered
      @occurred_at = occurred_at
      @retry_after = retry_after
    end

    # Whether the same request may succeed later without any change.
    def retryable? = @retryable

    # Whether the error comes from an earlier request; this call sent none.
    def remembered? = @remembered
  end

  # An access token. Immutable.
  class Token
    attr_reader :token_type

    # nil if the response had none.
    attr_reader :scope

    # A Time, for display: the client decides when to refresh.
    attr_reader :expires_at

    def initialize(access_token:, authorization:, expires_at:, token_type: "Bearer", scope: nil,
                   id_token: nil)
      # Inspection and serialisation (Marshal, YAML, JSON) do not show what is in a Proc.
      @access_token = -> { access_token }
      @authorization = -> { authorization }
      @id_token = -> { id_token }
      @token_type = token_type
      @scope = scope
      @expires_at = expires_at
      freeze
    end

    def access_token = @access_token.call

    # "Bearer ...", the value of the header.
    def authorization = @authorization.call

    # nil if the response had none.
    def id_token = @id_token.call

    def inspect = "#<#{self.class} token_type=#{token_type} expires_at=#{expires_at}>"
  end

  # Gets access tokens for one application. Share one client among all threads; on Linux a forked
  # child can continue to use it.
  class Client
    # Settings are those of docs/settings.md, by name: timeout_ms: 5000, ca_file: path,
    # headers: { "X-tenant-id" => "1" }. nil is the same as leaving one out.
    def initialize(endpoint:, client_id:, client_secret: nil, **settings)
      start(settings) do
        Library.oneaccess_config_new(Library.text(:endpoint, endpoint),
                                     Library.text(:client_id, client_id),
                                     Library.text(:client_secret, client_secret))
      end
    end

    # Reads ONEACCESS_ENDPOINT, ONEACCESS_CLIENT_ID, ONEACCESS_CLIENT_SECRET and all settings from
    # the environment; the settings given here take precedence.
    def self.from_env(**settings)
      client = allocate
      client.send(:start, settings) { Library.oneaccess_config_new_from_env }
      client
    end

    # A valid token; call it before each use. Usually it comes from memory. Otherwise the call
    # blocks, while other threads run, for at most +timeout+ seconds (default: the setting
    # timeout_ms). With 0 it sends no request.
    def get_token(timeout: nil)
      Library.uninterrupted do
        Library.take_token(
          Library.out do |token|
            if timeout.nil?
              Library.oneaccess_client_get_token(@handle, token)
            else
              milliseconds = ([timeout, 86_400].min * 1000).ceil # the library's limit is a day
              Library.oneaccess_client_get_token_within(@handle, milliseconds, token)
            end
          end
        )
      end
    end

    # The token in memory if it is usable, or nil. Never waits and never sends a request.
    def cached_token
      Library.uninterrupted do
        token = Library.oneaccess_client_get_cached_token(@handle)
        Library.take_token(token) unless token.null?
      end
    end

    # Seconds until get_token should be called to refresh the token; nil: never, the client is
    # closed.
    def refresh_in
      milliseconds = Library.oneaccess_client_refresh_in_ms(@handle)
      milliseconds / 1000.0 unless milliseconds.negative?
    end

    # Reports that a management API rejected this token (a Token or its access token): HTTP 401, or
    # HTTP 400 with invalid_token in the body. The next get_token requests a new one.
    def reject(token)
      token = token.access_token if token.is_a?(Token)
      Library.oneaccess_client_reject_token(@handle, Library.text(:access_token, token))
    end

    # Uses this secret for all further requests. The current token is kept.
    def client_secret=(client_secret)
      client_secret = Library.text(:client_secret, client_secret)
      Library.uninterrupted do
        Library.check(Library.oneaccess_client_set_client_secret(@handle, client_secret))
      end
    end

    # The ONEACCESS_STAT_* numbers of oneaccess.h, of this client in this process.
    def statistics
      STATISTICS.transform_values { |stat| Library.oneaccess_client_stat(@handle, stat) }
    end

    # Why the last request failed, also if no call reported it because the token was still valid.
    # nil if it succeeded.
    def last_error
      Library.uninterrupted do
        error = Library.oneaccess_client_get_last_error(@handle)
        Library.take_error(error) unless error.null?
      end
    end

    # The last failure of the shared store (setting store), however long ago. nil if there was none.
    # No call reports it: the call goes on without the store.
    def last_store_error
      Library.uninterrupted do
        error = Library.oneaccess_client_get_last_store_error(@handle)
        Library.take_error(error) unless error.null?
      end
    end

    # Ends all calls, also those in other threads, with CLOSED.
    def close = Library.oneaccess_client_close(@handle)

    private

    def start(settings)
      Library.uninterrupted do
        config = yield
        settings.each { |name, value| set(config, name, value) }
        @handle = Library.out { |client| Library.oneaccess_client_new(config, client) }
        # A running method refers to the client, so no call is in progress when it is collected.
        @handle.free = Library::LOADED["oneaccess_client_free"]
      ensure
        Library.oneaccess_config_free(config)
      end
    end

    def set(config, name, value)
      if name == :headers && value.is_a?(Hash)
        Library.oneaccess_config_set(config, "headers", nil) # removes those from the environment
        value.each do |header, text|
          header = Library.text(name, header)
          Library.oneaccess_config_add_header(config, header, Library.text(name, text))
        end
      elsif !value.nil?
        setting = Library.text("a setting", name)
        Library.oneaccess_config_set(config, setting, Library.text(name, value))
      end
    end
  end

  # The C functions under their names, and functions that convert arguments and results.
  module Library # :nodoc:
    # Delays Thread#raise, Thread#kill and Timeout until what a call returned is released.
    def self.uninterrupted(&) = Thread.handle_interrupt(Object => :never, &)

    # Returns what a function stores through its last argument; raises its error.
    def self.out
      Fiddle::Pointer.malloc(Fiddle::SIZEOF_VOIDP, Fiddle::RUBY_FREE) do |stored|
        check(yield(stored))
        stored.ptr
      end
    end

    def self.check(error)
      raise take_error(error) unless error.null?
    end

    def self.take_token(token)
      Token.new(
        access_token: utf8(oneaccess_token_access_token(token)),
        authorization: utf8(oneaccess_token_authorization(token)),
        token_type: utf8(oneaccess_token_token_type(token)),
        scope: utf8(oneaccess_token_scope(token)),
        id_token: utf8(oneaccess_token_id_token(token)),
        expires_at: Time.at(oneaccess_token_expires_at(token))
      )
    ensure
      oneaccess_token_free(token)
    end

    def self.take_error(error)
      Error.new(
        utf8(oneaccess_error_message(error)),
        kind: oneaccess_error_kind(error),
        http_status: oneaccess_error_http_status(error),
        vendor_code: utf8(oneaccess_error_vendor_code(error)),
        retryable: oneaccess_error_is_retryable(error) != 0,
        remembered: oneaccess_error_is_remembered(error) != 0,
        occurred_at: Time.at(oneaccess_error_occurred_at(error)),
        retry_after: oneaccess_error_retry_after_ms(error) / 1000.0
      )
    ensure
      oneaccess_error_free(error)
    end

    # An argument as the library wants it: UTF-8, or the bytes of a path, which are binary, or
    # US-ASCII with LC_ALL=C.
    def self.text(name, value)
      return if value.nil?

      text = case value
             when String, Symbol, Integer, true, false then value.to_s
             else
               unless value.respond_to?(:to_path)
                 raise TypeError, "#{name} must be a String, an Integer, true, false or a path, " \
                                  "not #{value.class}"
               end
               value.to_path
             end
      bytes = [Encoding::BINARY, Encoding::US_ASCII].include?(text.encoding)
      text = text.encode(Encoding::UTF_8) unless bytes
      raise ArgumentError, "#{name} must not contain a NUL character" if text.include?("\0")

      text
    end

    # Fiddle returns a copy of a C string, without an encoding.
    def self.utf8(text) = text&.force_encoding(Encoding::UTF_8)&.freeze

    def self.load
      name = case RbConfig::CONFIG["host_os"]
             when /darwin/ then "liboneaccess.0.dylib"
             when /mswin|mingw/ then "oneaccess.dll"
             else "liboneaccess.so.0"
             end
      packaged = File.join(__dir__, name)
      path = ENV.fetch("ONEACCESS_LIBRARY", "")
      path = File.exist?(packaged) ? packaged : name if path.empty?
      Fiddle.dlopen(path)
    rescue Fiddle::DLError => e
      raise LoadError, "cannot load the oneaccess library: #{e.message}; install it, or set " \
                       "ONEACCESS_LIBRARY to its path"
    end

    LOADED = load

    # Calls that do not wait keep the GVL: releasing it would cost more than the call.
    def self.function(name, result, *arguments, need_gvl: true)
      function = Fiddle::Function.new(LOADED[name], arguments, result, name:, need_gvl:)
      define_singleton_method(name) { |*values| function.call(*values) }
    end

    void = Fiddle::TYPE_VOID
    pointer = Fiddle::TYPE_VOIDP
    string = Fiddle::TYPE_CONST_STRING
    int32 = Fiddle::TYPE_INT32_T
    int64 = Fiddle::TYPE_INT64_T

    function "oneaccess_version", string
    function "oneaccess_config_new", pointer, string, string, string
    function "oneaccess_config_new_from_env", pointer
    function "oneaccess_config_set", void, pointer, string, string
    function "oneaccess_config_add_header", void, pointer, string, string
    function "oneaccess_config_free", void, pointer
    function "oneaccess_client_new", pointer, pointer, pointer
    function "oneaccess_client_get_token", pointer, pointer, pointer, need_gvl: false
    function "oneaccess_client_get_token_within", pointer, pointer, int64, pointer, need_gvl: false
    function "oneaccess_client_get_cached_token", pointer, pointer
    function "oneaccess_client_refresh_in_ms", int64, pointer
    function "oneaccess_client_reject_token", void, pointer, string
    function "oneaccess_client_set_client_secret", pointer, pointer, string
    function "oneaccess_client_stat", int64, pointer, int32
    function "oneaccess_client_get_last_error", pointer, pointer
    function "oneaccess_client_get_last_store_error", pointer, pointer
    function "oneaccess_client_close", void, pointer
    function "oneaccess_token_access_token", string, pointer
    function "oneaccess_token_authorization", string, pointer
    function "oneaccess_token_token_type", string, pointer
    function "oneaccess_token_scope", string, pointer
    function "oneaccess_token_id_token", string, pointer
    function "oneaccess_token_expires_at", int64, pointer
    function "oneaccess_token_free", void, pointer
    function "oneaccess_error_kind", int32, pointer
    function "oneaccess_error_http_status", int32, pointer
    function "oneaccess_error_vendor_code", string, pointer
    function "oneaccess_error_message", string, pointer
    function "oneaccess_error_is_retryable", int32, pointer
    function "oneaccess_error_is_remembered", int32, pointer
    function "oneaccess_error_occurred_at", int64, pointer
    function "oneaccess_error_retry_after_ms", int64, pointer
    function "oneaccess_error_free", void, pointer
  end
  private_constant :Library
end
