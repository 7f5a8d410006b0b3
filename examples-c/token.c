/* Prints an Authorization header for the management APIs of OneAccess. */
#include <oneaccess.h>
#include <stdio.h>
#include <time.h>

static int fail(oneaccess_error *error)
{
    fprintf(stderr, "no token: %s\n", oneaccess_error_message(error));
    oneaccess_error_free(error);
    return 1;
}

int main(void)
{
    oneaccess_config *config = oneaccess_config_new_from_env();
    oneaccess_client *client;
    oneaccess_error *error = oneaccess_client_new(config, &client);
    oneaccess_config_free(config);
    if (error)
        return fail(error);

    /* Get the token before each use, from any thread: the client keeps it fresh. */
    oneaccess_token *token;
    error = oneaccess_client_get_token(client, &token);
    if (error) {
        oneaccess_client_free(client);
        return fail(error);
    }
    time_t expires = (time_t)oneaccess_token_expires_at(token);
    printf("Authorization: %s\n", oneaccess_token_authorization(token));
    printf("Expires: %s", ctime(&expires));

    oneaccess_token_free(token);
    oneaccess_client_free(client);
    return 0;
}
