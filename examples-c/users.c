/* Prints the names of the users of a OneAccess tenant, page by page, with libcurl and cJSON. */
#include <cjson/cJSON.h>
#include <curl/curl.h>
#include <oneaccess.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGE_SIZE 100

struct answer {
    long status; /* HTTP; 0 if there was no answer */
    char *body;  /* never NULL */
    size_t length;
};

/* Called by libcurl for each piece of the body. */
static size_t append(char *piece, size_t size, size_t count, void *to)
{
    struct answer *answer = to;
    char *body = realloc(answer->body, answer->length + size * count + 1);
    if (!body)
        return 0;
    memcpy(body + answer->length, piece, size * count);
    answer->body = body;
    answer->length += size * count;
    body[answer->length] = '\0';
    return size * count;
}

static struct answer get(CURL *curl, const char *url, const oneaccess_token *token)
{
    struct answer answer = {0, calloc(1, 1), 0};
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_DEFAULT_PROTOCOL, "https"); /* if the endpoint is only a host */
    curl_easy_setopt(curl, CURLOPT_HTTPAUTH, CURLAUTH_BEARER);
    curl_easy_setopt(curl, CURLOPT_XOAUTH2_BEARER, oneaccess_token_access_token(token));
    curl_easy_setopt(curl, CURLOPT_CAINFO, getenv("ONEACCESS_CA_FILE")); /* NULL: the system's */
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, append);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &answer);
    CURLcode code = curl_easy_perform(curl);
    if (code == CURLE_OK)
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &answer.status);
    else
        fprintf(stderr, "%s: %s\n", url, curl_easy_strerror(code));
    return answer;
}

/* Calls a management API. If it rejects the token, tries once more with another token. Returns NULL
 * after it has printed what failed. */
static cJSON *call(const oneaccess_client *client, CURL *curl, const char *url, int attempts)
{
    oneaccess_token *token;
    oneaccess_error *error = oneaccess_client_get_token(client, &token); /* before every use */
    if (error) {
        fprintf(stderr, "no token: %s\n", oneaccess_error_message(error));
        oneaccess_error_free(error);
        return NULL;
    }
    struct answer answer = get(curl, url, token);
    int rejected = answer.status == 401 ||
                   (answer.status == 400 && strstr(answer.body, "invalid_token"));
    if (rejected)
        oneaccess_client_reject_token(client, oneaccess_token_access_token(token));
    oneaccess_token_free(token);

    cJSON *json = answer.status == 200 ? cJSON_Parse(answer.body) : NULL;
    free(answer.body);
    if (rejected && attempts > 1)
        return call(client, curl, url, attempts - 1);
    if (answer.status && !json)
        fprintf(stderr, "%s: HTTP %ld\n", url, answer.status);
    return json;
}

/* Returns 1 if all users were printed. */
static int print_users(const oneaccess_client *client, CURL *curl)
{
    double total = 1;
    for (int page = 0; page * PAGE_SIZE < total; page++) {
        char url[1024];
        snprintf(url, sizeof url, "%s/api/v2/tenant/users?org_id=&offset=%d&limit=%d",
                 getenv("ONEACCESS_ENDPOINT"), page, PAGE_SIZE);
        cJSON *json = call(client, curl, url, 2);
        if (!json)
            return 0;
        const cJSON *user;
        cJSON_ArrayForEach(user, cJSON_GetObjectItem(json, "users")) {
            const char *name = cJSON_GetStringValue(cJSON_GetObjectItem(user, "user_name"));
            puts(name ? name : "(no name)");
        }
        total = cJSON_GetNumberValue(cJSON_GetObjectItem(json, "total"));
        cJSON_Delete(json);
    }
    return 1;
}

int main(void)
{
    oneaccess_config *config = oneaccess_config_new_from_env();
    oneaccess_client *client;
    oneaccess_error *error = oneaccess_client_new(config, &client); /* one for the whole process */
    oneaccess_config_free(config);
    if (error) {
        fprintf(stderr, "no client: %s\n", oneaccess_error_message(error));
        oneaccess_error_free(error);
        return 1;
    }
    curl_global_init(CURL_GLOBAL_DEFAULT);
    CURL *curl = curl_easy_init();
    int done = curl && print_users(client, curl);
    curl_easy_cleanup(curl);
    curl_global_cleanup();
    oneaccess_client_free(client);
    return done ? 0 : 1;
}
