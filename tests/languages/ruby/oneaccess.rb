# Access tokens of Huawei Cloud OneAccess, kept fresh by liboneaccess.
require "fiddle/import"

module OneAccess
  DENIED = 7 # a kind of error; all of them are in oneaccess.h

  module Library
    extend Fiddle::Importer
    dlload "liboneaccess.so.0"
    typealias "int32_t", "int"
    typealias "int64_t", "long long"
    extern "void *oneaccess_config_new(const char *, const char *, const char *)"
    extern "void *oneaccess_config_new_from_env(void)"
    extern "void oneaccess_config_set(void *, const char *, const char *)"
    extern "void oneaccess_config_free(void *)"
    extern "void *oneaccess_client_new(void *, void *)"
    extern "void *oneaccess_client_get_token(void *, void *)"
    extern "void oneaccess_client_reject_token(void *, const char *)"
    extern "void oneaccess_client_close(void *)"
    extern "void oneaccess_client_free(void *)"
    extern "const char *oneaccess_token_access_token(void *)"
    extern "const char *oneaccess_token_authorization(void *)"
    extern "int64_t oneaccess_token_expires_at(void *)"
    extern "void oneaccess_token_free(void *)"
    extern "int32_t oneaccess_error_kind(void *)"
    extern "int32_t oneaccess_error_http_status(void *)"
    extern "const char *oneaccess_error_vendor_code(void *)"
    extern "const char *oneaccess_error_message(void *)"
    extern "int32_t oneaccess_error_is_retryable(void *)"
    extern "void oneaccess_error_free(void *)"

    # What a function stores through its last argument, or an exception.
    def self.out
      stored = Fiddle::Pointer.malloc(Fiddle::SIZEOF_VOIDP, Fiddle::RUBY_FREE)
      error = yield stored
      return stored.ptr if error.null?

      begin
        raise Error.new(error)
      ensure
        oneaccess_error_free(error)
      end
    end

    def self.text(pointer)
      pointer.to_s.force_encoding(Encoding::UTF_8) unless pointer.null?
    end
  end

  class Error < StandardError
    attr_reader :kind, :http_status, :vendor_code

    def initialize(error)
      super(Library.text(Library.oneaccess_error_message(error)))
      @kind = Library.oneaccess_error_kind(error)
      @http_status = Library.oneaccess_error_http_status(error)
      @vendor_code = Library.text(Library.oneaccess_error_vendor_code(error))
      @retryable = Library.oneaccess_error_is_retryable(error) != 0
    end

    def retryable? = @retryable
  end

  Token = Struct.new(:access_token, :authorization, :expires_at) do
    def inspect = "#<OneAccess::Token expires_at=#{expires_at}>" # not to be seen in logs
    alias_method :to_s, :inspect
  end

  # Share one among all threads; a forked child may go on using it.
  class Client
    # Gives a client to the block, or returns it; without an endpoint from the environment,
    # ONEACCESS_ENDPOINT and so on.
    def self.open(...)
      client = new(...)
      return client unless block_given?

      begin
        yield client
      ensure
        client.close
      end
    end

    def initialize(endpoint: nil, client_id: nil, client_secret: nil, ca_file: nil)
      config = if endpoint
                 Library.oneaccess_config_new(endpoint, client_id, client_secret)
               else
                 Library.oneaccess_config_new_from_env
               end
      Library.oneaccess_config_set(config, "ca_file", ca_file) if ca_file
      @handle = Library.out { |client| Library.oneaccess_client_new(config, client) }
      # The garbage collector frees it, when no thread can be in a call.
      @handle.free = Library["oneaccess_client_free"]
    ensure
      Library.oneaccess_config_free(config)
    end

    # Call it before every use. Blocks about once in a token's life; other threads run meanwhile.
    def token
      token = Library.out { |token| Library.oneaccess_client_get_token(@handle, token) }
      Token.new(Library.text(Library.oneaccess_token_access_token(token)),
                Library.text(Library.oneaccess_token_authorization(token)),
                Library.oneaccess_token_expires_at(token))
    ensure
      Library.oneaccess_token_free(token)
    end

    # A management API did not accept this token.
    def reject(token)
      Library.oneaccess_client_reject_token(@handle, token.access_token)
    end

    # Ends all calls, those of other threads too.
    def close
      Library.oneaccess_client_close(@handle)
    end
  end
end
