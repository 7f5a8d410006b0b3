/* Loaded before libc, replaces the lookup of names: waits FAKE_LOOKUP_MS, then answers with the
 * addresses in FAKE_ADDRESSES or, if FAKE_LOOKUP_ERROR is set, with that error (EAI_NONAME is -2).
 * With FAKE_CONNECT_ERRNO it replaces connect() too, which then fails at once with that error. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Number of calls of connect(). */
int fake_connects;

int connect(int socket, const struct sockaddr *address, socklen_t length)
{
    const char *number = getenv("FAKE_CONNECT_ERRNO");
    __atomic_fetch_add(&fake_connects, 1, __ATOMIC_SEQ_CST);
    if (number) {
        errno = atoi(number);
        return -1;
    }
    return syscall(SYS_connect, socket, address, length);
}

static struct addrinfo *new_address(const char *text)
{
    struct sockaddr_in *address = calloc(1, sizeof *address);
    struct addrinfo *info = calloc(1, sizeof *info);
    address->sin_family = AF_INET;
    inet_pton(AF_INET, text, &address->sin_addr);
    info->ai_family = AF_INET;
    info->ai_socktype = SOCK_STREAM;
    info->ai_addrlen = sizeof *address;
    info->ai_addr = (struct sockaddr *)address;
    return info;
}

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                struct addrinfo **res)
{
    const char *wait = getenv("FAKE_LOOKUP_MS");
    const char *addresses = getenv("FAKE_ADDRESSES");
    const char *error = getenv("FAKE_LOOKUP_ERROR");
    long ms = wait ? atol(wait) : 0;
    struct timespec left = {ms / 1000, ms % 1000 * 1000000};
    (void)node, (void)service, (void)hints;
    while (nanosleep(&left, &left) != 0)
        ;
    if (error)
        return atoi(error);
    char *list = strdup(addresses ? addresses : "127.0.0.1"), *rest = list, *word;
    struct addrinfo **end = res;
    *end = NULL;
    while ((word = strsep(&rest, " ")) != NULL) {
        *end = new_address(word);
        end = &(*end)->ai_next;
    }
    free(list);
    return 0;
}

void freeaddrinfo(struct addrinfo *res)
{
    while (res) {
        struct addrinfo *next = res->ai_next;
        free(res->ai_addr);
        free(res);
        res = next;
    }
}
