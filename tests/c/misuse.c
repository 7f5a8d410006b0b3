/* Breaks the rules of the header deliberately, to check that the sanitizer reports it. Needs the
 * environment variables of a mock tenant. Argument: `leak` or `use-after-free`. */
#include <oneaccess.h>

#include <string.h>

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    oneaccess_config *config = oneaccess_config_new_from_env();
    oneaccess_client *client;
    if (oneaccess_client_new(config, &client))
        return 2;
    oneaccess_config_free(config);
    if (!strcmp(what, "leak")) {
        client = NULL;
        return 0;
    }
    oneaccess_client_free(client);
    if (!strcmp(what, "use-after-free"))
        return (int)oneaccess_client_refresh_in_ms(client);
    return 3;
}
