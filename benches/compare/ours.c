/* The library, used like a C program uses it. */
#include "bench.h"

#include <oneaccess.h>
#include <stdio.h>
#include <string.h>

static void complain(oneaccess_error *error)
{
    fprintf(stderr, "%s\n", oneaccess_error_message(error));
    oneaccess_error_free(error);
}

static void set_number(oneaccess_config *config, const char *name, long number)
{
    char text[24];
    snprintf(text, sizeof text, "%ld", number);
    oneaccess_config_set(config, name, text);
}

struct client *client_open(long timeout_ms, long margin_s, int system_roots)
{
    oneaccess_config *config = oneaccess_config_new_from_env();
    set_number(config, "timeout_ms", timeout_ms);
    if (margin_s >= 0)
        set_number(config, "expiry_margin_s", margin_s);
    set_number(config, "system_roots", system_roots);
    oneaccess_client *client;
    oneaccess_error *error = oneaccess_client_new(config, &client);
    oneaccess_config_free(config);
    if (error)
        complain(error);
    return (struct client *)client;
}

void client_close(struct client *client)
{
    oneaccess_client_free((oneaccess_client *)client);
}

static oneaccess_token *get(struct client *client)
{
    oneaccess_token *token;
    oneaccess_error *error = oneaccess_client_get_token((oneaccess_client *)client, &token);
    if (error)
        oneaccess_error_free(error);
    return token;
}

size_t client_copy(struct client *client, char *buffer, size_t size)
{
    oneaccess_token *token = get(client);
    if (!token)
        return 0;
    size_t length = (size_t)oneaccess_token_access_token_length(token);
    if (length < size)
        memcpy(buffer, oneaccess_token_access_token(token), length + 1);
    oneaccess_token_free(token);
    return length < size ? length : 0;
}

char client_use(struct client *client, char *buffer, size_t size)
{
    (void)buffer;
    (void)size;
    oneaccess_token *token = get(client);
    if (!token)
        return 0;
    char first = *oneaccess_token_access_token(token);
    oneaccess_token_free(token);
    return first;
}

long client_due_ms(struct client *client)
{
    return (long)oneaccess_client_refresh_in_ms((oneaccess_client *)client);
}
