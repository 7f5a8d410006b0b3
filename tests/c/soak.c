/* Eight threads use one shared client and many short-lived ones, against a server that fails most
 * requests, while the process forks once a second. Every call must end in time, with a token or with
 * an error that the server has caused. Prints the counts. Needs the environment variables of a mock
 * tenant. Argument: how many seconds. */
#include <oneaccess.h>

#include <dirent.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { THREADS = 8, KINDS = 13, CALLS_OF_A_CLIENT = 40, LATE_MS = 100, TOO_LATE_MS = 3000 };

static oneaccess_client *shared;
static atomic_int stop, late, latest_ms, tokens, wrong, made, kinds[KINDS];

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void complain(const char *what, const char *more)
{
    fprintf(stderr, "%d: %s %s\n", (int)getpid(), what, more ? more : "");
    wrong++;
}

static void check_error(const oneaccess_error *error)
{
    int32_t kind = oneaccess_error_kind(error);
    switch (kind) {
    case ONEACCESS_ERROR_TRANSPORT:
    case ONEACCESS_ERROR_TIMEOUT:
    case ONEACCESS_ERROR_DENIED:
    case ONEACCESS_ERROR_THROTTLED:
    case ONEACCESS_ERROR_SERVER:
    case ONEACCESS_ERROR_PROTOCOL:
        kinds[kind]++;
        break;
    default:
        complain("an error that the server did not cause:", oneaccess_error_message(error));
    }
    if (!*oneaccess_error_message(error))
        complain("an error without a message", NULL);
}

/* Returns 1 if there was a token. */
static int get(oneaccess_client *client, int64_t timeout_ms, int reject)
{
    oneaccess_token *token;
    int64_t start = now_ms();
    oneaccess_error *error = oneaccess_client_get_token_within(client, timeout_ms, &token);
    int over_ms = (int)(now_ms() - start - timeout_ms);
    if (over_ms > LATE_MS)
        late++;
    if (over_ms > latest_ms)
        latest_ms = over_ms;
    if (error) {
        check_error(error);
    } else {
        const char *text = oneaccess_token_access_token(token);
        tokens++;
        if ((int64_t)strlen(text) != oneaccess_token_access_token_length(token) || !*text)
            complain("not a token:", text);
        if (reject)
            oneaccess_client_reject_token(client, text);
    }
    oneaccess_token_free(token);
    oneaccess_error_free(error);
    return !error;
}

static oneaccess_client *make_client(void)
{
    oneaccess_config *config = oneaccess_config_new_from_env();
    oneaccess_client *client;
    oneaccess_error *error;
    oneaccess_config_set(config, "proxy", "");
    error = oneaccess_client_new(config, &client);
    oneaccess_config_free(config);
    if (error) {
        complain("no client:", oneaccess_error_message(error));
        exit(1);
    }
    made++;
    return client;
}

static void *hammer(void *argument)
{
    unsigned number = (unsigned)(size_t)argument;
    while (!stop) {
        oneaccess_client *own = make_client();
        for (unsigned call = 0; call < CALLS_OF_A_CLIENT && !stop; call++) {
            int64_t timeout_ms = (int64_t[]){0, 20, 300, 2000}[(number + call) % 4];
            get(call % 3 ? shared : own, timeout_ms, call % 17 == 0);
            usleep(2000);
        }
        if (number % 2)
            oneaccess_client_close(own);
        oneaccess_client_free(own);
    }
    return NULL;
}

static int descriptors(void)
{
    int count = 0;
    DIR *folder = opendir("/proc/self/fd");
    while (folder && readdir(folder))
        count++;
    if (folder)
        closedir(folder);
    return count;
}

static long memory_kb(void)
{
    long pages = 0, ignored;
    FILE *file = fopen("/proc/self/statm", "r");
    if (!file || fscanf(file, "%ld %ld", &ignored, &pages) != 2)
        pages = 0;
    if (file)
        fclose(file);
    return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

static void fork_once(void)
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        alarm(30);
        wrong = 0;
        for (int call = 0; call < 3; call++)
            get(shared, 1000, call == 0);
        _exit(wrong ? 1 : 0);
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid || status)
        complain("a child failed", NULL);
}

int main(int argc, char **argv)
{
    int seconds = argc > 1 ? atoi(argv[1]) : 10, open;
    pthread_t threads[THREADS];
    long early_kb = 0;

    shared = make_client();
    get(shared, 2000, 0);
    open = descriptors();
    for (size_t i = 0; i < THREADS; i++)
        if (pthread_create(&threads[i], NULL, hammer, (void *)i))
            return 1;
    for (int64_t start = now_ms(), passed = 0; passed < seconds * 1000LL; passed = now_ms() - start) {
        fork_once();
        sleep(1);
        if (!early_kb && passed >= seconds * 250LL)
            early_kb = memory_kb();
    }
    stop = 1;
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    printf("%d tokens, %d late, latest %d ms over, %d wrong, %d clients", tokens, late, latest_ms,
           wrong, made);
    printf(", %ld kB after a quarter, %ld kB at the end", early_kb, memory_kb());
    printf(", %d descriptors more\nerrors by kind:", descriptors() - open);
    for (int kind = 0; kind < KINDS; kind++)
        if (kinds[kind])
            printf(" %d: %d", kind, kinds[kind]);
    printf("\n");
    oneaccess_client_free(shared);
    if (memory_kb() > early_kb + 16 * 1024)
        complain("memory grew", NULL);
    return wrong || !tokens || latest_ms > TOO_LATE_MS;
}
