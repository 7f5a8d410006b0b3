/* Gets a token and then forks 31 workers, as servers do. Each worker must refresh at its own random
 * time, not at that of the parent. Needs the environment variables of a mock tenant that issues tokens
 * with a lifetime of 20 s. Prints the number of requests of the parent. */
#include <oneaccess.h>

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* With an expiry margin of 10 s, half the lifetime, and a refresh window of 2 to 4 s before it, a token
 * is refresh-due 6 to 8 s after the request. */
enum { WORKERS = 31, MARGIN_S = 10, LATE_MS = 7600 };
/* 31 random times in 2000 ms: that 14 of them fall into 100 ms happens by coincidence in less than one
 * of ten million runs. */
enum { TOGETHER_MS = 100, TOGETHER = 14 };
enum { FAILED = 1, NOT_ONE_REQUEST = 2 };

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

/* A client whose refresh time is late in this range, so that most workers refresh before it. */
static oneaccess_client *late_client(int *requests)
{
    oneaccess_config *config = oneaccess_config_new_from_env();
    oneaccess_client *client;
    oneaccess_config_set(config, "expiry_margin_s", "10"); /* MARGIN_S */
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

static int worker(oneaccess_client *client, int times)
{
    int64_t time_ms = now_ms(), wait;
    alarm(60);
    time_ms += oneaccess_client_refresh_in_ms(client);
    if (write(times, &time_ms, sizeof time_ms) != sizeof time_ms)
        return FAILED;
    while ((wait = oneaccess_client_refresh_in_ms(client)) > 0)
        usleep((useconds_t)wait * 1000);
    get(client);
    return oneaccess_client_stat(client, ONEACCESS_STAT_ATTEMPTS) == 1 ? 0 : NOT_ONE_REQUEST;
}

static int ascending(const void *left, const void *right)
{
    int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;
    return (a > b) - (a < b);
}

static int are_apart(int times)
{
    int64_t time_ms[WORKERS];
    for (int i = 0; i < WORKERS; i++)
        if (read(times, &time_ms[i], sizeof time_ms[i]) != sizeof time_ms[i])
            return 0;
    qsort(time_ms, WORKERS, sizeof time_ms[0], ascending);
    for (int i = 0; i + TOGETHER - 1 < WORKERS; i++)
        if (time_ms[i + TOGETHER - 1] - time_ms[i] <= TOGETHER_MS)
            return 0;
    return 1;
}

int main(void)
{
    int requests, failed = 0, times[2];
    oneaccess_client *client = late_client(&requests);

    if (pipe(times))
        return FAILED;
    for (int i = 0; i < WORKERS; i++) {
        pid_t pid = fork();
        if (pid == 0)
            _exit(worker(client, times[1]));
        if (pid < 0) {
            perror("fork");
            return FAILED;
        }
    }
    if (!are_apart(times[0])) {
        fprintf(stderr, "too many workers refresh at the same time\n");
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
