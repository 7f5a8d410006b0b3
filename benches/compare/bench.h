/* What bench.c measures: ours.c and peer.c each do it their own way. Both take the tenant from the
 * environment, as the library does: ONEACCESS_ENDPOINT, _CLIENT_ID, _CLIENT_SECRET, _CA_FILE. */
#ifndef BENCH_H
#define BENCH_H

#include <stddef.h>

#define TOKEN_SIZE 4096

struct client;

/* margin_s: how long before its expiry a token is no longer good; negative: the default. system_roots:
 * whether to trust the system's roots besides the CA file; a program that cannot have both is given a
 * CA file with both. NULL on failure. */
struct client *client_open(long timeout_ms, long margin_s, int system_roots);
void client_close(struct client *client);

/* Copies a token that can be used now; returns its length, or 0 on failure. */
size_t client_copy(struct client *client, char *buffer, size_t size);

/* The first character of such a token, read in place by a program that can lend it, else from a copy
 * in the buffer; or 0 on failure. */
char client_use(struct client *client, char *buffer, size_t size);

/* Milliseconds until the token is due to be replaced. */
long client_due_ms(struct client *client);

#endif
