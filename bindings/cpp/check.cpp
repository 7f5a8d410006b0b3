// Checks the wrapper. Prints one line per check: those that tests/bindings.rs expects.

#include "oneaccess.hpp"

#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <future>
#include <iostream>
#include <vector>

using namespace oneaccess;
using namespace std::chrono_literals;

static_assert(!std::is_constructible_v<Setting, double>);
static_assert(!std::is_constructible_v<Setting, void *>);

static const std::string endpoint = std::getenv("ONEACCESS_ENDPOINT");
static const std::string id = std::getenv("ONEACCESS_CLIENT_ID");
static const std::string secret = std::getenv("ONEACCESS_CLIENT_SECRET");
static const std::string ca_file = std::getenv("ONEACCESS_CA_FILE");

static void check(const char *name, bool passed)
{
    std::cout << (passed ? "ok " : "FAILED ") << name << std::endl;
}

template <class Call> static Error failure(Call call)
{
    try {
        call();
    } catch (const Error &error) {
        return error;
    }
    throw std::logic_error("no failure");
}

template <class Call> static bool refused(Call call)
{
    try {
        call();
    } catch (const std::invalid_argument &) {
        return true;
    }
    return false;
}

static Error not_made(const std::string &host, const std::string &client_secret,
                      const Settings &settings = {})
{
    return failure([&] { Client(host, id, client_secret, settings); });
}

template <class T, class = void> struct is_printable : std::false_type {};
template <class T>
struct is_printable<T, std::void_t<decltype(std::cout << std::declval<T>())>> : std::true_type {};

static void check_settings()
{
    // The environment has everything, but must not complete explicit credentials.
    check("no endpoint", not_made("", secret).kind() == Kind::argument);
    check("no secret", not_made(endpoint, "").kind() == Kind::argument);
    const Error unknown = not_made(endpoint, secret, {{"timeout", 5}});
    const bool nearest = std::string(unknown.what()).find("timeout_ms") != std::string::npos;
    check("unknown setting", unknown.kind() == Kind::config && nearest);
    const Error bad = not_made(endpoint, secret, {{"timeout_ms", 0}});
    check("bad value", bad.kind() == Kind::config);
    const std::string nul("a\0b", 3);
    check("NUL character", refused([&] { Client(endpoint, id, secret, {{"ca_file", nul}}); }));
    const Headers headers{{"X", "1\r\nY: 2"}};
    const Error line_break = not_made(endpoint, secret, {{"headers", headers}});
    const bool wrong_name = refused([&] { Client(endpoint, id, secret, {{"proxy", headers}}); });
    check("headers", line_break.kind() == Kind::argument && wrong_name);
}

static void check_tokens(const Client &client)
{
    const bool nothing = !client.cached_token() && client.refresh_in() == 0ms;
    const Error none = failure([&] { client.get_token(0ms); });
    check("no token yet", nothing && none.kind() == Kind::timeout);
    const Token token = client.get_token();
    const std::string id_token(token.id_token().value());
    const bool words = token.token_type() == "Bearer" && token.scope() == "all" &&
                       id_token.find('.') < id_token.rfind('.');
    const bool header = token.authorization() == "Bearer " + std::string(token.access_token());
    const auto life = token.expires_at() - std::chrono::system_clock::now();
    check("token", words && header && life > 0s && life <= 1801s);
    const auto text = token.access_token();
    check("cached token", client.cached_token()->access_token() == text &&
                              client.get_token(0s).access_token() == text);
    check("refresh in", client.refresh_in() > 0s && client.refresh_in() < 30min);
    client.reject(token);
    const Token new_token = client.get_token();
    const std::string new_text(new_token.access_token());
    check("rejected token", new_text != text);
    client.reject(new_text); // too early after the first rejection: ignored
    check("rejected again", client.get_token().access_token() == new_text);
    const Statistics numbers = client.statistics();
    const bool zero = numbers.failures == 0 && numbers.waits == 0 && numbers.denials == 0;
    check("statistics", numbers.refreshes == 2 && numbers.attempts == 2 && zero &&
                            numbers.rejections == 1 && numbers.token_age >= 0s &&
                            numbers.token_remaining > 0s);

    std::vector<std::future<bool>> threads;
    for (int i = 0; i < 8; i++)
        threads.push_back(std::async(std::launch::async, [&] {
            return client.get_token().access_token() == new_text;
        }));
    bool all = true;
    for (auto &thread : threads)
        all &= thread.get();
    check("threads", all);

    const pid_t child = fork();
    if (child == 0) {
        const bool same = client.get_token().access_token() == new_text;
        _exit(same ? 0 : 1);
    }
    int status;
    waitpid(child, &status, 0);
    check("forked child", status == 0);
}

static void check_errors()
{
    const Client wrong(endpoint, id, "wrong", {{"ca_file", ca_file}});
    const auto call = [&] { wrong.get_token(); };
    const Error denied = failure(call);
    const auto age = std::chrono::system_clock::now() - denied.occurred_at();
    const bool now = age >= 0s && age < 60s && !denied.is_retryable() && !denied.is_remembered();
    check("denied", denied.kind() == Kind::denied && denied.http_status() == 401 &&
                        denied.vendor_code() == "invalid_client" && now);
    const Error remembered = failure(call);
    const auto wait = remembered.retry_after();
    check("remembered", remembered.is_remembered() && wait > 0s && wait < 1h);
    check("last error", wrong.last_error()->kind() == Kind::denied);
    const Error empty = failure([&] { wrong.set_client_secret(""); });
    check("empty secret", empty.kind() == Kind::argument);
    wrong.set_client_secret(secret);
    check("new secret", wrong.get_token().token_type() == "Bearer" && !wrong.last_error());
    const Client disabled(endpoint, "disabled-id", secret, {{"ca_file", ca_file}});
    const Error code = failure([&] { disabled.get_token(); });
    const bool message = std::string(code.what()).find("应用已禁用") != std::string::npos;
    check("vendor code", code.vendor_code() == "APP.0003" && message);
}

static void check_store()
{
    const auto with = [](const std::string &folder) {
        return Client(endpoint, id, secret, {{"ca_file", ca_file}, {"store", "file:" + folder}});
    };
    auto folder = (std::filesystem::temp_directory_path() / "oneaccess-XXXXXX").string();
    if (!mkdtemp(folder.data()))
        throw std::runtime_error("no temporary folder");
    const Client first = with(folder + "/store");
    const Client second = with(folder + "/store");
    const Token token = first.get_token();
    bool passed = second.get_token().access_token() == token.access_token();
    std::filesystem::remove_all(folder);
    Statistics numbers = second.statistics();
    passed &= numbers.store_hits == 1 && numbers.attempts == 0 && !second.last_store_error();
    const Client without = with("/nonexistent/folder");
    passed &= without.get_token().token_type() == "Bearer";
    numbers = without.statistics();
    passed &= numbers.store_failures >= 1 && numbers.store_hits == 0 && numbers.attempts == 1;
    check("shared store", passed && without.last_store_error()->kind() == Kind::config);
}

int main()
{
    check("version", version() == "0.1.0");
    check_settings();
    const Client client(endpoint, id, secret,
                        {{"ca_file", std::filesystem::path(ca_file)},
                         {"timeout_ms", 20'000},
                         {"system_roots", false},
                         {"client_key_file", nullptr},
                         {"headers", Headers{{"X-Test", "bindings"}}}});
    check_tokens(client);
    check_errors();
    check_store();
    check("secrets hidden", !is_printable<Client>() && !is_printable<Token>());
    client.close();
    client.close();
    const bool closed = !client.cached_token() && !client.refresh_in();
    check("closed", closed && failure([&] { client.get_token(); }).kind() == Kind::closed);
    const auto from_env = Client::from_env(
        {{"timeout_ms", 20'000}, {"headers", Headers{{"X-Test", "settings"}}}});
    check("from the environment", from_env.get_token().token_type() == "Bearer");
}
