/* Carries out the commands in its arguments, each of which prints one line:
 * wait     until standard input ends (prints nothing)
 * get      the token, or the kind of the error
 * within=N the same, with a timeout of N milliseconds
 * reject   reports the last token as rejected (prints nothing)
 * stats    attempts, store hits, store failures
 * left     for how many milliseconds the token is valid
 * error    the last store error, or "none"
 * forker   starts a thread that forks when standard input has a line: the child, which has all that
 *          this process has, sleeps for a minute; prints "forked" and the child's process id */
#include <inttypes.h>
#include <oneaccess.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char last[4096];

static void print_token(oneaccess_error *error, oneaccess_token *token)
{
    if (error)
        printf("error %d%s %s\n", oneaccess_error_kind(error),
               oneaccess_error_is_remembered(error) ? " remembered" : "",
               oneaccess_error_message(error));
    else
        printf("%s\n", strcpy(last, oneaccess_token_access_token(token)));
    fflush(stdout);
    oneaccess_token_free(token);
    oneaccess_error_free(error);
}

static void *fork_on_a_line(void *nothing)
{
    getchar();
    pid_t child = fork();
    if (child == 0) {
        close(STDOUT_FILENO); /* whose end the test waits for */
        sleep(60);
        _exit(0);
    }
    printf("forked %d\n", (int)child);
    fflush(stdout);
    return nothing;
}

static void wait_for_end(void)
{
    while (getchar() != EOF)
        continue;
}

int main(int argc, char **argv)
{
    oneaccess_config *config = oneaccess_config_new_from_env();
    oneaccess_client *client = NULL;
    oneaccess_token *token = NULL;
    oneaccess_error *error = oneaccess_client_new(config, &client);
    oneaccess_config_free(config);
    if (error) {
        fprintf(stderr, "%s\n", oneaccess_error_message(error));
        return 1;
    }
    for (int i = 1; i < argc; i++) {
        const char *command = argv[i];
        if (!strcmp(command, "wait")) {
            wait_for_end();
        } else if (!strcmp(command, "get")) {
            error = oneaccess_client_get_token(client, &token);
            print_token(error, token);
        } else if (!strncmp(command, "within=", 7)) {
            error = oneaccess_client_get_token_within(client, atoi(command + 7), &token);
            print_token(error, token);
        } else if (!strcmp(command, "reject")) {
            oneaccess_client_reject_token(client, last);
        } else if (!strcmp(command, "stats")) {
            printf("attempts %" PRId64 ", hits %" PRId64 ", failures %" PRId64 "\n",
                   oneaccess_client_stat(client, ONEACCESS_STAT_ATTEMPTS),
                   oneaccess_client_stat(client, ONEACCESS_STAT_STORE_HITS),
                   oneaccess_client_stat(client, ONEACCESS_STAT_STORE_FAILURES));
        } else if (!strcmp(command, "left")) {
            printf("%" PRId64 "\n", oneaccess_client_stat(client, ONEACCESS_STAT_TOKEN_REMAINING_MS));
        } else if (!strcmp(command, "error")) {
            error = oneaccess_client_get_last_store_error(client);
            printf("%s\n", error ? oneaccess_error_message(error) : "none");
            oneaccess_error_free(error);
        } else if (!strcmp(command, "forker")) {
            pthread_t thread;
            pthread_create(&thread, NULL, fork_on_a_line, NULL);
            pthread_detach(thread);
        } else {
            fprintf(stderr, "unknown command %s\n", command);
            return 2;
        }
    }
    oneaccess_client_free(client);
    return 0;
}
