import java.io.FileInputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import java.util.Collections;
import java.util.concurrent.Callable;
import java.util.concurrent.Executors;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;

/** Counts the users of a OneAccess tenant, in threads. */
public class Users {
    private final OneAccess oneAccess;
    private final HttpClient http;

    Users(OneAccess oneAccess, HttpClient http) {
        this.oneAccess = oneAccess;
        this.http = http;
    }

    /** Calls a management API; replaces a token that it no longer accepts. */
    String get(String url, int attempts) throws Exception {
        OneAccess.Token token = oneAccess.token();
        var request = HttpRequest.newBuilder(URI.create(url))
                .header("Authorization", token.authorization()).build();
        var answer = http.send(request, BodyHandlers.ofString());
        int status = answer.statusCode();
        if (status == 200) {
            return answer.body();
        }
        boolean expired = status == 401 || status == 400 && answer.body().contains("invalid_token");
        if (!expired || attempts == 1) {
            throw new Exception("HTTP " + status + " from " + url);
        }
        oneAccess.reject(token);
        return get(url, attempts - 1);
    }

    String count() throws Exception {
        String body = get(System.getenv("ONEACCESS_TENANT_USERS_URL"), 2);
        Matcher total = Pattern.compile("\"total\":(\\d+)").matcher(body);
        return total.find() ? total.group(1) : "unknown";
    }

    static void inThreads(Users users) throws Exception {
        var threads = Executors.newFixedThreadPool(8);
        Callable<String> count = users::count;
        System.out.print("users:");
        for (var total : threads.invokeAll(Collections.nCopies(8, count))) {
            System.out.print(" " + total.get());
        }
        System.out.println();
        threads.shutdown();
    }

    static void showError(String clientId) {
        String endpoint = System.getenv("ONEACCESS_ENDPOINT");
        String caFile = System.getenv("ONEACCESS_CA_FILE");
        try (var oneAccess = OneAccess.of(endpoint, clientId, "wrong", caFile)) {
            oneAccess.token();
        } catch (OneAccess.Failure why) {
            System.out.printf("kind %d, HTTP %d, %s: %s%n",
                    why.kind, why.httpStatus, why.vendorCode, why.getMessage());
        }
    }

    /** Trusts the certificates in this file. */
    static SSLContext trust(String caFile) throws Exception {
        KeyStore trusted = KeyStore.getInstance(KeyStore.getDefaultType());
        trusted.load(null, null);
        try (var file = new FileInputStream(caFile)) {
            for (var ca : CertificateFactory.getInstance("X.509").generateCertificates(file)) {
                trusted.setCertificateEntry("ca" + trusted.size(), ca);
            }
        }
        var managers = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        managers.init(trusted);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(null, managers.getTrustManagers(), null);
        return context;
    }

    public static void main(String[] arguments) throws Exception {
        var tls = trust(System.getenv("ONEACCESS_CA_FILE"));
        var http = HttpClient.newBuilder().sslContext(tls).build();
        try (var oneAccess = OneAccess.fromEnvironment()) {
            inThreads(new Users(oneAccess, http));
        }
        showError(System.getenv("ONEACCESS_CLIENT_ID"));
        showError("disabled-application");
        System.out.println("ok");
    }
}
