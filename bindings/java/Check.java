import java.io.File;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import oneaccess.Client;
import oneaccess.OneAccessException;
import oneaccess.OneAccessException.Kind;
import oneaccess.Token;

/** Checks the wrapper. Prints one line per check: those that tests/bindings.rs expects. */
class Check {
    static final String ENDPOINT = System.getenv("ONEACCESS_ENDPOINT");
    static final String ID = System.getenv("ONEACCESS_CLIENT_ID");
    static final String SECRET = System.getenv("ONEACCESS_CLIENT_SECRET");
    static final Path CA_FILE = Path.of(System.getenv("ONEACCESS_CA_FILE"));

    static void check(String name, boolean passed) {
        System.out.println((passed ? "ok " : "FAILED ") + name);
    }

    static OneAccessException failure(Runnable call) {
        try {
            call.run();
            return null;
        } catch (OneAccessException error) {
            return error;
        }
    }

    static boolean refused(String name, Object value) {
        try {
            builder(ID, SECRET).set(name, value);
            return false;
        } catch (IllegalArgumentException error) {
            return error.getMessage().contains(name);
        }
    }

    static Client.Builder builder(String id, String secret) {
        return Client.builder(ENDPOINT, id, secret).set("ca_file", CA_FILE);
    }

    static Kind failedBuild(Client.Builder builder) {
        return failure(builder::build).kind();
    }

    public static void main(String[] arguments) throws Exception {
        check("version", Client.version().equals("0.1.0"));

        // The environment has everything, but must not complete explicit credentials.
        check("no endpoint", failedBuild(Client.builder(null, ID, SECRET)) == Kind.ARGUMENT);
        check("no secret", failedBuild(builder(ID, null)) == Kind.ARGUMENT);
        OneAccessException error = failure(builder(ID, SECRET).set("timeout", 5)::build);
        boolean named = error.getMessage().contains("timeout_ms");
        check("unknown setting", error.kind() == Kind.CONFIG && named);
        Kind zero = failedBuild(builder(ID, SECRET).set("timeout_ms", 0));
        check("bad value", zero == Kind.CONFIG && refused("timeout_ms", 0.5));
        check("NUL character", refused("ca_file", "a\0b") && refused("ca_file", "\ud800"));
        Kind lineBreak = failedBuild(builder(ID, SECRET).header("X", "1\r\nY: 2"));
        boolean map = refused("proxy", Map.of("X", "1"));
        check("headers", lineBreak == Kind.ARGUMENT && map);
        Client client =
                builder(ID, SECRET)
                        .set("timeout_ms", 20_000)
                        .set("system_roots", false)
                        .set("client_key_file", null)
                        .set("headers", Map.of("X-Test", "bindings"))
                        .build();
        cached(client);
        asynchronous();
        errors();
        store();
        hidden(client);
        closed(client);
        Client.Builder builder = Client.fromEnv().set("timeout_ms", 20_000);
        try (Client fromEnv = builder.header("X-Test", "settings").build()) {
            check("from the environment", fromEnv.getToken().tokenType().equals("Bearer"));
        }
    }

    static void cached(Client client) throws Exception {
        boolean nothing = client.cachedToken() == null && client.refreshIn().isZero();
        OneAccessException error = failure(() -> client.getToken(Duration.ZERO));
        check("no token yet", nothing && error.kind() == Kind.TIMEOUT);
        Token token = client.getToken();
        boolean words = token.tokenType().equals("Bearer") && token.scope().equals("all");
        boolean parts = token.idToken().split("\\.").length == 3;
        boolean authorization = token.authorization().equals("Bearer " + token.accessToken());
        long life = Duration.between(Instant.now(), token.expiresAt()).toSeconds();
        check("token", words && parts && authorization && 0 < life && life <= 1801);
        String first = token.accessToken();
        boolean same = client.cachedToken().accessToken().equals(first);
        same = same && client.getToken(Duration.ZERO).accessToken().equals(first);
        check("cached token", same);
        long refreshIn = client.refreshIn().toMillis();
        check("refresh in", 0 < refreshIn && refreshIn < 1_800_000);
        client.reject(token);
        String second = client.getToken().accessToken();
        check("rejected token", !second.equals(first));
        client.reject(second); // too early after the first rejection: ignored
        check("rejected again", client.getToken().accessToken().equals(second));
        Map<String, Long> numbers = client.statistics();
        boolean times = numbers.remove("token_age_ms") >= 0;
        times = times && numbers.remove("token_remaining_ms") > 0;
        Map<String, Long> expected =
                Map.of(
                        "refreshes", 2L, "attempts", 2L, "failures", 0L, "waits", 0L,
                        "rejections", 1L, "denials", 0L, "store_hits", 0L, "store_failures", 0L);
        check("statistics", times && numbers.equals(expected));
        ExecutorService threads = Executors.newFixedThreadPool(8);
        Callable<String> get = () -> client.getToken().accessToken();
        boolean all = true;
        for (Future<String> future : threads.invokeAll(Collections.nCopies(8, get))) {
            all = all && future.get().equals(second);
        }
        threads.shutdown();
        check("threads", all);
    }

    static void asynchronous() {
        try (Client client = builder(ID, SECRET).build()) {
            client.getTokenAsync().cancel(true); // not for the others
            List<CompletableFuture<Token>> futures =
                    Stream.generate(client::getTokenAsync).limit(100).collect(Collectors.toList());
            long different = futures.stream().map(f -> f.join().accessToken()).distinct().count();
            check("asynchronous", different == 1 && client.statistics().get("attempts") == 1);
        }
    }

    static void errors() {
        try (Client client = builder(ID, "wrong").build()) {
            OneAccessException error = failure(client::getToken);
            boolean denied = error.kind() == Kind.DENIED && error.httpStatus() == 401;
            boolean code = error.vendorCode().equals("invalid_client");
            long age = Duration.between(error.occurredAt(), Instant.now()).toSeconds();
            boolean now = 0 <= age && age < 60 && !error.isRetryable() && !error.isRemembered();
            check("denied", denied && code && now);
            error = failure(client::getToken);
            long wait = error.retryAfter().toMillis();
            check("remembered", error.isRemembered() && 0 < wait && wait < 3_600_000);
            check("last error", client.lastError().kind() == Kind.DENIED);
            error = failure(() -> client.setClientSecret(""));
            check("empty secret", error.kind() == Kind.ARGUMENT);
            client.setClientSecret(SECRET);
            boolean bearer = client.getToken().tokenType().equals("Bearer");
            check("new secret", bearer && client.lastError() == null);
        }
        try (Client client = builder("disabled-id", SECRET).build()) {
            OneAccessException error = failure(client::getToken);
            boolean chinese = error.getMessage().contains("应用已禁用");
            check("vendor code", error.vendorCode().equals("APP.0003") && chinese);
        }
    }

    static void store() throws Exception {
        Path folder = Files.createTempDirectory("oneaccess");
        Client.Builder builder = builder(ID, SECRET).set("store", "file:" + folder + "/store");
        boolean passed;
        try (Client first = builder.build();
                Client second = builder.build()) {
            String token = first.getToken().accessToken();
            passed = second.getToken().accessToken().equals(token);
            Map<String, Long> numbers = second.statistics();
            passed = passed && numbers.get("store_hits") == 1 && numbers.get("attempts") == 0;
            passed = passed && second.lastStoreError() == null;
        }
        try (Stream<Path> files = Files.walk(folder)) {
            files.sorted(Collections.reverseOrder()).map(Path::toFile).forEach(File::delete);
        }
        builder.set("store", "file:/nonexistent/folder");
        try (Client without = builder.build()) {
            passed = passed && without.getToken().tokenType().equals("Bearer");
            Map<String, Long> numbers = without.statistics();
            passed = passed && numbers.get("store_hits") == 0 && numbers.get("attempts") == 1;
            passed = passed && numbers.get("store_failures") >= 1;
            check("shared store", passed && without.lastStoreError().kind() == Kind.CONFIG);
        }
    }

    static void hidden(Client client) {
        Token token = client.getToken();
        String shown = client + " " + token + " " + failure(() -> client.setClientSecret(""));
        Stream<String> secrets = Stream.of(SECRET, token.accessToken(), token.idToken());
        check("secrets hidden", secrets.noneMatch(shown::contains));
    }

    static void closed(Client client) {
        client.close();
        client.close();
        boolean closed = client.cachedToken() == null && client.refreshIn() == null;
        check("closed", closed && failure(client::getToken).kind() == Kind.CLOSED);
    }
}
