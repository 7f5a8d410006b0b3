import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.util.regex.Pattern;
import oneaccess.Client;
import oneaccess.Token;

/** Prints the names of the users of a OneAccess tenant. */
class Users {
    static final HttpClient HTTP = HttpClient.newHttpClient();

    /** Calls a management API. If it rejects the token, tries once more with a new one. */
    static String call(Client client, URI url, int attempts)
            throws IOException, InterruptedException {
        Token token = client.getToken();
        HttpRequest request =
                HttpRequest.newBuilder(url).header("Authorization", token.authorization()).build();
        HttpResponse<String> response = HTTP.send(request, BodyHandlers.ofString());
        int status = response.statusCode();
        if (status == 200) {
            return response.body();
        }
        boolean rejected =
                status == 401 || status == 400 && response.body().contains("invalid_token");
        if (!rejected || attempts == 1) {
            throw new IOException("HTTP " + status + " from " + url);
        }
        client.reject(token);
        return call(client, url, attempts - 1);
    }

    public static void main(String[] arguments) throws Exception {
        URI url = URI.create(System.getenv("ONEACCESS_ENDPOINT") + "/api/v2/tenant/users");
        try (Client client = Client.fromEnv().build()) {
            Pattern name = Pattern.compile("\"user_name\": *\"(.*?)\"");
            name.matcher(call(client, url, 2))
                    .results()
                    .forEach(user -> System.out.println(user.group(1)));
        }
    }
}
