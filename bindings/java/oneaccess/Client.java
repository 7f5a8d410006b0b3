package oneaccess;

import com.sun.jna.Library;
import com.sun.jna.Native;
import com.sun.jna.NativeLibrary;
import com.sun.jna.Platform;
import com.sun.jna.Pointer;
import com.sun.jna.ptr.PointerByReference;
import java.io.File;
import java.io.IOException;
import java.lang.ref.Cleaner;
import java.math.BigInteger;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Function;
import java.util.function.Supplier;
import oneaccess.OneAccessException.Kind;

/**
 * Gets access tokens of Huawei Cloud OneAccess (Bamboocloud) for one application, and keeps them
 * fresh. Share one client among all threads.
 *
 * <pre>{@code
 * Client client = Client.fromEnv().build();  // one for the whole process
 * Token token = client.getToken();           // before every use, from any thread
 * request.header("Authorization", token.authorization());
 * }</pre>
 */
public final class Client implements AutoCloseable {
    private static final Cleaner CLEANER = Cleaner.create();

    private static final String[] STATISTICS = {
        "refreshes", // number 1
        "attempts",
        "failures",
        "waits",
        "rejections",
        "denials",
        "token_age_ms",
        "token_remaining_ms",
        "store_hits",
        "store_failures",
    };

    private final Handle handle;
    private final Cleaner.Cleanable release;
    private CompletableFuture<Token> refresh = CompletableFuture.completedFuture(null);

    private Client(Pointer client) {
        handle = new Handle(client);
        release = CLEANER.register(this, handle::release);
    }

    /**
     * A client with these credentials. Reads no ONEACCESS_ variables.
     *
     * @param clientSecret null if the setting client_secret_file is set
     */
    public static Builder builder(String endpoint, String clientId, String clientSecret) {
        check("endpoint", endpoint);
        check("clientId", clientId);
        check("clientSecret", clientSecret);
        return new Builder(() -> C.oneaccess_config_new(endpoint, clientId, clientSecret));
    }

    /**
     * A client that reads ONEACCESS_ENDPOINT, ONEACCESS_CLIENT_ID, ONEACCESS_CLIENT_SECRET and all
     * settings from the environment. Settings of the builder take precedence.
     */
    public static Builder fromEnv() {
        return new Builder(C::oneaccess_config_new_from_env);
    }

    /** Version of the loaded library. */
    public static String version() {
        return C.oneaccess_version();
    }

    /** The settings of a client. */
    public static final class Builder {
        private final Supplier<Pointer> config;
        private final Map<String, String> settings = new LinkedHashMap<>();
        private final Map<String, String> headers = new LinkedHashMap<>();

        private Builder(Supplier<Pointer> config) {
            this.config = config;
        }

        /**
         * Sets one of the settings of docs/settings.md, by its name there.
         *
         * @param value a String, whole number, Boolean, Path or File, or for {@code headers} a Map;
         *     null is the same as leaving it out
         * @throws IllegalArgumentException if the value is of another type, or contains a NUL
         *     character
         */
        public Builder set(String name, Object value) {
            if ("headers".equals(name) && value instanceof Map) {
                Map<?, ?> map = (Map<?, ?>) value;
                map.forEach((header, text) -> header(text(name, header), text(name, text)));
            } else {
                check("the name of a setting", name);
                settings.put(name, text(name, value));
            }
            return this;
        }

        /** Adds a header to every token request, for example X-tenant-id. */
        public Builder header(String name, String value) {
            check("headers", name);
            check("headers", value);
            headers.put(name, value);
            return this;
        }

        /**
         * Makes a client. Sends no request.
         *
         * @throws OneAccessException if a setting cannot be used; the message lists all mistakes
         */
        public Client build() {
            Pointer config = this.config.get();
            try {
                if (!headers.isEmpty()) {
                    // Removes those from the environment.
                    C.oneaccess_config_set(config, "headers", null);
                }
                settings.forEach(
                        (name, value) -> {
                            if (value != null) {
                                C.oneaccess_config_set(config, name, value);
                            }
                        });
                headers.forEach(
                        (name, value) -> C.oneaccess_config_add_header(config, name, value));
                PointerByReference client = new PointerByReference();
                check(C.oneaccess_client_new(config, client));
                return new Client(client.getValue());
            } finally {
                C.oneaccess_config_free(config);
            }
        }
    }

    /**
     * A valid token; call it before each use. Usually it comes from memory; otherwise the call
     * blocks, for at most the setting timeout_ms.
     *
     * @throws OneAccessException if there is no valid token
     */
    public Token getToken() {
        return call(
                client -> {
                    PointerByReference token = new PointerByReference();
                    check(C.oneaccess_client_get_token(client, token));
                    return takeToken(token.getValue());
                });
    }

    /**
     * The same, with a timeout for this call. With zero it sends no request.
     *
     * @throws OneAccessException if there is no valid token
     */
    public Token getToken(Duration timeout) {
        // More than a day counts as a day.
        boolean isLong = timeout.compareTo(Duration.ofDays(1)) > 0;
        long milliseconds = (isLong ? Duration.ofDays(1) : timeout.plusNanos(999_999)).toMillis();
        return call(
                client -> {
                    PointerByReference token = new PointerByReference();
                    check(C.oneaccess_client_get_token_within(client, milliseconds, token));
                    return takeToken(token.getValue());
                });
    }

    /**
     * The same without blocking. A usable token comes from memory. If it is due to be
     * refreshed, that happens in a thread, one at a time; only callers without a token wait for it.
     * That thread runs their continuations: those that block belong into an executor ({@code
     * thenApplyAsync}). The future fails with a {@link OneAccessException}.
     */
    public CompletableFuture<Token> getTokenAsync() {
        Token cached = cachedToken();
        if (cached != null && !Duration.ZERO.equals(refreshIn())) {
            return CompletableFuture.completedFuture(cached);
        }
        CompletableFuture<Token> refreshed = refreshInThread();
        if (cached != null) {
            return CompletableFuture.completedFuture(cached);
        }
        return refreshed.copy(); // a caller may cancel it
    }

    private synchronized CompletableFuture<Token> refreshInThread() {
        if (refresh.isDone()) {
            refresh = CompletableFuture.supplyAsync(this::getToken, Client::startDaemon);
        }
        return refresh;
    }

    private static void startDaemon(Runnable task) {
        Thread thread = new Thread(task, "oneaccess-refresh");
        thread.setDaemon(true);
        thread.start();
    }

    /** The token in memory if it is usable, else null. Never waits and never sends a request. */
    public Token cachedToken() {
        return callUnlessClosed(
                null,
                client -> {
                    Pointer token = C.oneaccess_client_get_cached_token(client);
                    return token == null ? null : takeToken(token);
                });
    }

    /**
     * How long until {@link #getToken()} should be called to refresh the token; null: never, the
     * client is closed.
     */
    public Duration refreshIn() {
        long milliseconds = callUnlessClosed(-1L, C::oneaccess_client_refresh_in_ms);
        return milliseconds < 0 ? null : Duration.ofMillis(milliseconds);
    }

    /**
     * Reports that a management API rejected this token: HTTP 401, or HTTP 400 with {@code
     * invalid_token} in the body. The next {@link #getToken()} requests a new one.
     */
    public void reject(Token token) {
        reject(token.accessToken());
    }

    /** The same for an access token, without "Bearer". */
    public void reject(String accessToken) {
        check("accessToken", accessToken);
        callUnlessClosed(
                null,
                client -> {
                    C.oneaccess_client_reject_token(client, accessToken);
                    return null;
                });
    }

    /**
     * Uses this secret for all further requests. The current token is kept.
     *
     * @throws OneAccessException if the secret is null or empty, or the client reads it from a file
     */
    public void setClientSecret(String clientSecret) {
        check("clientSecret", clientSecret);
        call(
                client -> {
                    check(C.oneaccess_client_set_client_secret(client, clientSecret));
                    return null;
                });
    }

    /**
     * The ONEACCESS_STAT_* numbers of oneaccess.h, of this client.
     *
     * @throws OneAccessException if the client is closed
     */
    public Map<String, Long> statistics() {
        return call(
                client -> {
                    Map<String, Long> numbers = new LinkedHashMap<>();
                    for (int stat = 1; stat <= STATISTICS.length; stat++) {
                        numbers.put(STATISTICS[stat - 1], C.oneaccess_client_stat(client, stat));
                    }
                    return numbers;
                });
    }

    /**
     * Why the last request failed, also if no call reported it because the token was still valid.
     * Null if it succeeded.
     */
    public OneAccessException lastError() {
        return callUnlessClosed(
                null,
                client -> {
                    Pointer error = C.oneaccess_client_get_last_error(client);
                    return error == null ? null : takeError(error);
                });
    }

    /**
     * The last failure of the shared store (setting store), however long ago. Null if there was
     * none. No call reports it: the call goes on without the store.
     */
    public OneAccessException lastStoreError() {
        return callUnlessClosed(
                null,
                client -> {
                    Pointer error = C.oneaccess_client_get_last_store_error(client);
                    return error == null ? null : takeError(error);
                });
    }

    /**
     * Ends all calls, running and future ones, with {@link Kind#CLOSED}. Does not wait: the memory
     * is freed, and the secret wiped, when the last running call has returned.
     */
    @Override
    public void close() {
        callUnlessClosed(
                null,
                client -> {
                    C.oneaccess_client_close(client);
                    return null;
                });
        release.clean();
    }

    private <T> T call(Function<Pointer, T> function) {
        if (!handle.enter()) {
            String message = "the client was closed";
            throw new OneAccessException(
                    message, Kind.CLOSED, 0, null, false, false, Instant.now(), Duration.ZERO);
        }
        try {
            return function.apply(handle.client);
        } finally {
            handle.leave();
        }
    }

    private <T> T callUnlessClosed(T otherwise, Function<Pointer, T> function) {
        if (!handle.enter()) {
            return otherwise;
        }
        try {
            return function.apply(handle.client);
        } finally {
            handle.leave();
        }
    }

    /** Frees the C client after its last user: the Client or, if that is gone, a running call. */
    private static final class Handle {
        final Pointer client;
        private final AtomicInteger users = new AtomicInteger(1);
        private volatile boolean released;

        Handle(Pointer client) {
            this.client = client;
        }

        boolean enter() {
            return !released && users.getAndUpdate(count -> count == 0 ? 0 : count + 1) != 0;
        }

        void release() {
            released = true;
            leave();
        }

        void leave() {
            if (users.decrementAndGet() == 0) {
                C.oneaccess_client_free(client);
            }
        }
    }

    private static String text(String name, Object value) {
        if (value == null
                || value instanceof String
                || value instanceof Boolean
                || value instanceof Integer
                || value instanceof Long
                || value instanceof Short
                || value instanceof Byte
                || value instanceof BigInteger
                || value instanceof Path
                || value instanceof File) {
            String text = value == null ? null : value.toString();
            check(name, text);
            return text;
        }
        String expected = " must be a String, a whole number, a Boolean, a Path or a File, not ";
        throw new IllegalArgumentException(name + expected + value.getClass().getName());
    }

    private static void check(String name, String text) {
        if (text != null && text.indexOf('\0') >= 0) {
            throw new IllegalArgumentException(name + " must not contain a NUL character");
        }
        if (text != null && !StandardCharsets.UTF_8.newEncoder().canEncode(text)) {
            throw new IllegalArgumentException(name + " is not valid Unicode");
        }
    }

    private static void check(Pointer error) {
        if (error != null) {
            throw takeError(error);
        }
    }

    private static Token takeToken(Pointer token) {
        try {
            return new Token(
                    C.oneaccess_token_access_token(token),
                    C.oneaccess_token_authorization(token),
                    C.oneaccess_token_id_token(token),
                    C.oneaccess_token_token_type(token),
                    C.oneaccess_token_scope(token),
                    Instant.ofEpochSecond(C.oneaccess_token_expires_at(token)));
        } finally {
            C.oneaccess_token_free(token);
        }
    }

    private static OneAccessException takeError(Pointer error) {
        try {
            return new OneAccessException(
                    C.oneaccess_error_message(error),
                    Kind.of(C.oneaccess_error_kind(error)),
                    C.oneaccess_error_http_status(error),
                    C.oneaccess_error_vendor_code(error),
                    C.oneaccess_error_is_retryable(error) != 0,
                    C.oneaccess_error_is_remembered(error) != 0,
                    Instant.ofEpochSecond(C.oneaccess_error_occurred_at(error)),
                    Duration.ofMillis(C.oneaccess_error_retry_after_ms(error)));
        } finally {
            C.oneaccess_error_free(error);
        }
    }

    /** The functions of oneaccess.h. */
    private static final class C {
        static {
            // JNA's own choice of encoding depends on the machine.
            Map<String, ?> utf8 = Map.of(Library.OPTION_STRING_ENCODING, "UTF-8");
            try {
                Native.register(C.class, NativeLibrary.getInstance(find(), utf8));
            } catch (UnsatisfiedLinkError error) {
                String reason = "cannot load the oneaccess library: " + error.getMessage();
                String advice = "; install it, or set ONEACCESS_LIBRARY to its path";
                throw new UnsatisfiedLinkError(reason + advice);
            }
        }

        private static String find() {
            String path = System.getenv("ONEACCESS_LIBRARY");
            if (path != null && !path.isEmpty()) {
                return path;
            }
            String name =
                    Platform.isWindows()
                            ? "oneaccess.dll"
                            : Platform.isMac() ? "liboneaccess.0.dylib" : "liboneaccess.so.0";
            try {
                // On the class path, in JNA's folder for this system, such as linux-x86-64.
                return Native.extractFromResourcePath(name, C.class.getClassLoader()).getPath();
            } catch (IOException notPackaged) {
                return name;
            }
        }

        static native String oneaccess_version();

        static native Pointer oneaccess_config_new(String endpoint, String id, String secret);

        static native Pointer oneaccess_config_new_from_env();

        static native void oneaccess_config_set(Pointer config, String name, String value);

        static native void oneaccess_config_add_header(Pointer config, String name, String value);

        static native void oneaccess_config_free(Pointer config);

        static native Pointer oneaccess_client_new(Pointer config, PointerByReference client);

        static native Pointer oneaccess_client_get_token(Pointer client, PointerByReference token);

        static native Pointer oneaccess_client_get_token_within(
                Pointer client, long timeoutMs, PointerByReference token);

        static native Pointer oneaccess_client_get_cached_token(Pointer client);

        static native long oneaccess_client_refresh_in_ms(Pointer client);

        static native void oneaccess_client_reject_token(Pointer client, String accessToken);

        static native Pointer oneaccess_client_set_client_secret(Pointer client, String secret);

        static native long oneaccess_client_stat(Pointer client, int stat);

        static native Pointer oneaccess_client_get_last_error(Pointer client);

        static native Pointer oneaccess_client_get_last_store_error(Pointer client);

        static native void oneaccess_client_close(Pointer client);

        static native void oneaccess_client_free(Pointer client);

        static native String oneaccess_token_access_token(Pointer token);

        static native String oneaccess_token_authorization(Pointer token);

        static native String oneaccess_token_token_type(Pointer token);

        static native String oneaccess_token_scope(Pointer token);

        static native String oneaccess_token_id_token(Pointer token);

        static native long oneaccess_token_expires_at(Pointer token);

        static native void oneaccess_token_free(Pointer token);

        static native int oneaccess_error_kind(Pointer error);

        static native int oneaccess_error_http_status(Pointer error);

        static native String oneaccess_error_vendor_code(Pointer error);

        static native String oneaccess_error_message(Pointer error);

        static native int oneaccess_error_is_retryable(Pointer error);

        static native int oneaccess_error_is_remembered(Pointer error);

        static native long oneaccess_error_occurred_at(Pointer error);

        static native long oneaccess_error_retry_after_ms(Pointer error);

        static native void oneaccess_error_free(Pointer error);
    }
}
