/* oneaccess-token: prints an Authorization header for the management APIs of OneAccess. */
#include <errno.h>
#include <oneaccess.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { USAGE = 64, IO_ERROR = 74 }; /* as in sysexits.h; for errors of the library their kind */
enum mode { HEADER, TOKEN, JSON, CHECK, HELP, VERSION, UNKNOWN };
static const char *const OPTIONS[] = {NULL, "--token", "--json", "--check", "--help", "--version"};
static const char HELP_TEXT[] =
    "usage: oneaccess-token [--token | --json | --check] [--no-store]\n\n"
    "Prints an Authorization header: curl -H \"$(oneaccess-token)\" https://...\n\n"
    "  --token     prints only the access token\n"
    "  --json      prints an object: access_token, token_type, expires_at, perhaps scope\n"
    "  --check     reports what a request needs and how far it gets, without the token\n"
    "  --no-store  shares no token with other processes\n"
    "  --help, --version\n\n"
    "The settings are environment variables: ONEACCESS_ENDPOINT, ONEACCESS_CLIENT_ID,\n"
    "ONEACCESS_CLIENT_SECRET or ONEACCESS_CLIENT_SECRET_FILE, and more; see oneaccess-token(1).\n\n"
    "Exit status: 0, or what failed: 1 ARGUMENT, 2 CONFIG, 3 TRANSPORT, 4 PROXY, 5 TLS,\n"
    "6 TIMEOUT, 7 DENIED, 8 THROTTLED, 9 SERVER, 10 PROTOCOL, 11 CLOSED, 12 INTERNAL,\n"
    "64 wrong usage, 74 the output could not be written.\n";

extern char **environ;

/* A member of a JSON object (RFC 8259); `text` is UTF-8. */
static void print_member(const char *name, const char *text)
{
    printf(", \"%s\": \"", name);
    for (; *text; text++)
        printf((unsigned char)*text < 0x20 ? "\\u%04x" : strchr("\"\\", *text) ? "\\%c" : "%c", *text);
    putchar('"');
}

static void print_json(const oneaccess_token *token)
{
    printf("{\"expires_at\": %lld", (long long)oneaccess_token_expires_at(token));
    print_member("access_token", oneaccess_token_access_token(token));
    print_member("token_type", oneaccess_token_token_type(token));
    if (oneaccess_token_scope(token))
        print_member("scope", oneaccess_token_scope(token));
    puts("}");
}

static int is_set(const char *variable)
{
    const char *value = getenv(variable);
    return value && *value;
}

static const char *proxy(void)
{
    if (getenv("ONEACCESS_PROXY"))
        return is_set("ONEACCESS_PROXY") ? "that of ONEACCESS_PROXY" : "none";
    return is_set("https_proxy") || is_set("HTTPS_PROXY") || is_set("all_proxy") || is_set("ALL_PROXY")
        ? "that of https_proxy or all_proxy, unless no_proxy excludes the endpoint" : "none";
}

/* Shows no value of a variable, since it may contain a password, but the endpoint, which may not. */
static void report(const oneaccess_client *client, const oneaccess_error *error, int with_store)
{
    printf("variables:");
    for (char **variable = environ; *variable; variable++)
        if (strncmp(*variable, "ONEACCESS_", 10) == 0 && strchr(*variable, '='))
            printf(" %.*s", (int)strcspn(*variable, "="), *variable);
    printf("\nconfiguration: %s\n", client ? "usable" : oneaccess_error_message(error));
    if (!client)
        return;
    printf("endpoint: %s\nproxy: %s\n", getenv("ONEACCESS_ENDPOINT"), proxy());
    oneaccess_error *unusable = oneaccess_client_get_last_store_error(client);
    if (unusable || !with_store)
        printf("store: %s\n", with_store ? oneaccess_error_message(unusable) : "off");
    else
        puts(is_set("ONEACCESS_STORE") ? "store: usable" : "store: usable, in the user's cache folder");
    oneaccess_error_free(unusable);

    oneaccess_error *failure = oneaccess_client_get_last_error(client);
    int requested = oneaccess_client_stat(client, ONEACCESS_STAT_ATTEMPTS) > 0 && !failure;
    if (!error)
        printf("token: %s, expires in %lld s\n", requested ? "requested" : "found in the store",
               (long long)oneaccess_client_stat(client, ONEACCESS_STAT_TOKEN_REMAINING_MS) / 1000);
    if (error || failure) /* or both, if the token that was found is still valid */
        printf("request: %s\n", oneaccess_error_message(error ? error : failure));
    oneaccess_error_free(failure);
}

static int run(enum mode mode, int with_store)
{
    oneaccess_config *config = oneaccess_config_new_from_env();
    oneaccess_client *client = NULL;
    oneaccess_token *token = NULL;
    if (!with_store || !is_set("ONEACCESS_STORE"))
        oneaccess_config_set(config, "store", with_store ? "file" : NULL);
    oneaccess_error *error = oneaccess_client_new(config, &client);
    if (!error)
        error = oneaccess_client_get_token(client, &token);
    int status = oneaccess_error_kind(error);

    if (mode == CHECK)
        report(client, error, with_store);
    else if (error)
        fprintf(stderr, "oneaccess-token: %s\n", oneaccess_error_message(error));
    else if (mode == JSON)
        print_json(token);
    else if (mode == TOKEN)
        puts(oneaccess_token_access_token(token));
    else
        printf("Authorization: %s\n", oneaccess_token_authorization(token));
    oneaccess_token_free(token);
    oneaccess_error_free(error);
    oneaccess_client_free(client);
    oneaccess_config_free(config);
    return status;
}

int main(int argc, char **argv)
{
    enum mode mode = HEADER;
    int with_store = 1, status = 0;
    for (int i = 1; i < argc; i++) {
        enum mode asked = TOKEN;
        while (asked < UNKNOWN && strcmp(argv[i], OPTIONS[asked]) != 0)
            asked++;
        if (strcmp(argv[i], "--no-store") == 0)
            with_store = 0;
        else
            mode = mode == HEADER ? asked : UNKNOWN;
    }
    signal(SIGPIPE, SIG_IGN); /* a closed pipe is reported like a full disk */

    if (mode == UNKNOWN) { /* without the argument: it could be a secret */
        fputs("oneaccess-token: unknown or conflicting options; try --help\n", stderr);
        return USAGE;
    }
    if (mode == HELP || mode == VERSION)
        fputs(mode == HELP ? HELP_TEXT : "oneaccess-token " ONEACCESS_VERSION "\n", stdout);
    else
        status = run(mode, with_store);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fprintf(stderr, "oneaccess-token: cannot write the output: %s\n", strerror(errno));
        return IO_ERROR;
    }
    return status;
}
