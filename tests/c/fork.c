/* Forks a thousand times while threads call two clients (one connects by host name, one by address)
 * and refreshes are running. Every child must get a token or TIMEOUT before its deadline; half of them
 * send a request. In the parent no refresh may fail. Needs the environment variables of a mock tenant,
 * and in ONEACCESS_ADDRESS its endpoint by address. Argument: number of forks. */
#include <oneaccess.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { THREADS = 8, CHILDREN = 16, CHILD_TIMEOUT_MS = 10000, FAILED = 1, TIMED_OUT = 2, LATE = 3 };

static oneaccess_client *clients[2];
static atomic_int stop;

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Returns 0 or the kind of the error; prints errors other than TIMEOUT. */
static int32_t get(oneaccess_client *client, int64_t timeout_ms, int reject)
{
    oneaccess_token *token;
    oneaccess_error *error = oneaccess_client_get_token_within(client, timeout_ms, &token);
    int32_t kind = oneaccess_error_kind(error);
    if (error && kind != ONEACCESS_ERROR_TIMEOUT)
        fprintf(stderr, "%d: %s\n", (int)getpid(), oneaccess_error_message(error));
    if (!error && reject)
        oneaccess_client_reject_token(client, oneaccess_token_access_token(token));
    oneaccess_token_free(token);
    oneaccess_error_free(error);
    return kind;
}

static void *hammer(void *argument)
{
    int thread = *(int *)argument;
    for (unsigned call = 0; !stop; call++) {
        if (get(clients[(thread + call) % 2], 30000, 0))
            exit(FAILED);
        usleep(50);
    }
    return NULL;
}

static int child(int number)
{
    oneaccess_client *client = clients[number % 2];
    int64_t start = now_ms();
    int32_t kind;
    alarm(2 * CHILD_TIMEOUT_MS / 1000);
    kind = get(client, CHILD_TIMEOUT_MS, number % 4 < 2);
    if (!kind && number % 4 < 2)
        kind = get(client, CHILD_TIMEOUT_MS, 0); /* sends a request, since the token was rejected */
    if (now_ms() - start > 2 * CHILD_TIMEOUT_MS)
        return LATE;
    return kind == ONEACCESS_ERROR_TIMEOUT ? TIMED_OUT : kind ? FAILED : 0;
}

static int tokens, timeouts, running;

static void reap(void)
{
    int status;
    if (wait(&status) < 0 || !WIFEXITED(status) ||
        (WEXITSTATUS(status) != 0 && WEXITSTATUS(status) != TIMED_OUT)) {
        fprintf(stderr, "a child ended with status %#x\n", status);
        exit(FAILED);
    }
    running--;
    if (WEXITSTATUS(status) == TIMED_OUT)
        timeouts++;
    else
        tokens++;
}

static oneaccess_client *make_client(const char *endpoint)
{
    oneaccess_config *config = oneaccess_config_new(endpoint, getenv("ONEACCESS_CLIENT_ID"),
                                                    getenv("ONEACCESS_CLIENT_SECRET"));
    oneaccess_client *client;
    oneaccess_error *error;
    oneaccess_config_set(config, "ca_file", getenv("ONEACCESS_CA_FILE"));
    oneaccess_config_set(config, "proxy", "");
    error = oneaccess_client_new(config, &client);
    oneaccess_config_free(config);
    if (error) {
        fprintf(stderr, "%s\n", oneaccess_error_message(error));
        exit(FAILED);
    }
    return client;
}

int main(int argc, char **argv)
{
    int forks = argc > 1 ? atoi(argv[1]) : 1000;
    int numbers[THREADS];
    pthread_t threads[THREADS];

    clients[0] = make_client(getenv("ONEACCESS_ENDPOINT"));
    clients[1] = make_client(getenv("ONEACCESS_ADDRESS"));
    for (int i = 0; i < THREADS; i++) {
        numbers[i] = i;
        if (pthread_create(&threads[i], NULL, hammer, &numbers[i]))
            return FAILED;
    }
    for (int i = 0; i < forks; i++) {
        pid_t pid;
        if (running == CHILDREN)
            reap();
        pid = fork();
        if (pid == 0)
            _exit(child(i));
        if (pid < 0) {
            perror("fork");
            return FAILED;
        }
        running++;
    }
    while (running > 0)
        reap();
    stop = 1;
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < 2; i++) {
        if (oneaccess_client_stat(clients[i], ONEACCESS_STAT_FAILURES) != 0)
            return FAILED;
        oneaccess_client_free(clients[i]);
    }
    printf("%d tokens, %d timeouts\n", tokens, timeouts);
    return 0;
}
