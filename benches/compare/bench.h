/* What bench.c measures; implemented by ours.c with the library and by peer.c without it. Both read
 * ONEACCESS_ENDPOINT, _CLIENT_ID, _CLIENT_SECRET and _CA_FILE from the environment. */
#ifndef BENCH_H
#define BENCH_H

#include <stddef.h>

#define TOKEN_SIZE 4096

struct client;

/* Returns NULL on failure. margin_s: the expiry margin; negative: the default. system_roots: whether to
 * trust the system's roots in addition to the CA file; peer.c cannot have both, so it gets a CA file
 * that contains both. */
struct client *client_open(long timeout_ms, long margin_s, int system_roots);
void client_close(struct client *client);

/* Copies a valid token; returns its length, or 0 on failure. */
size_t client_copy(struct client *client, char *buffer, size_t size);

/* Returns the first character of a valid token, or 0 on failure. ours.c reads the token in place,
 * peer.c has to copy it to the buffer. */
char client_use(struct client *client, char *buffer, size_t size);

/* Milliseconds until the token is refresh-due. */
long client_due_ms(struct client *client);

#endif
