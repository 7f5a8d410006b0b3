/* Reads commands from standard input and answers each with one line of numbers; times are in
 * nanoseconds. main.rs sends the commands. The library (ours.c) and the C program (peer.c) run the same
 * loops. */
#define _GNU_SOURCE
#include "bench.h"

#include <dirent.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MAX_THREADS 64
#define MAX_CALLS 100000
#define BATCH 1000
#define CLIENTS 8

struct call {
    long long start, took;
    int served;
};

struct worker {
    struct client *client;
    long long duration, start, end;
    size_t offset;
    long calls;
    struct call *log;
    long logged;
};

static pthread_barrier_t start_line;
static struct client *clients[CLIENTS];

static long long now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static void *copy(void *argument)
{
    struct worker *worker = argument;
    char room[2 * TOKEN_SIZE], *buffer = room + worker->offset;
    pthread_barrier_wait(&start_line);
    worker->start = now();
    do {
        for (int i = 0; i < BATCH; i++)
            if (!client_copy(worker->client, buffer, TOKEN_SIZE))
                abort();
        worker->calls += BATCH;
        worker->end = now();
    } while (worker->end - worker->start < worker->duration);
    return NULL;
}

static void *use(void *argument)
{
    struct worker *worker = argument;
    char room[2 * TOKEN_SIZE], *buffer = room + worker->offset;
    pthread_barrier_wait(&start_line);
    worker->start = now();
    do {
        for (int i = 0; i < BATCH; i++)
            if (!client_use(worker->client, buffer, TOKEN_SIZE))
                abort();
        worker->calls += BATCH;
        worker->end = now();
    } while (worker->end - worker->start < worker->duration);
    return NULL;
}

/* One client after another. */
static void *use_in_turn(void *argument)
{
    struct worker *worker = argument;
    char room[2 * TOKEN_SIZE], *buffer = room + worker->offset;
    pthread_barrier_wait(&start_line);
    worker->start = now();
    do {
        for (int i = 0; i < BATCH; i++)
            if (!client_use(clients[i % CLIENTS], buffer, TOKEN_SIZE))
                abort();
        worker->calls += BATCH;
        worker->end = now();
    } while (worker->end - worker->start < worker->duration);
    return NULL;
}

/* Calls at least once, then once per millisecond until the duration is over; logs every call. */
static void *watch(void *argument)
{
    struct worker *worker = argument;
    char buffer[TOKEN_SIZE];
    pthread_barrier_wait(&start_line);
    worker->end = now() + worker->duration;
    do {
        struct call *call = &worker->log[worker->logged++];
        call->start = now();
        call->served = client_copy(worker->client, buffer, sizeof buffer) > 0;
        call->took = now() - call->start;
        if (now() < worker->end)
            usleep(1000);
    } while (now() < worker->end && worker->logged < MAX_CALLS);
    return NULL;
}

/* Starts all threads at the same time and waits for them. */
static void run(void *(*work)(void *), struct worker *workers, int threads)
{
    pthread_t ids[MAX_THREADS];
    pthread_barrier_init(&start_line, NULL, (unsigned)threads);
    for (int i = 0; i < threads; i++)
        if (pthread_create(&ids[i], NULL, work, &workers[i]))
            abort();
    for (int i = 0; i < threads; i++)
        pthread_join(ids[i], NULL);
    pthread_barrier_destroy(&start_line);
}

static void run_watch(struct client *client, int threads, long ms)
{
    struct worker workers[MAX_THREADS];
    for (int i = 0; i < threads; i++) {
        struct call *log = calloc(ms ? MAX_CALLS : 1, sizeof *log);
        if (!log)
            abort();
        workers[i] = (struct worker){ .client = client, .duration = ms * 1000000LL, .log = log };
    }
    run(watch, workers, threads);
    for (int i = 0; i < threads; i++) {
        for (long j = 0; j < workers[i].logged; j++) {
            struct call *call = &workers[i].log[j];
            printf("%lld %lld %d ", call->start, call->took, call->served);
        }
        free(workers[i].log);
    }
}

/* Calls as fast as possible for `ms` milliseconds; prints the time and the number of calls. Each run
 * has its buffers at a different offset: a copy takes twice as long if source and destination are a
 * multiple of 4 KiB apart. */
static void run_calls(void *(*work)(void *), struct client *client, int threads, long ms)
{
    static size_t turn;
    struct worker workers[MAX_THREADS];
    size_t offset = turn++ * 832 % TOKEN_SIZE;
    for (int i = 0; i < threads; i++)
        workers[i] = (struct worker){ .client = client, .duration = ms * 1000000LL, .offset = offset };
    run(work, workers, threads);
    long long start = workers[0].start, end = workers[0].end;
    long calls = 0;
    for (int i = 0; i < threads; i++) {
        start = workers[i].start < start ? workers[i].start : start;
        end = workers[i].end > end ? workers[i].end : end;
        calls += workers[i].calls;
    }
    printf("%lld %ld", end - start, calls);
}

static int open_descriptors(void)
{
    int count = -3; /* ".", ".." and the directory itself */
    DIR *directory = opendir("/proc/self/fd");
    while (directory && readdir(directory))
        count++;
    if (directory)
        closedir(directory);
    return count;
}

/* A number in /proc/self/status. */
static long status(const char *name)
{
    char line[256];
    long value = -1;
    FILE *file = fopen("/proc/self/status", "r");
    while (file && fgets(line, sizeof line, file))
        if (strncmp(line, name, strlen(name)) == 0)
            value = atol(line + strlen(name));
    if (file)
        fclose(file);
    return value;
}

int main(void)
{
    struct client *client = NULL;
    char line[256], word[16], buffer[TOKEN_SIZE];
    int open_at_start = open_descriptors();
    while (fgets(line, sizeof line, stdin)) {
        long a = 0, b = 0, c = 0;
        sscanf(line, "%15s %ld %ld %ld", word, &a, &b, &c);
        long long start = now();
        if (strcmp(word, "open") == 0) {
            client_close(client);
            client = client_open(a, b, (int)c);
            printf("%lld", now() - start);
        } else if (strcmp(word, "all") == 0) {
            for (int i = 0; i < CLIENTS; i++) {
                clients[i] = client_open(a, b, (int)c);
                client_copy(clients[i], buffer, sizeof buffer);
            }
        } else if (strcmp(word, "get") == 0) {
            size_t length = client_copy(client, buffer, sizeof buffer);
            printf("%lld %zu", now() - start, length);
        } else if (strcmp(word, "due") == 0) {
            printf("%ld", client_due_ms(client));
        } else if (strcmp(word, "copy") == 0) {
            run_calls(copy, client, (int)a, b);
        } else if (strcmp(word, "use") == 0) {
            run_calls(use, client, (int)a, b);
        } else if (strcmp(word, "turn") == 0) {
            run_calls(use_in_turn, NULL, (int)a, b);
        } else if (strcmp(word, "watch") == 0) {
            run_watch(client, (int)a, b);
        } else if (strcmp(word, "process") == 0) {
            int descriptors = open_descriptors() - open_at_start;
            printf("%ld %ld %d", status("VmHWM:"), status("Threads:"), descriptors);
        }
        printf("\n");
        fflush(stdout);
    }
    client_close(client);
    for (int i = 0; i < CLIENTS; i++)
        client_close(clients[i]);
    return 0;
}
