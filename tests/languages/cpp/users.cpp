// Counts the users of a OneAccess tenant, in threads.
#include "oneaccess.hpp"

#include <curl/curl.h>

#include <cstdlib>
#include <future>
#include <iostream>
#include <vector>

struct Answer {
    long status = 0;
    std::string body;
};

static size_t append(char *data, size_t size, size_t count, void *body)
{
    static_cast<std::string *>(body)->append(data, size * count);
    return size * count;
}

static Answer request(const std::string &url, const oneaccess::Token &token)
{
    std::unique_ptr<CURL, decltype(&curl_easy_cleanup)> curl(curl_easy_init(), curl_easy_cleanup);
    std::string header = std::string("Authorization: ") + token.authorization();
    std::unique_ptr<curl_slist, decltype(&curl_slist_free_all)> headers(
        curl_slist_append(nullptr, header.c_str()), curl_slist_free_all);
    Answer answer;
    curl_easy_setopt(curl.get(), CURLOPT_URL, url.c_str());
    curl_easy_setopt(curl.get(), CURLOPT_HTTPHEADER, headers.get());
    curl_easy_setopt(curl.get(), CURLOPT_WRITEFUNCTION, append);
    curl_easy_setopt(curl.get(), CURLOPT_WRITEDATA, &answer.body);
    if (const char *ca_file = std::getenv("ONEACCESS_CA_FILE"))
        curl_easy_setopt(curl.get(), CURLOPT_CAINFO, ca_file);
    if (CURLcode code = curl_easy_perform(curl.get()))
        throw std::runtime_error(curl_easy_strerror(code));
    curl_easy_getinfo(curl.get(), CURLINFO_RESPONSE_CODE, &answer.status);
    return answer;
}

// Calls a management API; replaces a token that it no longer accepts.
static std::string get(const oneaccess::Client &client, const std::string &url, int attempts = 2)
{
    oneaccess::Token token = client.get_token();
    Answer answer = request(url, token);
    if (answer.status == 200)
        return answer.body;
    bool invalid = answer.body.find("invalid_token") != std::string::npos;
    bool expired = answer.status == 401 || (answer.status == 400 && invalid);
    if (!expired || attempts == 1)
        throw std::runtime_error("HTTP " + std::to_string(answer.status) + " from " + url);
    client.reject(token);
    return get(client, url, attempts - 1);
}

static int count_users(const oneaccess::Client &client)
{
    const std::string total = "\"total\":";
    std::string body = get(client, std::getenv("ONEACCESS_TENANT_USERS_URL"));
    return std::atoi(body.c_str() + body.find(total) + total.size());
}

static void show_error(const char *client_id)
{
    oneaccess::Config config(
        oneaccess_config_new(std::getenv("ONEACCESS_ENDPOINT"), client_id, "wrong"));
    oneaccess_config_set(config.get(), "ca_file", std::getenv("ONEACCESS_CA_FILE"));
    try {
        oneaccess::Client(config).get_token();
    } catch (const oneaccess::Error &why) {
        std::cout << "kind " << why.kind << ", HTTP " << why.http_status << ", " << why.vendor_code
                  << ": " << why.what() << '\n';
    }
}

int main()
{
    curl_global_init(CURL_GLOBAL_DEFAULT);
    oneaccess::Client client{oneaccess::Config(oneaccess_config_new_from_env())};
    std::vector<std::future<int>> threads;
    for (int i = 0; i < 8; i++)
        threads.push_back(std::async(std::launch::async, count_users, std::cref(client)));
    std::cout << "users:";
    for (auto &thread : threads)
        std::cout << ' ' << thread.get();
    std::cout << '\n';
    show_error(std::getenv("ONEACCESS_CLIENT_ID"));
    show_error("disabled-application");
    std::cout << "ok\n";
}
