// Access tokens of Huawei Cloud OneAccess, kept fresh by liboneaccess.
#pragma once

#include <oneaccess.h>

#include <memory>
#include <stdexcept>
#include <string>

namespace oneaccess {

template <auto release> struct Release {
    template <class T> void operator()(T *object) const noexcept { release(object); }
};
using Config = std::unique_ptr<oneaccess_config, Release<oneaccess_config_free>>;

// Why there is no token.
class Error : public std::runtime_error {
public:
    explicit Error(const oneaccess_error *error)
        : std::runtime_error(oneaccess_error_message(error)), kind(oneaccess_error_kind(error)),
          http_status(oneaccess_error_http_status(error)),
          is_retryable(oneaccess_error_is_retryable(error) != 0)
    {
        if (const char *code = oneaccess_error_vendor_code(error))
            vendor_code = code;
    }

    int kind; // ONEACCESS_ERROR_...
    int http_status;
    bool is_retryable;
    std::string vendor_code;
};

inline void check(oneaccess_error *error)
{
    std::unique_ptr<oneaccess_error, Release<oneaccess_error_free>> owner(error);
    if (error)
        throw Error(error);
}

// Its texts live as long as it does.
class Token {
public:
    explicit Token(oneaccess_token *token) : token(token) {}
    const char *access_token() const { return oneaccess_token_access_token(token.get()); }
    const char *authorization() const { return oneaccess_token_authorization(token.get()); }
    int64_t expires_at() const { return oneaccess_token_expires_at(token.get()); }

private:
    std::unique_ptr<oneaccess_token, Release<oneaccess_token_free>> token;
};

// Share one among all threads; let it outlive them.
class Client {
public:
    explicit Client(const Config &config)
    {
        oneaccess_client *made;
        check(oneaccess_client_new(config.get(), &made));
        client.reset(made);
    }

    // Call it before every use. Blocks about once in a token's life.
    Token get_token() const
    {
        oneaccess_token *token;
        check(oneaccess_client_get_token(client.get(), &token));
        return Token(token);
    }

    // A management API did not accept this token.
    void reject(const Token &token) const
    {
        oneaccess_client_reject_token(client.get(), token.access_token());
    }

    // Ends all calls, those of other threads too.
    void close() const { oneaccess_client_close(client.get()); }

private:
    std::unique_ptr<oneaccess_client, Release<oneaccess_client_free>> client;
};

} // namespace oneaccess
