// Prints the names of the users of a OneAccess tenant.

#include "oneaccess.hpp"

#include <curl/curl.h>

#include <cstdlib>
#include <iostream>
#include <string>

using Curl = std::unique_ptr<CURL, decltype(&curl_easy_cleanup)>;
using List = std::unique_ptr<curl_slist, decltype(&curl_slist_free_all)>;

struct Response {
    long status = 0;
    std::string body;
};

static std::size_t append(char *data, std::size_t size, std::size_t count, void *body)
{
    static_cast<std::string *>(body)->append(data, size * count);
    return size * count;
}

static Response get(const std::string &url, const oneaccess::Token &token)
{
    const auto header = "Authorization: " + std::string(token.authorization());
    const List headers(curl_slist_append(nullptr, header.c_str()), curl_slist_free_all);
    const Curl curl(curl_easy_init(), curl_easy_cleanup);
    Response response;
    curl_easy_setopt(curl.get(), CURLOPT_URL, url.c_str());
    curl_easy_setopt(curl.get(), CURLOPT_HTTPHEADER, headers.get());
    curl_easy_setopt(curl.get(), CURLOPT_WRITEFUNCTION, append);
    curl_easy_setopt(curl.get(), CURLOPT_WRITEDATA, &response.body);
    if (const char *ca_file = std::getenv("ONEACCESS_CA_FILE"))
        curl_easy_setopt(curl.get(), CURLOPT_CAINFO, ca_file);
    if (const CURLcode code = curl_easy_perform(curl.get()))
        throw std::runtime_error(url + ": " + curl_easy_strerror(code));
    curl_easy_getinfo(curl.get(), CURLINFO_RESPONSE_CODE, &response.status);
    return response;
}

// Calls a management API. If it rejects the token, tries once more with a new one.
static std::string call(const oneaccess::Client &client, const std::string &url, int attempts = 2)
{
    const auto token = client.get_token();
    const auto [status, body] = get(url, token);
    if (status == 200)
        return body;
    const bool invalid = body.find("invalid_token") != std::string::npos;
    const bool rejected = status == 401 || (status == 400 && invalid);
    if (!rejected || attempts == 1)
        throw std::runtime_error(url + ": HTTP " + std::to_string(status));
    client.reject(token);
    return call(client, url, attempts - 1);
}

int main()
try {
    curl_global_init(CURL_GLOBAL_DEFAULT);
    const auto client = oneaccess::Client::from_env();
    const std::string endpoint = std::getenv("ONEACCESS_ENDPOINT");
    const auto users = call(client, endpoint + "/api/v2/tenant/users");
    const std::string key = "\"user_name\":"; // a real program would use a JSON library
    for (auto at = users.find(key); at != std::string::npos; at = users.find(key, at)) {
        const auto begin = users.find('"', at + key.size()) + 1;
        at = users.find('"', begin);
        std::cout << users.substr(begin, at - begin) << '\n';
    }
} catch (const std::exception &error) {
    std::cerr << error.what() << '\n';
    return 1;
}
