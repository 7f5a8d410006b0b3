/* Forks a child into a time namespace in which the machine seems to have been suspended for an hour:
 * in the child, the token of its parent has expired. Needs the environment variables of a mock tenant.
 * Exit status 77: time namespaces are not permitted (they need root). */
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

/* Copies the access token to `copy`; returns 1 after printing the error. */
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

/* Returns NULL, a failure, if it still gets the token from before the fork. */
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
        /* The thread cache notices a real suspend by the wall clock, which a time namespace does not
         * change. A new thread has an empty thread cache and looks at the boot clock. */
        pthread_t thread;
        void *refreshed;
        if (pthread_create(&thread, NULL, in_child, before) || pthread_join(thread, &refreshed))
            _exit(1);
        _exit(refreshed == NULL);
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
