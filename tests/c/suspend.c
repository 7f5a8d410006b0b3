/* The child of a fork lives in a time namespace in which the machine was suspended for an hour: the
 * token that its parent had is over. Needs the tenant's environment and root. Status 77: not allowed. */
#define _GNU_SOURCE
#include <oneaccess.h>

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x00000080
#endif

static oneaccess_client *client;

/* A copy of the access token; fails after printing why. */
static int get(char *copy, size_t size)
{
    oneaccess_token *token;
    oneaccess_error *error = oneaccess_client_get_token(client, &token);
    if (error) {
        fprintf(stderr, "%s\n", oneaccess_error_message(error));
        return 1;
    }
    snprintf(copy, size, "%s", oneaccess_token_access_token(token));
    oneaccess_token_free(token);
    return 0;
}

/* NULL if the token that was there is still given. */
static void *in_child(void *before)
{
    char after[256];
    if (oneaccess_client_get_cached_token(client) || get(after, sizeof after))
        return NULL;
    return strcmp(before, after) ? client : NULL;
}

int main(void)
{
    char before[256], after[256];
    oneaccess_config *config = oneaccess_config_new_from_env();
    int status, offsets;
    pid_t pid;
    if (oneaccess_client_new(config, &client) || get(before, sizeof before))
        return 1;
    oneaccess_config_free(config);

    if (unshare(CLONE_NEWTIME))
        return 77;
    offsets = open("/proc/self/timens_offsets", O_WRONLY);
    if (offsets < 0 || write(offsets, "boottime 3600 0", 15) != 15)
        return 77;
    close(offsets);
    pid = fork();
    if (pid == 0) {
        /* A real suspend moves the wall clock too, by which a thread that has asked before notices;
         * a namespace cannot do that: a new thread asks. */
        pthread_t thread;
        void *slept_well;
        if (pthread_create(&thread, NULL, in_child, before) || pthread_join(thread, &slept_well))
            _exit(1);
        _exit(slept_well == NULL);
    }
    if (waitpid(pid, &status, 0) != pid || status)
        return 1;
    /* The parent was not suspended. */
    if (get(after, sizeof after) || strcmp(before, after))
        return 1;
    oneaccess_client_free(client);
    puts("ok");
    return 0;
}
