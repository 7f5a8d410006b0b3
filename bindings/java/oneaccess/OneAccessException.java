package oneaccess;

import java.time.Duration;
import java.time.Instant;

/**
 * A call failed. The message is one line that says what to do; it contains no secret.
 *
 * <p>Unchecked: a token is needed in lambdas and interceptors, which cannot throw checked
 * exceptions, and few callers can do more than report the failure.
 */
public final class OneAccessException extends RuntimeException {
    private static final long serialVersionUID = 1;

    /** What failed. The library's README says what to do about each kind. */
    public enum Kind {
        /** A kind that only a newer library has. */
        UNKNOWN,
        ARGUMENT,
        CONFIG,
        TRANSPORT,
        PROXY,
        TLS,
        TIMEOUT,
        DENIED,
        THROTTLED,
        SERVER,
        PROTOCOL,
        CLOSED,
        INTERNAL;

        /** The kind with a number of oneaccess.h. */
        static Kind of(int number) {
            Kind[] kinds = values();
            return 0 < number && number < kinds.length ? kinds[number] : UNKNOWN;
        }
    }

    private final Kind kind;
    private final int httpStatus;
    private final String vendorCode;
    private final boolean retryable;
    private final boolean remembered;
    private final Instant occurredAt;
    private final Duration retryAfter;

    OneAccessException(
            String message,
            Kind kind,
            int httpStatus,
            String vendorCode,
            boolean retryable,
            boolean remembered,
            Instant occurredAt,
            Duration retryAfter) {
        super(message);
        this.kind = kind;
        this.httpStatus = httpStatus;
        this.vendorCode = vendorCode;
        this.retryable = retryable;
        this.remembered = remembered;
        this.occurredAt = occurredAt;
        this.retryAfter = retryAfter;
    }

    /** What failed. */
    public Kind kind() {
        return kind;
    }

    /** The HTTP status; 0 if there was no response. */
    public int httpStatus() {
        return httpStatus;
    }

    /** The error_code of OneAccess, or the OAuth error; null if there is none. */
    public String vendorCode() {
        return vendorCode;
    }

    /** Whether the call may succeed later without any change. */
    public boolean isRetryable() {
        return retryable;
    }

    /** Whether this is the error from an earlier request; this call sent none. */
    public boolean isRemembered() {
        return remembered;
    }

    /** When the request failed. */
    public Instant occurredAt() {
        return occurredAt;
    }

    /** How long after the exception was made a retry makes sense; zero if unknown. */
    public Duration retryAfter() {
        return retryAfter;
    }
}
