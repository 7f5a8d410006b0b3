import com.sun.jna.Library;
import com.sun.jna.Native;
import com.sun.jna.Pointer;
import com.sun.jna.ptr.PointerByReference;
import java.lang.ref.Cleaner;
import java.time.Instant;
import java.util.Map;
import java.util.concurrent.locks.ReentrantReadWriteLock;

/** Access tokens of Huawei Cloud OneAccess, kept fresh by liboneaccess. For all threads. */
public final class OneAccess implements AutoCloseable {
    /** A kind of error; all of them are in oneaccess.h. */
    public static final int DENIED = 7;

    private interface Functions extends Library {
        Pointer oneaccess_config_new(String endpoint, String clientId, String clientSecret);
        Pointer oneaccess_config_new_from_env();
        void oneaccess_config_set(Pointer config, String name, String value);
        void oneaccess_config_free(Pointer config);
        Pointer oneaccess_client_new(Pointer config, PointerByReference client);
        Pointer oneaccess_client_get_token(Pointer client, PointerByReference token);
        void oneaccess_client_reject_token(Pointer client, String token);
        void oneaccess_client_close(Pointer client);
        void oneaccess_client_free(Pointer client);
        String oneaccess_token_access_token(Pointer token);
        String oneaccess_token_authorization(Pointer token);
        long oneaccess_token_expires_at(Pointer token);
        void oneaccess_token_free(Pointer token);
        int oneaccess_error_kind(Pointer error);
        int oneaccess_error_http_status(Pointer error);
        String oneaccess_error_vendor_code(Pointer error);
        String oneaccess_error_message(Pointer error);
        int oneaccess_error_is_retryable(Pointer error);
        void oneaccess_error_free(Pointer error);
    }

    // JNA's own choice of encoding depends on the machine.
    private static final Functions LIBRARY = Native.load("liboneaccess.so.0", Functions.class,
            Map.of(Library.OPTION_STRING_ENCODING, "UTF-8"));

    /** Authorization is "Bearer ...", ready for the header; expiresAt is to show, not to decide. */
    public record Token(String accessToken, String authorization, Instant expiresAt) {
        @Override public String toString() { return "Token[expiresAt=" + expiresAt + "]"; }
    }

    /** Why there is no token. */
    public static final class Failure extends RuntimeException {
        public final int kind, httpStatus;
        public final String vendorCode;
        public final boolean isRetryable;

        private Failure(Pointer error) {
            super(LIBRARY.oneaccess_error_message(error));
            kind = LIBRARY.oneaccess_error_kind(error);
            httpStatus = LIBRARY.oneaccess_error_http_status(error);
            vendorCode = LIBRARY.oneaccess_error_vendor_code(error);
            isRetryable = LIBRARY.oneaccess_error_is_retryable(error) != 0;
            LIBRARY.oneaccess_error_free(error);
        }
    }

    private static final Cleaner FORGOTTEN = Cleaner.create();

    private final ReentrantReadWriteLock calls = new ReentrantReadWriteLock();
    private final Cleaner.Cleanable client;
    private Pointer handle;

    private OneAccess(Pointer config) {
        try {
            PointerByReference out = new PointerByReference();
            check(LIBRARY.oneaccess_client_new(config, out));
            Pointer handle = out.getValue();
            this.handle = handle;
            client = FORGOTTEN.register(this, () -> LIBRARY.oneaccess_client_free(handle));
        } finally {
            LIBRARY.oneaccess_config_free(config);
        }
    }

    /** From ONEACCESS_ENDPOINT and so on. */
    public static OneAccess fromEnvironment() {
        return new OneAccess(LIBRARY.oneaccess_config_new_from_env());
    }

    /** caFile may be null: it is for a private CA. */
    public static OneAccess of(String endpoint, String clientId, String secret, String caFile) {
        Pointer config = LIBRARY.oneaccess_config_new(endpoint, clientId, secret);
        LIBRARY.oneaccess_config_set(config, "ca_file", caFile);
        return new OneAccess(config);
    }

    /** Call it before every use. Blocks about once in a token's life. */
    public Token token() {
        calls.readLock().lock();
        try {
            PointerByReference out = new PointerByReference();
            check(LIBRARY.oneaccess_client_get_token(handle, out));
            Pointer token = out.getValue();
            try {
                return new Token(LIBRARY.oneaccess_token_access_token(token),
                        LIBRARY.oneaccess_token_authorization(token),
                        Instant.ofEpochSecond(LIBRARY.oneaccess_token_expires_at(token)));
            } finally {
                LIBRARY.oneaccess_token_free(token);
            }
        } finally {
            calls.readLock().unlock();
        }
    }

    /** A management API did not accept this token. */
    public void reject(Token token) {
        calls.readLock().lock();
        try {
            LIBRARY.oneaccess_client_reject_token(handle, token.accessToken());
        } finally {
            calls.readLock().unlock();
        }
    }

    /** Ends all calls and frees the client after the last one. */
    @Override public void close() {
        calls.readLock().lock();
        LIBRARY.oneaccess_client_close(handle);
        calls.readLock().unlock();
        calls.writeLock().lock();
        handle = null;
        client.clean();
        calls.writeLock().unlock();
    }

    private static void check(Pointer error) {
        if (error != null) {
            throw new Failure(error);
        }
    }
}
