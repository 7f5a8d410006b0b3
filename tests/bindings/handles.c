/* A wrapper around the library, under its name: forwards every call and counts the objects that are
 * made and freed. Aborts the process when an object is freed twice, or was never made. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <oneaccess.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* In the file ONEACCESS_HANDLES: the counts of the first process, then those of its children. */
static struct counts {
    atomic_long inherited, made, freed;
} *counts;

static _Atomic(void *) live[4096];

static void fork_begins_a_child(void)
{
    counts += 1;
    for (int i = 0; i < 4096; i++)
        counts->inherited += live[i] != NULL;
}

__attribute__((constructor)) static void start(void)
{
    int file = open(getenv("ONEACCESS_HANDLES"), O_RDWR);
    counts = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (counts == MAP_FAILED)
        abort();
    close(file);
    pthread_atfork(NULL, NULL, fork_begins_a_child);
}

static void *made(void *handle)
{
    if (!handle)
        return NULL;
    counts->made++;
    for (int i = 0;; i = (i + 1) % 4096) {
        void *nothing = NULL;
        if (atomic_compare_exchange_strong(&live[i], &nothing, handle))
            return handle;
    }
}

static void *freed(void *handle)
{
    for (int i = 0; handle && i < 4096; i++) {
        void *expected = handle;
        if (atomic_compare_exchange_strong(&live[i], &expected, NULL)) {
            counts->freed++;
            return handle;
        }
    }
    if (handle) {
        fputs("freed twice, or never made\n", stderr);
        abort();
    }
    return NULL;
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

oneaccess_config *oneaccess_config_new(const char *endpoint, const char *id, const char *secret)
{
    return made(NEXT(oneaccess_config_new)(endpoint, id, secret));
}

oneaccess_config *oneaccess_config_new_from_env(void)
{
    return made(NEXT(oneaccess_config_new_from_env)());
}

oneaccess_error *oneaccess_client_new(const oneaccess_config *config, oneaccess_client **out)
{
    oneaccess_error *error = NEXT(oneaccess_client_new)(config, out);
    made(*out);
    return made(error);
}

oneaccess_error *oneaccess_client_get_token(const oneaccess_client *client, oneaccess_token **out)
{
    oneaccess_error *error = NEXT(oneaccess_client_get_token)(client, out);
    made(*out);
    return made(error);
}

oneaccess_error *oneaccess_client_get_token_within(const oneaccess_client *client,
                                                   int64_t timeout_ms, oneaccess_token **out)
{
    oneaccess_error *error = NEXT(oneaccess_client_get_token_within)(client, timeout_ms, out);
    made(*out);
    return made(error);
}

oneaccess_error *oneaccess_client_set_client_secret(const oneaccess_client *client,
                                                    const char *client_secret)
{
    return made(NEXT(oneaccess_client_set_client_secret)(client, client_secret));
}

oneaccess_error *oneaccess_client_get_last_error(const oneaccess_client *client)
{
    return made(NEXT(oneaccess_client_get_last_error)(client));
}

oneaccess_error *oneaccess_client_get_last_store_error(const oneaccess_client *client)
{
    return made(NEXT(oneaccess_client_get_last_store_error)(client));
}

oneaccess_token *oneaccess_client_get_cached_token(const oneaccess_client *client)
{
    return made(NEXT(oneaccess_client_get_cached_token)(client));
}

void oneaccess_config_free(oneaccess_config *config)
{
    NEXT(oneaccess_config_free)(freed(config));
}

void oneaccess_client_free(oneaccess_client *client)
{
    NEXT(oneaccess_client_free)(freed(client));
}

void oneaccess_token_free(oneaccess_token *token)
{
    NEXT(oneaccess_token_free)(freed(token));
}

void oneaccess_error_free(oneaccess_error *error)
{
    NEXT(oneaccess_error_free)(freed(error));
}
