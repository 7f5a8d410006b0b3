/* The program to compare with: the same without the library, with libcurl and cJSON. It keeps one
 * handle, so that TLS sessions are resumed and trusted certificates are read once; one mutex protects
 * the cached token; if a refresh fails, a token that has not expired is used further. */
#include "bench.h"

#include <cjson/cJSON.h>
#include <curl/curl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BODY_SIZE 65536
#define SECOND 1000000000LL

struct client {
    pthread_mutex_t lock;
    CURL *curl;
    long margin_s;
    char token[TOKEN_SIZE];
    size_t length;
    long long due, expiry; /* CLOCK_MONOTONIC, nanoseconds */
    char body[BODY_SIZE];
    size_t body_length;
};

static long long now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * SECOND + time.tv_nsec;
}

static size_t receive(char *bytes, size_t one, size_t length, void *to)
{
    struct client *client = to;
    (void)one;
    if (length >= BODY_SIZE - client->body_length)
        return 0;
    memcpy(client->body + client->body_length, bytes, length);
    client->body_length += length;
    return length;
}

static int set_form(CURL *curl)
{
    char form[2048];
    char *id = curl_easy_escape(curl, getenv("ONEACCESS_CLIENT_ID"), 0);
    char *secret = curl_easy_escape(curl, getenv("ONEACCESS_CLIENT_SECRET"), 0);
    int length = -1;
    if (id && secret)
        length = snprintf(form, sizeof form,
                          "grant_type=client_credentials&client_id=%s&client_secret=%s", id, secret);
    curl_free(id);
    curl_free(secret);
    return length > 0 && length < (int)sizeof form
        && curl_easy_setopt(curl, CURLOPT_COPYPOSTFIELDS, form) == CURLE_OK;
}

struct client *client_open(long timeout_ms, long margin_s, int system_roots)
{
    (void)system_roots;
    curl_global_init(CURL_GLOBAL_DEFAULT);
    struct client *client = calloc(1, sizeof *client);
    if (!client)
        return NULL;
    pthread_mutex_init(&client->lock, NULL);
    client->margin_s = margin_s;
    CURL *curl = client->curl = curl_easy_init();
    char url[512];
    snprintf(url, sizeof url, "%s/api/v2/tenant/token", getenv("ONEACCESS_ENDPOINT"));
    if (!curl || !set_form(curl)) {
        client_close(client);
        return NULL;
    }
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_CAINFO, getenv("ONEACCESS_CA_FILE"));
    curl_easy_setopt(curl, CURLOPT_CAPATH, NULL);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, timeout_ms);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    /* Requests are half an hour apart: keep neither the connection nor the address for so long. */
    curl_easy_setopt(curl, CURLOPT_FORBID_REUSE, 1L);
    curl_easy_setopt(curl, CURLOPT_DNS_CACHE_TIMEOUT, 0L);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, receive);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, client);
    return client;
}

void client_close(struct client *client)
{
    if (!client)
        return;
    curl_easy_cleanup(client->curl);
    pthread_mutex_destroy(&client->lock);
    free(client);
}

static int install(struct client *client, long long asked)
{
    cJSON *answer = cJSON_ParseWithLength(client->body, client->body_length);
    const char *token = cJSON_GetStringValue(cJSON_GetObjectItem(answer, "access_token"));
    const cJSON *expires_in = cJSON_GetObjectItem(answer, "expires_in");
    size_t length = token ? strlen(token) : 0;
    int valid = length > 0 && length < TOKEN_SIZE && cJSON_IsNumber(expires_in);
    if (valid) {
        long long life = expires_in->valueint * SECOND;
        long long margin = life / 10 < 30 * SECOND ? life / 10 : 30 * SECOND;
        if (client->margin_s >= 0)
            margin = client->margin_s * SECOND;
        memcpy(client->token, token, length + 1);
        client->length = length;
        client->expiry = asked + life;
        client->due = client->expiry - margin;
    }
    cJSON_Delete(answer);
    return valid;
}

/* Called with the lock held. */
static int refresh(struct client *client)
{
    long status = 0;
    long long asked = now();
    client->body_length = 0;
    if (curl_easy_perform(client->curl) == CURLE_OK)
        curl_easy_getinfo(client->curl, CURLINFO_RESPONSE_CODE, &status);
    return (status == 200 && install(client, asked)) || now() < client->expiry;
}

size_t client_copy(struct client *client, char *buffer, size_t size)
{
    size_t length = 0;
    long long time = now();
    pthread_mutex_lock(&client->lock);
    /* Read the clock again: another thread may have refreshed the token meanwhile. */
    if (time < client->due || now() < client->due || refresh(client)) {
        if (client->length < size) {
            length = client->length;
            memcpy(buffer, client->token, length + 1);
        }
    }
    pthread_mutex_unlock(&client->lock);
    return length;
}

char client_use(struct client *client, char *buffer, size_t size)
{
    return client_copy(client, buffer, size) ? *buffer : 0;
}

long client_due_ms(struct client *client)
{
    pthread_mutex_lock(&client->lock);
    long due = (long)((client->due - now()) / 1000000);
    pthread_mutex_unlock(&client->lock);
    return due > 0 ? due : 0;
}
