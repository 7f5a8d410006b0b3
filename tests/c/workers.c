/* Gets a token, as a server does before it forks its workers, then forks 31: each refreshes at a
 * random moment of its own, not at that of the thread that forked. Needs the tenant's environment,
 * and tokens with a life of 20 s. Prints how many requests the parent made. */
#include <oneaccess.h>

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* With a margin of half the life, every moment lies from 6 to 8 s after the request. */
enum { WORKERS = 31, MARGIN_S = 10, LATE_MS = 7600 };
/* Chance brings as many as 14 of 31 into 100 of 2000 ms less than once in ten million runs. */
enum { TOGETHER_MS = 100, TOGETHER = 14 };
enum { FAILED = 1, NOT_AT_ITS_MOMENT = 2 };

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void check(oneaccess_error *error)
{
    if (!error)
        return;
    fprintf(stderr, "%d: %s\n", (int)getpid(), oneaccess_error_message(error));
    exit(FAILED);
}

static void get(oneaccess_client *client)
{
    oneaccess_token *token;
    check(oneaccess_client_get_token(client, &token));
    oneaccess_token_free(token);
}

/* What refreshes late in its range, so that most of the workers are to refresh before it. */
static oneaccess_client *late_client(int *requests)
{
    oneaccess_config *config = oneaccess_config_new_from_env();
    oneaccess_client *client;
    oneaccess_config_set_expiry_margin_s(config, MARGIN_S);
    for (*requests = 1;; ++*requests) {
        check(oneaccess_client_new(config, &client));
        get(client);
        if (oneaccess_client_refresh_in_ms(client) > LATE_MS)
            break;
        oneaccess_client_free(client);
    }
    oneaccess_config_free(config);
    return client;
}

static int worker(oneaccess_client *client, int moments)
{
    int64_t moment = now_ms(), wait;
    alarm(60);
    moment += oneaccess_client_refresh_in_ms(client);
    if (write(moments, &moment, sizeof moment) != sizeof moment)
        return FAILED;
    while ((wait = oneaccess_client_refresh_in_ms(client)) > 0)
        usleep((useconds_t)wait * 1000);
    get(client);
    return oneaccess_client_stat(client, ONEACCESS_STAT_ATTEMPTS) == 1 ? 0 : NOT_AT_ITS_MOMENT;
}

static int ascending(const void *left, const void *right)
{
    int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;
    return (a > b) - (a < b);
}

static int are_apart(int moments)
{
    int64_t moment[WORKERS];
    for (int i = 0; i < WORKERS; i++)
        if (read(moments, &moment[i], sizeof moment[i]) != sizeof moment[i])
            return 0;
    qsort(moment, WORKERS, sizeof moment[0], ascending);
    for (int i = 0; i + TOGETHER - 1 < WORKERS; i++)
        if (moment[i + TOGETHER - 1] - moment[i] <= TOGETHER_MS)
            return 0;
    return 1;
}

int main(void)
{
    int requests, failed = 0, moments[2];
    oneaccess_client *client = late_client(&requests);

    if (pipe(moments))
        return FAILED;
    for (int i = 0; i < WORKERS; i++) {
        pid_t pid = fork();
        if (pid == 0)
            _exit(worker(client, moments[1]));
        if (pid < 0) {
            perror("fork");
            return FAILED;
        }
    }
    if (!are_apart(moments[0])) {
        fprintf(stderr, "too many workers refresh together\n");
        failed = 1;
    }
    for (int i = 0; i < WORKERS; i++) {
        int status;
        if (wait(&status) < 0 || status != 0) {
            fprintf(stderr, "a worker ended with status %#x\n", status);
            failed = 1;
        }
    }
    oneaccess_client_free(client);
    printf("%d\n", requests);
    return failed ? FAILED : 0;
}
