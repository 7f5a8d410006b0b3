/* Calls every function of the header: with NULL, all getters, error paths, objects that outlive their
 * client, many threads. Needs the environment variables of a mock tenant, and in ONEACCESS_HANGING the
 * endpoint of one that never answers, with its CA in ONEACCESS_HANGING_CA. */
#define _POSIX_C_SOURCE 200809L /* setenv */
#include <oneaccess.h>
#include <oneaccess.h> /* twice on purpose */

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                                                        \
    do {                                                                        \
        if (!(condition)) {                                                     \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);     \
            exit(1);                                                            \
        }                                                                       \
    } while (0)

/* Checks that the message contains `says`, frees the error and returns its kind. */
static int32_t kind_of(oneaccess_error *error, const char *says)
{
    int32_t kind = oneaccess_error_kind(error);
    if (says && (!error || !strstr(oneaccess_error_message(error), says))) {
        fprintf(stderr, "expected \"%s\" in: %s\n", says,
                error ? oneaccess_error_message(error) : "no error");
        exit(1);
    }
    oneaccess_error_free(error);
    return kind;
}

static oneaccess_client *make_client(oneaccess_config *config)
{
    oneaccess_client *client = NULL;
    oneaccess_error *error = oneaccess_client_new(config, &client);
    oneaccess_config_free(config);
    if (error)
        fprintf(stderr, "%s\n", oneaccess_error_message(error));
    CHECK(!error && client);
    return client;
}

/* The kind of the error that oneaccess_client_new() returns; frees the configuration. */
static int32_t refused(oneaccess_config *config, const char *says)
{
    oneaccess_client *client = (oneaccess_client *)1;
    oneaccess_error *error = oneaccess_client_new(config, &client);
    oneaccess_config_free(config);
    CHECK(!client);
    return kind_of(error, says);
}

static oneaccess_config *good(void)
{
    return oneaccess_config_new("example.com", "id", "secret");
}

static void null_is_safe_everywhere(void)
{
    oneaccess_token *token = (oneaccess_token *)1;

    oneaccess_config_set(NULL, "ca_file", "x");
    oneaccess_config_set(NULL, NULL, NULL);
    oneaccess_config_add_header(NULL, "x", "y");
    oneaccess_config_free(NULL);

    CHECK(kind_of(oneaccess_client_new(NULL, NULL), "out is NULL") == ONEACCESS_ERROR_ARGUMENT);
    CHECK(refused(NULL, "configuration is NULL") == ONEACCESS_ERROR_ARGUMENT);
    CHECK(kind_of(oneaccess_client_get_token(NULL, &token), "client is NULL") == ONEACCESS_ERROR_ARGUMENT);
    CHECK(!token);
    token = (oneaccess_token *)1;
    CHECK(kind_of(oneaccess_client_get_token_within(NULL, 1, &token), NULL) == ONEACCESS_ERROR_ARGUMENT);
    CHECK(!token);
    CHECK(kind_of(oneaccess_client_get_token(NULL, NULL), NULL) == ONEACCESS_ERROR_ARGUMENT);
    CHECK(!oneaccess_client_get_cached_token(NULL));
    CHECK(oneaccess_client_refresh_in_ms(NULL) == 0);
    oneaccess_client_reject_token(NULL, "x");
    CHECK(kind_of(oneaccess_client_set_client_secret(NULL, "x"), NULL) == ONEACCESS_ERROR_ARGUMENT);
    CHECK(oneaccess_client_stat(NULL, ONEACCESS_STAT_REFRESHES) == 0);
    CHECK(oneaccess_client_stat(NULL, 99) == -1);
    CHECK(!oneaccess_client_get_last_error(NULL));
    CHECK(!oneaccess_client_get_last_store_error(NULL));
    oneaccess_client_close(NULL);
    oneaccess_client_free(NULL);

    CHECK(!oneaccess_token_access_token(NULL));
    CHECK(oneaccess_token_access_token_length(NULL) == 0);
    CHECK(!oneaccess_token_authorization(NULL));
    CHECK(!oneaccess_token_token_type(NULL));
    CHECK(!oneaccess_token_scope(NULL));
    CHECK(!oneaccess_token_id_token(NULL));
    CHECK(oneaccess_token_expires_at(NULL) == 0);
    oneaccess_token_free(NULL);

    CHECK(oneaccess_error_kind(NULL) == ONEACCESS_ERROR_NONE);
    CHECK(oneaccess_error_http_status(NULL) == 0);
    CHECK(!oneaccess_error_vendor_code(NULL));
    CHECK(!oneaccess_error_message(NULL));
    CHECK(oneaccess_error_is_retryable(NULL) == 0);
    CHECK(oneaccess_error_is_remembered(NULL) == 0);
    CHECK(oneaccess_error_occurred_at(NULL) == 0);
    CHECK(oneaccess_error_retry_after_ms(NULL) == 0);
    oneaccess_error_free(NULL);
}

static void mistakes_are_reported_by_client_new(void)
{
    oneaccess_config *config;

    CHECK(refused(oneaccess_config_new(NULL, "id", "s"), "endpoint") == ONEACCESS_ERROR_ARGUMENT);
    CHECK(refused(oneaccess_config_new("example.com", NULL, "s"), "client_id") == ONEACCESS_ERROR_ARGUMENT);
    CHECK(refused(oneaccess_config_new("example.com", "id", NULL), "client_secret") == ONEACCESS_ERROR_ARGUMENT);
    CHECK(refused(oneaccess_config_new("\xff", "id", "s"), "endpoint is not UTF-8") == ONEACCESS_ERROR_ARGUMENT);
    CHECK(refused(oneaccess_config_new("example.com", "id", "\xff"), "client_secret is not UTF-8") == ONEACCESS_ERROR_ARGUMENT);
    CHECK(refused(oneaccess_config_new("http://example.com", "id", "s"), "loopback") == ONEACCESS_ERROR_CONFIG);
    CHECK(refused(oneaccess_config_new("example.com:99999", "id", "s"), "port") == ONEACCESS_ERROR_CONFIG);

    config = good();
    oneaccess_config_set(config, "timeout_ms", "-5");
    oneaccess_config_set(config, "expiry_margin_s", "soon");
    oneaccess_config_set(config, "timeout_ms", "1000");
    oneaccess_config_add_header(config, "Host", "x");
    CHECK(refused(config, "timeout_ms is \"-5\"; allowed: 1 to 86400000 (milliseconds); expiry_margin_s is \"soon\"; allowed: 0 to 86400 (seconds); the header Host") == ONEACCESS_ERROR_CONFIG);

    config = good();
    oneaccess_config_set(config, "timeout", "1000");
    CHECK(refused(config, "there is no setting \"timeout\"; did you mean timeout_ms?") == ONEACCESS_ERROR_CONFIG);
    config = good();
    oneaccess_config_set(config, NULL, "x");
    CHECK(refused(config, "the name of a setting is NULL") == ONEACCESS_ERROR_ARGUMENT);
    config = good();
    oneaccess_config_add_header(config, NULL, "x");
    CHECK(refused(config, "header") == ONEACCESS_ERROR_ARGUMENT);
    config = good();
    oneaccess_config_set(config, "client_certificate_file", "x");
    CHECK(refused(config, "certificate is incomplete") == ONEACCESS_ERROR_CONFIG);
    config = good();
    oneaccess_config_set(config, "ca_file", "/nowhere/ca.pem");
    CHECK(refused(config, "/nowhere/ca.pem") == ONEACCESS_ERROR_CONFIG);
    config = good();
    oneaccess_config_set(config, "ca_file", "\xff");
    CHECK(refused(config, "ca_file is not UTF-8") == ONEACCESS_ERROR_ARGUMENT);
    config = good();
    oneaccess_config_set(config, "system_roots", "false");
    CHECK(refused(config, "no server could be trusted") == ONEACCESS_ERROR_CONFIG);
    config = good();
    oneaccess_config_set(config, "client_secret_file", "/nowhere/secret");
    CHECK(refused(config, "/nowhere/secret") == ONEACCESS_ERROR_CONFIG);
    config = good();
    oneaccess_config_set(config, "proxy", "ftp://proxy:3128");
    CHECK(refused(config, "proxy") == ONEACCESS_ERROR_CONFIG);

    /* NULL sets back to the default. */
    config = good();
    oneaccess_config_set(config, "ca_file", "/nowhere/ca.pem");
    oneaccess_config_set(config, "ca_file", NULL);
    oneaccess_config_set(config, "client_certificate_file", "/nowhere/a");
    oneaccess_config_set(config, "client_certificate_file", NULL);
    oneaccess_config_set(config, "proxy", "ftp://proxy:3128");
    oneaccess_config_set(config, "proxy", NULL);
    oneaccess_config_set(config, "expiry_margin_s", "9223372036854775807");
    oneaccess_config_set(config, "timeout_ms", "9223372036854775807");
    oneaccess_client_free(make_client(config));
}

/* What the environment lacks must not be filled in with something of the library's own. */
static void environment_with_a_secret_file_has_no_secret(void)
{
    char secret[256] = "";

    strncat(secret, getenv("ONEACCESS_CLIENT_SECRET"), sizeof secret - 1);
    unsetenv("ONEACCESS_CLIENT_SECRET");
    setenv("ONEACCESS_CLIENT_SECRET_FILE", "/nowhere/secret", 1);
    oneaccess_config *config = oneaccess_config_new_from_env();
    oneaccess_config_set(config, "client_secret_file", NULL);
    CHECK(refused(config, "the client_secret is missing") == ONEACCESS_ERROR_ARGUMENT);
    unsetenv("ONEACCESS_CLIENT_SECRET_FILE");
    setenv("ONEACCESS_CLIENT_SECRET", secret, 1);
}

static void token_outlives_its_client(void)
{
    oneaccess_client *client = make_client(oneaccess_config_new_from_env());
    oneaccess_token *token = NULL, *again = NULL, *cached;
    oneaccess_error *error;
    const char *access_token, *authorization;

    CHECK(!oneaccess_client_get_cached_token(client));
    CHECK(oneaccess_client_refresh_in_ms(client) == 0);
    CHECK(oneaccess_client_stat(client, ONEACCESS_STAT_TOKEN_AGE_MS) == -1);
    CHECK(kind_of(oneaccess_client_get_token_within(client, 0, &token), "no cached token") == ONEACCESS_ERROR_TIMEOUT);
    CHECK(kind_of(oneaccess_client_get_token_within(client, -1, &token), "negative") == ONEACCESS_ERROR_ARGUMENT);
    CHECK(!token);

    error = oneaccess_client_get_token(client, &token);
    CHECK(!error && token);
    CHECK(!oneaccess_client_get_token_within(client, 0, &again));
    cached = oneaccess_client_get_cached_token(client);
    CHECK(cached && again);
    access_token = oneaccess_token_access_token(token);
    CHECK(oneaccess_token_access_token_length(token) == (int64_t)strlen(access_token));
    CHECK(!strcmp(access_token, oneaccess_token_access_token(again)));
    CHECK(!strcmp(access_token, oneaccess_token_access_token(cached)));
    oneaccess_token_free(cached);
    oneaccess_token_free(again);

    CHECK(oneaccess_client_refresh_in_ms(client) > 1000);
    CHECK(oneaccess_client_stat(client, ONEACCESS_STAT_REFRESHES) == 1);
    CHECK(oneaccess_client_stat(client, ONEACCESS_STAT_ATTEMPTS) == 1);
    CHECK(oneaccess_client_stat(client, ONEACCESS_STAT_FAILURES) == 0);
    CHECK(oneaccess_client_stat(client, ONEACCESS_STAT_WAITS) == 0);
    CHECK(oneaccess_client_stat(client, ONEACCESS_STAT_DENIALS) == 0);
    CHECK(oneaccess_client_stat(client, ONEACCESS_STAT_TOKEN_REMAINING_MS) > 1700000);
    CHECK(oneaccess_client_stat(client, 0) == -1);
    CHECK(oneaccess_client_stat(client, 11) == -1);
    CHECK(!oneaccess_client_get_last_error(client));

    oneaccess_client_reject_token(client, NULL);
    oneaccess_client_reject_token(client, "\xff");
    oneaccess_client_reject_token(client, "not ours");
    CHECK(oneaccess_client_stat(client, ONEACCESS_STAT_REJECTIONS) == 0);
    oneaccess_client_reject_token(client, access_token);
    CHECK(oneaccess_client_stat(client, ONEACCESS_STAT_REJECTIONS) == 1);
    CHECK(!oneaccess_client_get_cached_token(client));
    CHECK(kind_of(oneaccess_client_set_client_secret(client, NULL), "NULL") == ONEACCESS_ERROR_ARGUMENT);
    CHECK(kind_of(oneaccess_client_set_client_secret(client, ""), "empty") == ONEACCESS_ERROR_ARGUMENT);
    CHECK(kind_of(oneaccess_client_set_client_secret(client, "\xff"), "UTF-8") == ONEACCESS_ERROR_ARGUMENT);

    oneaccess_client_close(client);
    oneaccess_client_close(client);
    CHECK(kind_of(oneaccess_client_get_token(client, &again), "closed") == ONEACCESS_ERROR_CLOSED);
    CHECK(!again && !oneaccess_client_get_cached_token(client));
    CHECK(oneaccess_client_refresh_in_ms(client) == -1);
    oneaccess_client_free(client);

    authorization = oneaccess_token_authorization(token);
    CHECK(!strncmp(authorization, "Bearer ", 7) && !strcmp(authorization + 7, access_token));
    CHECK(!strcmp(oneaccess_token_token_type(token), "Bearer"));
    CHECK(!strcmp(oneaccess_token_scope(token), "all"));
    CHECK(strlen(oneaccess_token_id_token(token)) > 10);
    CHECK(oneaccess_token_expires_at(token) > 1700000000);
    oneaccess_token_free(token);
}

static void error_has_all_details_and_outlives_its_client(void)
{
    oneaccess_client *client = make_client(oneaccess_config_new_from_env());
    oneaccess_token *token = NULL;
    oneaccess_error *error, *again, *last;

    CHECK(!oneaccess_client_set_client_secret(client, "wrong"));
    error = oneaccess_client_get_token(client, &token);
    CHECK(error && !token);
    again = oneaccess_client_get_token(client, &token);
    last = oneaccess_client_get_last_error(client);
    CHECK(oneaccess_client_stat(client, ONEACCESS_STAT_DENIALS) == 1);
    CHECK(oneaccess_client_stat(client, ONEACCESS_STAT_REFRESHES) == 1);
    CHECK(oneaccess_client_refresh_in_ms(client) > 0);
    oneaccess_client_free(client);

    CHECK(oneaccess_error_kind(error) == ONEACCESS_ERROR_DENIED);
    CHECK(oneaccess_error_http_status(error) == 401);
    CHECK(!strcmp(oneaccess_error_vendor_code(error), "invalid_client"));
    CHECK(strstr(oneaccess_error_message(error), "Bad client credentials"));
    CHECK(!oneaccess_error_is_retryable(error));
    CHECK(!oneaccess_error_is_remembered(error));
    CHECK(oneaccess_error_is_remembered(again) == 1 && oneaccess_error_is_remembered(last) == 1);
    CHECK(oneaccess_error_occurred_at(error) > 1700000000);
    CHECK(oneaccess_error_occurred_at(again) == oneaccess_error_occurred_at(error));
    CHECK(oneaccess_error_retry_after_ms(error) > 3000);
    oneaccess_error_free(error);
    oneaccess_error_free(again);
    oneaccess_error_free(last);

    client = make_client(oneaccess_config_new("127.0.0.1:1", "id", "secret"));
    error = oneaccess_client_get_token(client, &token);
    CHECK(!oneaccess_error_vendor_code(error) && oneaccess_error_http_status(error) == 0);
    CHECK(oneaccess_error_is_retryable(error));
    CHECK(kind_of(error, "127.0.0.1:1") == ONEACCESS_ERROR_TRANSPORT);
    oneaccess_client_free(client);
}

static void *close_it(void *client)
{
    oneaccess_client_close(client);
    return NULL;
}

static void stalled_call_ends_by_timeout_or_close(void)
{
    oneaccess_config *config = oneaccess_config_new_from_env();
    oneaccess_client *client = make_client(config);
    oneaccess_token *token = NULL;
    pthread_t closer;
    oneaccess_client_free(client);

    config = oneaccess_config_new(getenv("ONEACCESS_HANGING"), "id", "secret");
    oneaccess_config_set(config, "ca_file", getenv("ONEACCESS_HANGING_CA"));
    oneaccess_config_set(config, "proxy", "");
    client = make_client(config);
    CHECK(kind_of(oneaccess_client_get_token_within(client, 300, &token), "time") == ONEACCESS_ERROR_TIMEOUT);
    CHECK(!pthread_create(&closer, NULL, close_it, client));
    CHECK(kind_of(oneaccess_client_get_token(client, &token), "closed") == ONEACCESS_ERROR_CLOSED);
    CHECK(!pthread_join(closer, NULL));
    oneaccess_client_free(client);
}

enum { THREADS = 8, CALLS = 2000 };

static void *hammer(void *client)
{
    oneaccess_token *kept = NULL;
    for (int call = 0; call < CALLS; call++) {
        oneaccess_token *token = NULL;
        CHECK(!oneaccess_client_get_token(client, &token));
        CHECK(strlen(oneaccess_token_access_token(token)) > 10);
        oneaccess_token_free(kept);
        kept = token;
    }
    return kept; /* freed by another thread */
}

static void threads_share_a_client(void)
{
    oneaccess_client *client = make_client(oneaccess_config_new_from_env());
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        CHECK(!pthread_create(&threads[i], NULL, hammer, client));
    for (int i = 0; i < THREADS; i++) {
        void *token;
        CHECK(!pthread_join(threads[i], &token));
        oneaccess_token_free(token);
    }
    CHECK(oneaccess_client_stat(client, ONEACCESS_STAT_ATTEMPTS) == 1);
    oneaccess_client_free(client);
}

int main(void)
{
    CHECK(!strcmp(oneaccess_version(), ONEACCESS_VERSION));
    CHECK(oneaccess_version_number() == ONEACCESS_VERSION_NUMBER);
    null_is_safe_everywhere();
    mistakes_are_reported_by_client_new();
    environment_with_a_secret_file_has_no_secret();
    token_outlives_its_client();
    error_has_all_details_and_outlives_its_client();
    stalled_call_ends_by_timeout_or_close();
    threads_share_a_client();
    puts("ok");
    return 0;
}
