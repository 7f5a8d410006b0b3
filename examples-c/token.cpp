// Prints an Authorization header for the management APIs of OneAccess; token.c in C++17.
#include <oneaccess.h>

#include <ctime>
#include <iostream>
#include <memory>
#include <stdexcept>

namespace oneaccess {

template <auto release> struct Release {
    template <class T> void operator()(T *object) const { release(object); }
};
using Config = std::unique_ptr<oneaccess_config, Release<oneaccess_config_free>>;
using Client = std::unique_ptr<oneaccess_client, Release<oneaccess_client_free>>;
using Token = std::unique_ptr<oneaccess_token, Release<oneaccess_token_free>>;

void check(oneaccess_error *error)
{
    if (!error)
        return;
    std::unique_ptr<oneaccess_error, Release<oneaccess_error_free>> owner(error);
    throw std::runtime_error(oneaccess_error_message(error));
}

Client make_client(const Config &config)
{
    oneaccess_client *client;
    check(oneaccess_client_new(config.get(), &client));
    return Client(client);
}

Token get_token(const Client &client)
{
    oneaccess_token *token;
    check(oneaccess_client_get_token(client.get(), &token));
    return Token(token);
}

} // namespace oneaccess

int main()
try {
    auto client = oneaccess::make_client(oneaccess::Config(oneaccess_config_new_from_env()));
    auto token = oneaccess::get_token(client);
    std::time_t expires = oneaccess_token_expires_at(token.get());
    std::cout << "Authorization: " << oneaccess_token_authorization(token.get()) << '\n'
              << "Expires: " << std::ctime(&expires);
} catch (const std::exception &error) {
    std::cerr << "no token: " << error.what() << '\n';
    return 1;
}
