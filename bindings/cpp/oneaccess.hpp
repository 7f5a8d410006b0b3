// Access tokens of Huawei Cloud OneAccess (Bamboocloud), kept fresh. C++17; link with -loneaccess.
//
//     const auto client = oneaccess::Client::from_env();  // one for the whole process
//     const auto token = client.get_token();              // before every use, from any thread
//     header = "Authorization: " + std::string(token.authorization());

#pragma once

#include <oneaccess.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace oneaccess {

namespace detail {

template <auto free> struct Free {
    template <class T> void operator()(T *object) const noexcept { free(object); }
};
template <class T, auto free> using Owner = std::unique_ptr<T, Free<free>>;

using ConfigHandle = Owner<oneaccess_config, oneaccess_config_free>;
using ClientHandle = Owner<oneaccess_client, oneaccess_client_free>;
using TokenHandle = Owner<oneaccess_token, oneaccess_token_free>;

inline std::optional<std::string_view> optional_text(const char *text)
{
    return text ? std::optional<std::string_view>(text) : std::nullopt;
}

inline std::chrono::system_clock::time_point unix_time(std::int64_t seconds)
{
    return std::chrono::system_clock::time_point(std::chrono::seconds(seconds));
}

// For C, where a NUL character would end the text.
inline const char *c_text(const std::string &name, const std::string &text)
{
    if (text.find('\0') != std::string::npos)
        throw std::invalid_argument(name + " must not contain a NUL character");
    return text.c_str();
}

} // namespace detail

// What failed. The library's README says what to do about each kind. Newer versions of the library
// can return other numbers.
enum class Kind : std::int32_t {
    argument = ONEACCESS_ERROR_ARGUMENT,
    config = ONEACCESS_ERROR_CONFIG,
    transport = ONEACCESS_ERROR_TRANSPORT,
    proxy = ONEACCESS_ERROR_PROXY,
    tls = ONEACCESS_ERROR_TLS,
    timeout = ONEACCESS_ERROR_TIMEOUT,
    denied = ONEACCESS_ERROR_DENIED,
    throttled = ONEACCESS_ERROR_THROTTLED,
    server = ONEACCESS_ERROR_SERVER,
    protocol = ONEACCESS_ERROR_PROTOCOL,
    closed = ONEACCESS_ERROR_CLOSED,
    internal = ONEACCESS_ERROR_INTERNAL,
};

// A call failed. what() is one line that says what to do; it contains no secret.
class Error : public std::runtime_error {
public:
    // Takes ownership of `error`.
    explicit Error(oneaccess_error *error)
        : std::runtime_error(oneaccess_error_message(error)), error_(error, oneaccess_error_free)
    {
    }

    Kind kind() const noexcept { return static_cast<Kind>(oneaccess_error_kind(error_.get())); }

    // 0 if there was no response.
    int http_status() const noexcept { return oneaccess_error_http_status(error_.get()); }

    // The error_code of OneAccess, or the OAuth error. Valid as long as this error or a copy of it.
    std::optional<std::string_view> vendor_code() const noexcept
    {
        return detail::optional_text(oneaccess_error_vendor_code(error_.get()));
    }

    // Whether the call may succeed later without any change.
    bool is_retryable() const noexcept { return oneaccess_error_is_retryable(error_.get()) != 0; }

    // Whether it comes from an earlier request; this call sent none.
    bool is_remembered() const noexcept { return oneaccess_error_is_remembered(error_.get()) != 0; }

    std::chrono::system_clock::time_point occurred_at() const noexcept
    {
        return detail::unix_time(oneaccess_error_occurred_at(error_.get()));
    }

    // From now until a retry makes sense; 0 if that is unknown.
    std::chrono::milliseconds retry_after() const noexcept
    {
        return std::chrono::milliseconds(oneaccess_error_retry_after_ms(error_.get()));
    }

private:
    std::shared_ptr<const oneaccess_error> error_; // shared, since exceptions are copied
};

namespace detail {

inline void check(oneaccess_error *error)
{
    if (error)
        throw Error(error);
}

} // namespace detail

// An access token, which is wiped from memory when its last user has freed it. Its texts are
// NUL-terminated, and valid as long as the token.
class Token {
public:
    // Takes ownership of `token`.
    explicit Token(oneaccess_token *token) noexcept : token_(token) {}

    std::string_view access_token() const { return oneaccess_token_access_token(token_.get()); }

    // "Bearer ...", the value of the header.
    std::string_view authorization() const { return oneaccess_token_authorization(token_.get()); }

    std::string_view token_type() const { return oneaccess_token_token_type(token_.get()); }

    std::optional<std::string_view> scope() const
    {
        return detail::optional_text(oneaccess_token_scope(token_.get()));
    }

    std::optional<std::string_view> id_token() const
    {
        return detail::optional_text(oneaccess_token_id_token(token_.get()));
    }

    // For display only: the client decides when to refresh the token.
    std::chrono::system_clock::time_point expires_at() const
    {
        return detail::unix_time(oneaccess_token_expires_at(token_.get()));
    }

private:
    detail::TokenHandle token_;
};

using Headers = std::map<std::string, std::string>;

// The value of a setting: a text, a whole number, a bool, a path, Headers, or nullptr for the
// default. Other types do not compile.
class Setting {
public:
    Setting(std::nullptr_t) {}
    Setting(const char *text)
    {
        if (text)
            text_ = text;
    }
    Setting(std::string text) : text_(std::move(text)) {}
    template <class T, class = std::enable_if_t<std::is_integral_v<T>>> // bool is one of them
    Setting(T value)
    {
        if constexpr (std::is_same_v<T, bool>)
            text_ = value ? "true" : "false";
        else
            text_ = std::to_string(value);
    }
    Setting(const std::filesystem::path &path)
    {
        const auto text = path.u8string();
        text_.emplace(text.begin(), text.end());
    }
    Setting(Headers headers) : headers_(std::move(headers)) {}

private:
    friend class Client;
    std::optional<std::string> text_;
    std::optional<Headers> headers_;
};

// The settings of docs/settings.md, by name: {{"timeout_ms", 5000}, {"ca_file", "ca.pem"}}.
using Settings = std::map<std::string, Setting>;

// See oneaccess.h.
struct Statistics {
    std::int64_t refreshes, attempts, failures, waits, rejections, denials;
    std::int64_t store_hits, store_failures;
    std::optional<std::chrono::milliseconds> token_age, token_remaining; // none without a token
};

// Gets access tokens for one application. Share one client among all threads, and let it outlive
// their calls. On Linux a forked child can continue to use it.
class Client {
public:
    // With the setting client_secret_file, pass an empty `client_secret`.
    Client(const std::string &endpoint, const std::string &client_id,
           const std::string &client_secret, const Settings &settings = {})
    {
        const auto text = [](const char *name, const std::string &value) {
            return value.empty() ? nullptr : detail::c_text(name, value);
        };
        open(oneaccess_config_new(text("endpoint", endpoint), text("client_id", client_id),
                                  text("client_secret", client_secret)),
             settings);
    }

    // Reads ONEACCESS_ENDPOINT, ONEACCESS_CLIENT_ID, ONEACCESS_CLIENT_SECRET and all settings from
    // the environment; `settings` take precedence.
    static Client from_env(const Settings &settings = {})
    {
        Client client;
        client.open(oneaccess_config_new_from_env(), settings);
        return client;
    }

    // A valid token; call it before each use. Usually it comes from memory. Otherwise the call
    // blocks, at most for the setting timeout_ms.
    Token get_token() const
    {
        oneaccess_token *token;
        detail::check(oneaccess_client_get_token(client_.get(), &token));
        return Token(token);
    }

    // The same, with a timeout for this call. With 0 it sends no request.
    Token get_token(std::chrono::milliseconds timeout) const
    {
        oneaccess_token *token;
        detail::check(oneaccess_client_get_token_within(client_.get(), timeout.count(), &token));
        return Token(token);
    }

    // The token in memory if it is usable. Never waits and never sends a request.
    std::optional<Token> cached_token() const
    {
        oneaccess_token *token = oneaccess_client_get_cached_token(client_.get());
        return token ? std::optional<Token>(token) : std::nullopt;
    }

    // Time until get_token should be called to refresh the token; none if the client is closed.
    std::optional<std::chrono::milliseconds> refresh_in() const
    {
        return milliseconds(oneaccess_client_refresh_in_ms(client_.get()));
    }

    // Reports that a management API rejected this token: HTTP 401, or HTTP 400 with `invalid_token`
    // in the body. The next get_token requests a new one.
    void reject(const Token &token) const
    {
        oneaccess_client_reject_token(client_.get(), token.access_token().data());
    }

    void reject(const std::string &access_token) const
    {
        const char *text = detail::c_text("access_token", access_token);
        oneaccess_client_reject_token(client_.get(), text);
    }

    // Uses this secret for all further requests. The current token is kept.
    void set_client_secret(const std::string &client_secret) const
    {
        const char *text = detail::c_text("client_secret", client_secret);
        detail::check(oneaccess_client_set_client_secret(client_.get(), text));
    }

    // Counted since the client was created, in this process.
    Statistics statistics() const
    {
        const auto stat = [this](std::int32_t number) {
            return oneaccess_client_stat(client_.get(), number);
        };
        return {stat(ONEACCESS_STAT_REFRESHES),
                stat(ONEACCESS_STAT_ATTEMPTS),
                stat(ONEACCESS_STAT_FAILURES),
                stat(ONEACCESS_STAT_WAITS),
                stat(ONEACCESS_STAT_REJECTIONS),
                stat(ONEACCESS_STAT_DENIALS),
                stat(ONEACCESS_STAT_STORE_HITS),
                stat(ONEACCESS_STAT_STORE_FAILURES),
                milliseconds(stat(ONEACCESS_STAT_TOKEN_AGE_MS)),
                milliseconds(stat(ONEACCESS_STAT_TOKEN_REMAINING_MS))};
    }

    // Why the last request failed, also if no call reported it because the token was still valid.
    std::optional<Error> last_error() const
    {
        oneaccess_error *error = oneaccess_client_get_last_error(client_.get());
        return error ? std::optional<Error>(error) : std::nullopt;
    }

    // The last failure of the shared store (setting store), however long ago. No call reports it:
    // the call goes on without the store.
    std::optional<Error> last_store_error() const
    {
        oneaccess_error *error = oneaccess_client_get_last_store_error(client_.get());
        return error ? std::optional<Error>(error) : std::nullopt;
    }

    // Ends all calls, also those in other threads, with Kind::closed.
    void close() const noexcept { oneaccess_client_close(client_.get()); }

private:
    Client() = default;

    void open(oneaccess_config *new_config, const Settings &settings)
    {
        const detail::ConfigHandle config(new_config);
        for (const auto &[name, value] : settings) {
            if (value.text_)
                oneaccess_config_set(config.get(), detail::c_text("a setting", name),
                                     detail::c_text(name, *value.text_));
            if (!value.headers_)
                continue;
            if (name != "headers")
                throw std::invalid_argument(name + " must be a text, a number, a bool or a path");
            // Removes those from the environment.
            oneaccess_config_set(config.get(), "headers", nullptr);
            for (const auto &[header, text] : *value.headers_)
                oneaccess_config_add_header(config.get(), detail::c_text(name, header),
                                            detail::c_text(name, text));
        }
        oneaccess_client *client;
        detail::check(oneaccess_client_new(config.get(), &client));
        client_.reset(client);
    }

    static std::optional<std::chrono::milliseconds> milliseconds(std::int64_t count)
    {
        return count < 0 ? std::nullopt : std::optional(std::chrono::milliseconds(count));
    }

    detail::ClientHandle client_;
};

// Version of the loaded library.
inline std::string_view version()
{
    return oneaccess_version();
}

} // namespace oneaccess
