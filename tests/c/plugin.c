/* Loads the library, uses it and unloads it, many times in several threads, as a host of plugins does.
 * Argument: the path of the library. Needs the environment variables of a mock tenant. */
#include <oneaccess.h>

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum { THREADS = 4, ROUNDS = 25 };

static const char *path;

static void *need(void *library, const char *name)
{
    void *symbol = dlsym(library, name);
    if (!symbol) {
        fprintf(stderr, "%s\n", dlerror());
        exit(1);
    }
    return symbol;
}

/* ISO C does not allow conversions from data pointers to function pointers; POSIX does. */
#define LOAD(name) __extension__ __typeof__(name) *p_##name = need(library, #name)

static void use(void *library)
{
    LOAD(oneaccess_config_new_from_env);
    LOAD(oneaccess_config_free);
    LOAD(oneaccess_client_new);
    LOAD(oneaccess_client_get_token);
    LOAD(oneaccess_client_free);
    LOAD(oneaccess_token_free);
    LOAD(oneaccess_error_message);
    oneaccess_config *config = p_oneaccess_config_new_from_env();
    oneaccess_client *client;
    oneaccess_token *token;
    oneaccess_error *error = p_oneaccess_client_new(config, &client);
    p_oneaccess_config_free(config);
    if (!error)
        error = p_oneaccess_client_get_token(client, &token);
    if (error) {
        fprintf(stderr, "%s\n", p_oneaccess_error_message(error));
        exit(1);
    }
    p_oneaccess_token_free(token);
    p_oneaccess_client_free(client);
}

static void *load_and_unload(void *unused)
{
    (void)unused;
    for (int round = 0; round < ROUNDS; round++) {
        void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
        if (!library) {
            fprintf(stderr, "%s\n", dlerror());
            exit(1);
        }
        use(library);
        if (dlclose(library))
            exit(1);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    pthread_t threads[THREADS];
    if (argc != 2)
        return 2;
    path = argv[1];
    for (int i = 0; i < THREADS; i++)
        if (pthread_create(&threads[i], NULL, load_and_unload, NULL))
            return 1;
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    puts("ok");
    return 0;
}
