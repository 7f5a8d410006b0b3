/* An event loop that never waits for a token (Linux). The loop takes the cached token; a worker thread
 * makes the requests. Runs until Ctrl-C. */
#include <oneaccess.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

struct worker {
    oneaccess_client *client;
    int refresh; /* eventfd: the loop asks for a refresh */
    int done;    /* eventfd: the worker has made one */
};

static void *work(void *argument)
{
    struct worker *worker = argument;
    for (int closed = 0; !closed;) {
        eventfd_t count;
        oneaccess_token *token = NULL;
        if (eventfd_read(worker->refresh, &count))
            continue; /* interrupted by a signal */
        oneaccess_error *error = oneaccess_client_get_token(worker->client, &token); /* blocks */
        closed = oneaccess_error_kind(error) == ONEACCESS_ERROR_CLOSED;
        if (error && !closed)
            fprintf(stderr, "no token: %s\n", oneaccess_error_message(error));
        oneaccess_error_free(error);
        oneaccess_token_free(token); /* the client has it in its cache */
        eventfd_write(worker->done, 1);
    }
    return NULL;
}

/* The work of the program: here it would call a management API. */
static void tick(const oneaccess_client *client)
{
    oneaccess_token *token = oneaccess_client_get_cached_token(client); /* never blocks */
    if (token)
        printf("tick: a token for %lld s\n",
               (long long)(oneaccess_token_expires_at(token) - time(NULL)));
    else
        printf("tick: no token yet\n");
    oneaccess_token_free(token);
}

/* Expires once after first_ms, then every period_ms; only once if that is 0. */
static void set_timer(int timer, long long first_ms, long long period_ms)
{
    if (first_ms == 0)
        first_ms = 1; /* 0 would stop the timer */
    struct itimerspec spec = {{period_ms / 1000, period_ms % 1000 * 1000000},
                              {first_ms / 1000, first_ms % 1000 * 1000000}};
    timerfd_settime(timer, 0, &spec, NULL);
}

static void run(struct worker *worker, const sigset_t *stop)
{
    enum { TICK, REFRESH, DONE, STOP, EVENTS };
    int files[EVENTS] = {timerfd_create(CLOCK_BOOTTIME, 0), timerfd_create(CLOCK_BOOTTIME, 0),
                         worker->done, signalfd(-1, stop, 0)};
    int loop = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN};
    for (unsigned i = 0; i < EVENTS; i++) {
        event.data.u32 = i;
        epoll_ctl(loop, EPOLL_CTL_ADD, files[i], &event);
    }
    set_timer(files[TICK], 0, 500);
    set_timer(files[REFRESH], oneaccess_client_refresh_in_ms(worker->client), 0);

    for (;;) {
        eventfd_t count; /* timers are read in the same way */
        if (epoll_wait(loop, &event, 1, -1) != 1)
            continue; /* interrupted by a signal */
        if (event.data.u32 == STOP)
            break;
        if (eventfd_read(files[event.data.u32], &count))
            continue;
        if (event.data.u32 == TICK)
            tick(worker->client);
        else if (event.data.u32 == REFRESH)
            eventfd_write(worker->refresh, 1);
        else /* do this after oneaccess_client_reject_token(), too */
            set_timer(files[REFRESH], oneaccess_client_refresh_in_ms(worker->client), 0);
    }
    close(loop);
    close(files[TICK]);
    close(files[REFRESH]);
    close(files[STOP]);
}

int main(void)
{
    oneaccess_config *config = oneaccess_config_new_from_env();
    struct worker worker = {.refresh = eventfd(0, 0), .done = eventfd(0, 0)};
    oneaccess_error *error = oneaccess_client_new(config, &worker.client);
    oneaccess_config_free(config);
    if (error) {
        fprintf(stderr, "no client: %s\n", oneaccess_error_message(error));
        oneaccess_error_free(error);
        return 1;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);

    sigset_t stop;
    sigemptyset(&stop);
    sigaddset(&stop, SIGINT);
    sigaddset(&stop, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &stop, NULL); /* before the thread starts: it inherits the mask */
    pthread_t thread;
    pthread_create(&thread, NULL, work, &worker);

    run(&worker, &stop);

    oneaccess_client_close(worker.client); /* ends a request of the worker, if there is one */
    eventfd_write(worker.refresh, 1);      /* the worker may be waiting for this */
    pthread_join(thread, NULL);
    oneaccess_client_free(worker.client);
    close(worker.refresh);
    close(worker.done);
    return 0;
}
