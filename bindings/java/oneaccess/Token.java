package oneaccess;

import java.time.Instant;

/** An access token. {@code toString} and serialization to JSON do not show its secret parts. */
public final class Token {
    // Transient for libraries that serialize fields, such as Gson. Others look for getters, which
    // the methods are not, by their names.
    private final transient String accessToken;
    private final transient String authorization;
    private final transient String idToken;
    private final String tokenType;
    private final String scope;
    private final Instant expiresAt;

    Token(
            String accessToken,
            String authorization,
            String idToken,
            String tokenType,
            String scope,
            Instant expiresAt) {
        this.accessToken = accessToken;
        this.authorization = authorization;
        this.idToken = idToken;
        this.tokenType = tokenType;
        this.scope = scope;
        this.expiresAt = expiresAt;
    }

    /** The token, without "Bearer". */
    public String accessToken() {
        return accessToken;
    }

    /** "Bearer ...", the value of the Authorization header. */
    public String authorization() {
        return authorization;
    }

    /** The id_token in the response; null if there was none. */
    public String idToken() {
        return idToken;
    }

    /** Always "Bearer". */
    public String tokenType() {
        return tokenType;
    }

    /** The scope in the response; null if there was none. */
    public String scope() {
        return scope;
    }

    /** For display only: the client decides when to refresh the token. */
    public Instant expiresAt() {
        return expiresAt;
    }

    @Override
    public String toString() {
        return "Token[scope=" + scope + ", expiresAt=" + expiresAt + "]";
    }
}
