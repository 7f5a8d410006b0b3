// Access tokens of Huawei Cloud OneAccess (Bamboocloud), kept fresh.
//
// var client = Client.FromEnvironment();  // one for the whole process
// Token token = client.GetToken();        // before every use, from any thread
// request.Headers.Add("Authorization", token.GetAuthorization());
using System;
using System.Collections.Generic;
using System.Globalization;
using System.IO;
using System.Runtime.InteropServices;
using System.Text;
using System.Threading;
using System.Threading.Tasks;
using Microsoft.Win32.SafeHandles;

namespace OneAccess
{
    /// <summary>What failed. The library's README says what to do about each kind. A newer
    /// library can have more numbers.</summary>
    public enum ErrorKind
    {
#pragma warning disable 1591
        Argument = 1,
        Config = 2,
        Transport = 3,
        Proxy = 4,
        Tls = 5,
        Timeout = 6,
        Denied = 7,
        Throttled = 8,
        Server = 9,
        Protocol = 10,
        Closed = 11,
        Internal = 12,
#pragma warning restore 1591
    }

    /// <summary>A call failed. The message is one line that says what to do; it
    /// contains no secret.</summary>
    public sealed class OneAccessException : Exception
    {
        /// <summary>What failed.</summary>
        public ErrorKind Kind { get; }

        /// <summary>The HTTP status; 0 if there was no response.</summary>
        public int HttpStatus { get; }

        /// <summary>The error_code of OneAccess, or the OAuth error; may be null.</summary>
        public string VendorCode { get; }

        /// <summary>Whether the call may succeed later without any change.</summary>
        public bool IsRetryable { get; }

        /// <summary>Whether the error comes from an earlier request; this call sent
        /// none.</summary>
        public bool IsRemembered { get; }

        /// <summary>When the request failed.</summary>
        public DateTimeOffset OccurredAt { get; }

        /// <summary>How long after the exception was made a retry makes sense; zero if
        /// unknown.</summary>
        public TimeSpan RetryAfter { get; }

        internal OneAccessException(Library library, IntPtr error)
            : base(Library.Text(library.ErrorMessage(error)))
        {
            Kind = (ErrorKind)library.ErrorKind(error);
            HttpStatus = library.ErrorHttpStatus(error);
            VendorCode = Library.Text(library.ErrorVendorCode(error));
            IsRetryable = library.ErrorIsRetryable(error) != 0;
            IsRemembered = library.ErrorIsRemembered(error) != 0;
            OccurredAt = DateTimeOffset.FromUnixTimeSeconds(library.ErrorOccurredAt(error));
            RetryAfter = TimeSpan.FromMilliseconds(library.ErrorRetryAfterMs(error));
        }
    }

    /// <summary>An access token. Its secret parts are methods, since serializers and loggers write
    /// all properties.</summary>
    public sealed class Token
    {
        private readonly string accessToken;
        private readonly string authorization;
        private readonly string idToken;

        /// <summary>Always "Bearer".</summary>
        public string TokenType { get; }

        /// <summary>The scope in the response; may be null.</summary>
        public string Scope { get; }

        /// <summary>For display only: the client decides when to refresh the token.</summary>
        public DateTimeOffset ExpiresAt { get; }

        internal Token(Library library, IntPtr token)
        {
            accessToken = Library.Text(library.TokenAccessToken(token));
            authorization = Library.Text(library.TokenAuthorization(token));
            idToken = Library.Text(library.TokenIdToken(token));
            TokenType = Library.Text(library.TokenTokenType(token));
            Scope = Library.Text(library.TokenScope(token));
            ExpiresAt = DateTimeOffset.FromUnixTimeSeconds(library.TokenExpiresAt(token));
        }

        /// <summary>The token, without "Bearer".</summary>
        public string GetAccessToken() => accessToken;

        /// <summary>"Bearer ...", the value of the Authorization header.</summary>
        public string GetAuthorization() => authorization;

        /// <summary>The id_token in the response; may be null.</summary>
        public string GetIdToken() => idToken;

        /// <summary>Shows nothing secret.</summary>
        public override string ToString()
            => $"Token {{ Scope = {Scope}, ExpiresAt = {ExpiresAt:u} }}";
    }

    /// <summary>Gets access tokens for one application. Share one client among all threads and
    /// tasks.</summary>
    public sealed class Client : IDisposable
    {
        private static readonly string[] Statistics =
        {
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

        private readonly Library library;
        private readonly ClientHandle handle;
        private readonly object refreshLock = new object();
        private Task<Token> refresh;

        /// <summary>Reads no ONEACCESS_ variables. The settings are those of
        /// docs/settings.md, by name; null is the same as leaving a setting out.</summary>
        /// <exception cref="OneAccessException">The message lists all mistakes.</exception>
        /// <exception cref="ArgumentException">A value is of a wrong type, or contains a NUL
        /// character.</exception>
        public Client(
            string endpoint,
            string clientId,
            string clientSecret,
            IReadOnlyDictionary<string, object> settings = null)
            : this(
                library => library.ConfigNew(
                    Library.Bytes(nameof(endpoint), endpoint),
                    Library.Bytes(nameof(clientId), clientId),
                    Library.Bytes(nameof(clientSecret), clientSecret)),
                settings)
        {
        }

        private Client(
            Func<Library, IntPtr> newConfig, IReadOnlyDictionary<string, object> settings)
        {
            library = Library.Loaded.Value;
            IntPtr config = newConfig(library);
            try
            {
                foreach (var setting in settings ?? new Dictionary<string, object>())
                    Set(config, setting.Key, setting.Value);
                Check(library.ClientNew(config, out IntPtr client));
                handle = new ClientHandle(library, client);
            }
            finally
            {
                library.ConfigFree(config);
            }
        }

        /// <summary>Reads ONEACCESS_ENDPOINT, ONEACCESS_CLIENT_ID, ONEACCESS_CLIENT_SECRET and all
        /// settings from the environment; the parameter takes precedence.</summary>
        public static Client FromEnvironment(IReadOnlyDictionary<string, object> settings = null)
            => new Client(library => library.ConfigNewFromEnv(), settings);

        /// <summary>Version of the loaded library.</summary>
        public static string Version => Library.Text(Library.Loaded.Value.Version());

        /// <summary>A valid token; call it before each use. Usually it comes from memory; otherwise
        /// the call blocks, for at most the setting timeout_ms.</summary>
        /// <exception cref="OneAccessException">There is no valid token.</exception>
        public Token GetToken()
        {
            Check(library.ClientGetToken(handle, out IntPtr token));
            return TakeToken(token);
        }

        /// <summary>The same, with a timeout for this call. With zero it sends no
        /// request.</summary>
        /// <exception cref="OneAccessException">There is no valid token.</exception>
        public Token GetToken(TimeSpan timeout)
        {
            long milliseconds = (long)Math.Ceiling(timeout.TotalMilliseconds);
            Check(library.ClientGetTokenWithin(handle, milliseconds, out IntPtr token));
            return TakeToken(token);
        }

        /// <summary>The same without blocking. A usable token comes from memory. If it is due to be
        /// refreshed, that happens in a thread, one at a time; only callers without a token wait
        /// for it. Cancelling ends the wait, not the refresh.</summary>
        public Task<Token> GetTokenAsync(
            CancellationToken cancellationToken = default(CancellationToken))
        {
            if (cancellationToken.IsCancellationRequested)
                return Task.FromCanceled<Token>(cancellationToken);
            Token cached = GetCachedToken();
            if (cached != null && GetRefreshIn() != TimeSpan.Zero)
                return Task.FromResult(cached);
            Task<Token> refreshed = RefreshInThread();
            if (cached != null)
                return Task.FromResult(cached);
            return refreshed.ContinueWith(
                task => task.GetAwaiter().GetResult(),
                cancellationToken,
                TaskContinuationOptions.None, // not in the thread of the refresh
                TaskScheduler.Default);
        }

        private Task<Token> RefreshInThread()
        {
            lock (refreshLock)
            {
                if (refresh == null || refresh.IsCompleted)
                {
                    refresh = Task.Factory.StartNew(
                        GetToken,
                        CancellationToken.None,
                        TaskCreationOptions.LongRunning, // a thread of its own
                        TaskScheduler.Default);
                }
                return refresh;
            }
        }

        /// <summary>The token in memory if it is usable, else null. Never waits and never sends a
        /// request.</summary>
        public Token GetCachedToken()
        {
            IntPtr token = library.ClientGetCachedToken(handle);
            return token == IntPtr.Zero ? null : TakeToken(token);
        }

        /// <summary>How long until GetToken should be called to refresh the token; null: never, the
        /// client is closed.</summary>
        public TimeSpan? GetRefreshIn()
        {
            long milliseconds = library.ClientRefreshInMs(handle);
            return milliseconds < 0 ? (TimeSpan?)null : TimeSpan.FromMilliseconds(milliseconds);
        }

        /// <summary>Reports that a management API rejected this token: HTTP 401, or HTTP 400 with
        /// `invalid_token` in the body. The next GetToken requests a new one.</summary>
        public void Reject(Token token) => Reject(token?.GetAccessToken());

        /// <summary>The same for an access token, without "Bearer".</summary>
        public void Reject(string accessToken)
            => library.ClientRejectToken(handle, Library.Bytes(nameof(accessToken), accessToken));

        /// <summary>Uses this secret for all further requests. The current token is
        /// kept.</summary>
        /// <exception cref="OneAccessException">The secret is null or empty, or the client reads it
        /// from a file.</exception>
        public void SetClientSecret(string clientSecret)
        {
            byte[] bytes = Library.Bytes(nameof(clientSecret), clientSecret);
            Check(library.ClientSetClientSecret(handle, bytes));
        }

        /// <summary>The ONEACCESS_STAT_* numbers of oneaccess.h, of this client.</summary>
        public IReadOnlyDictionary<string, long> GetStatistics()
        {
            var numbers = new Dictionary<string, long>();
            for (int stat = 1; stat <= Statistics.Length; stat++)
                numbers.Add(Statistics[stat - 1], library.ClientStat(handle, stat));
            return numbers;
        }

        /// <summary>Why the last request failed, also if no call reported it because the token was
        /// still valid. Null if it succeeded.</summary>
        public OneAccessException GetLastError()
        {
            IntPtr error = library.ClientGetLastError(handle);
            return error == IntPtr.Zero ? null : TakeError(error);
        }

        /// <summary>The last failure of the shared store (setting store), however long ago. Null if
        /// there was none. No call reports it: the call goes on without the store.</summary>
        public OneAccessException GetLastStoreError()
        {
            IntPtr error = library.ClientGetLastStoreError(handle);
            return error == IntPtr.Zero ? null : TakeError(error);
        }

        /// <summary>Ends all calls, running and future ones, with ErrorKind.Closed.</summary>
        public void Close() => library.ClientClose(handle);

        /// <summary>Closes the client, and frees it after the last running call. Later calls throw
        /// ObjectDisposedException.</summary>
        public void Dispose()
        {
            if (!handle.IsClosed)
                Close();
            handle.Dispose();
        }

        private void Set(IntPtr config, string name, object value)
        {
            if (name == "headers" && value is IEnumerable<KeyValuePair<string, string>> headers)
            {
                byte[] setting = Library.Bytes("The name of a setting", name);
                library.ConfigSet(config, setting, null); // removes those from the environment
                foreach (var header in headers)
                {
                    library.ConfigAddHeader(
                        config, Library.Bytes(name, header.Key), Library.Bytes(name, header.Value));
                }
            }
            else if (value != null)
            {
                byte[] bytes = Library.Bytes(name, SettingText(name, value));
                library.ConfigSet(config, Library.Bytes("The name of a setting", name), bytes);
            }
        }

        private static string SettingText(string name, object value)
        {
            if (value is string text)
                return text;
            if (value is bool flag)
                return flag ? "true" : "false";
            if (value is FileInfo file)
                return file.FullName;
            if (value is int || value is long || value is uint || value is ulong
                || value is short || value is ushort || value is byte || value is sbyte)
                return Convert.ToString(value, CultureInfo.InvariantCulture);
            string expected = "a string, a whole number, a bool or a FileInfo";
            throw new ArgumentException($"{name} must be {expected}, not {value.GetType()}", name);
        }

        private Token TakeToken(IntPtr token)
        {
            try
            {
                return new Token(library, token);
            }
            finally
            {
                library.TokenFree(token);
            }
        }

        private OneAccessException TakeError(IntPtr error)
        {
            try
            {
                return new OneAccessException(library, error);
            }
            finally
            {
                library.ErrorFree(error);
            }
        }

        private void Check(IntPtr error)
        {
            if (error != IntPtr.Zero)
                throw TakeError(error);
        }
    }

    /// <summary>The runtime counts the calls that use the handle, and frees it once,
    /// after the last call.</summary>
    internal sealed class ClientHandle : SafeHandleZeroOrMinusOneIsInvalid
    {
        private readonly Library library;

        internal ClientHandle(Library library, IntPtr client)
            : base(true)
        {
            this.library = library;
            SetHandle(client);
        }

        protected override bool ReleaseHandle()
        {
            library.ClientFree(handle);
            return true;
        }
    }

    /// <summary>The C functions of oneaccess.h. Not declared with DllImport, since Mono cannot be
    /// told at run time in which file those are.</summary>
    internal sealed class Library
    {
        internal static readonly Lazy<Library> Loaded = new Lazy<Library>(() => new Library());

        private static readonly Encoding Utf8 = new UTF8Encoding(false, true);

        internal readonly NewObject Version;
        internal readonly ConfigNewFunction ConfigNew;
        internal readonly NewObject ConfigNewFromEnv;
        internal readonly SetTexts ConfigSet;
        internal readonly SetTexts ConfigAddHeader;
        internal readonly Free ConfigFree;
        internal readonly NewClient ClientNew;
        internal readonly GetToken ClientGetToken;
        internal readonly GetTokenWithin ClientGetTokenWithin;
        internal readonly ClientObject ClientGetCachedToken;
        internal readonly ClientNumber ClientRefreshInMs;
        internal readonly RejectToken ClientRejectToken;
        internal readonly SetSecret ClientSetClientSecret;
        internal readonly ClientStatistic ClientStat;
        internal readonly ClientObject ClientGetLastError;
        internal readonly ClientObject ClientGetLastStoreError;
        internal readonly CloseClient ClientClose;
        internal readonly Free ClientFree;
        internal readonly Pointer TokenAccessToken;
        internal readonly Pointer TokenAuthorization;
        internal readonly Pointer TokenTokenType;
        internal readonly Pointer TokenScope;
        internal readonly Pointer TokenIdToken;
        internal readonly Number64 TokenExpiresAt;
        internal readonly Free TokenFree;
        internal readonly Number32 ErrorKind;
        internal readonly Number32 ErrorHttpStatus;
        internal readonly Pointer ErrorVendorCode;
        internal readonly Pointer ErrorMessage;
        internal readonly Number32 ErrorIsRetryable;
        internal readonly Number32 ErrorIsRemembered;
        internal readonly Number64 ErrorOccurredAt;
        internal readonly Number64 ErrorRetryAfterMs;
        internal readonly Free ErrorFree;

        private readonly IntPtr handle;

        private Library()
        {
            handle = Open(Find());
            Bind("oneaccess_version", out Version);
            Bind("oneaccess_config_new", out ConfigNew);
            Bind("oneaccess_config_new_from_env", out ConfigNewFromEnv);
            Bind("oneaccess_config_set", out ConfigSet);
            Bind("oneaccess_config_add_header", out ConfigAddHeader);
            Bind("oneaccess_config_free", out ConfigFree);
            Bind("oneaccess_client_new", out ClientNew);
            Bind("oneaccess_client_get_token", out ClientGetToken);
            Bind("oneaccess_client_get_token_within", out ClientGetTokenWithin);
            Bind("oneaccess_client_get_cached_token", out ClientGetCachedToken);
            Bind("oneaccess_client_refresh_in_ms", out ClientRefreshInMs);
            Bind("oneaccess_client_reject_token", out ClientRejectToken);
            Bind("oneaccess_client_set_client_secret", out ClientSetClientSecret);
            Bind("oneaccess_client_stat", out ClientStat);
            Bind("oneaccess_client_get_last_error", out ClientGetLastError);
            Bind("oneaccess_client_get_last_store_error", out ClientGetLastStoreError);
            Bind("oneaccess_client_close", out ClientClose);
            Bind("oneaccess_client_free", out ClientFree);
            Bind("oneaccess_token_access_token", out TokenAccessToken);
            Bind("oneaccess_token_authorization", out TokenAuthorization);
            Bind("oneaccess_token_token_type", out TokenTokenType);
            Bind("oneaccess_token_scope", out TokenScope);
            Bind("oneaccess_token_id_token", out TokenIdToken);
            Bind("oneaccess_token_expires_at", out TokenExpiresAt);
            Bind("oneaccess_token_free", out TokenFree);
            Bind("oneaccess_error_kind", out ErrorKind);
            Bind("oneaccess_error_http_status", out ErrorHttpStatus);
            Bind("oneaccess_error_vendor_code", out ErrorVendorCode);
            Bind("oneaccess_error_message", out ErrorMessage);
            Bind("oneaccess_error_is_retryable", out ErrorIsRetryable);
            Bind("oneaccess_error_is_remembered", out ErrorIsRemembered);
            Bind("oneaccess_error_occurred_at", out ErrorOccurredAt);
            Bind("oneaccess_error_retry_after_ms", out ErrorRetryAfterMs);
            Bind("oneaccess_error_free", out ErrorFree);
        }

        [UnmanagedFunctionPointer(CallingConvention.Cdecl)]
        internal delegate IntPtr NewObject();

        [UnmanagedFunctionPointer(CallingConvention.Cdecl)]
        internal delegate IntPtr ConfigNewFunction(byte[] endpoint, byte[] id, byte[] secret);

        [UnmanagedFunctionPointer(CallingConvention.Cdecl)]
        internal delegate void SetTexts(IntPtr config, byte[] name, byte[] value);

        [UnmanagedFunctionPointer(CallingConvention.Cdecl)]
        internal delegate IntPtr NewClient(IntPtr config, out IntPtr client);

        [UnmanagedFunctionPointer(CallingConvention.Cdecl)]
        internal delegate IntPtr GetToken(ClientHandle client, out IntPtr token);

        [UnmanagedFunctionPointer(CallingConvention.Cdecl)]
        internal delegate IntPtr GetTokenWithin(
            ClientHandle client, long timeoutMs, out IntPtr token);

        [UnmanagedFunctionPointer(CallingConvention.Cdecl)]
        internal delegate IntPtr ClientObject(ClientHandle client);

        [UnmanagedFunctionPointer(CallingConvention.Cdecl)]
        internal delegate long ClientNumber(ClientHandle client);

        [UnmanagedFunctionPointer(CallingConvention.Cdecl)]
        internal delegate void RejectToken(ClientHandle client, byte[] accessToken);

        [UnmanagedFunctionPointer(CallingConvention.Cdecl)]
        internal delegate IntPtr SetSecret(ClientHandle client, byte[] clientSecret);

        [UnmanagedFunctionPointer(CallingConvention.Cdecl)]
        internal delegate long ClientStatistic(ClientHandle client, int stat);

        [UnmanagedFunctionPointer(CallingConvention.Cdecl)]
        internal delegate void CloseClient(ClientHandle client);

        [UnmanagedFunctionPointer(CallingConvention.Cdecl)]
        internal delegate void Free(IntPtr handle);

        [UnmanagedFunctionPointer(CallingConvention.Cdecl)]
        internal delegate IntPtr Pointer(IntPtr handle);

        [UnmanagedFunctionPointer(CallingConvention.Cdecl)]
        internal delegate int Number32(IntPtr handle);

        [UnmanagedFunctionPointer(CallingConvention.Cdecl)]
        internal delegate long Number64(IntPtr handle);

        /// <summary>A copy. The functions return pointers since the runtime would free a
        /// string.</summary>
        internal static string Text(IntPtr text) => Marshal.PtrToStringUTF8(text);

        /// <summary>UTF-8 with a NUL at its end.</summary>
        internal static byte[] Bytes(string name, string text)
        {
            if (text == null)
                return null;
            if (text.IndexOf('\0') >= 0)
                throw new ArgumentException($"{name} must not contain a NUL character", name);
            return Utf8.GetBytes(text + "\0");
        }

        private static string Find()
        {
            string path = Environment.GetEnvironmentVariable("ONEACCESS_LIBRARY");
            if (!string.IsNullOrEmpty(path))
                return path;
            string name = RuntimeInformation.IsOSPlatform(OSPlatform.Windows) ? "oneaccess.dll"
                : RuntimeInformation.IsOSPlatform(OSPlatform.OSX) ? "liboneaccess.0.dylib"
                : "liboneaccess.so.0";
            string packaged = Path.Combine(AppContext.BaseDirectory, name);
            return File.Exists(packaged) ? packaged : name;
        }

        private static Exception NotLoaded(string reason) => new DllNotFoundException(
            $"cannot load the oneaccess library: {reason}; install it, or set ONEACCESS_LIBRARY to "
                + "its path");

        private void Bind<T>(string name, out T function)
        {
            function = Marshal.GetDelegateForFunctionPointer<T>(Symbol(name));
        }

#if NETCOREAPP
        private static IntPtr Open(string path)
        {
            try
            {
                return NativeLibrary.Load(path);
            }
            catch (DllNotFoundException error)
            {
                throw NotLoaded(error.Message);
            }
        }

        private IntPtr Symbol(string name) => NativeLibrary.GetExport(handle, name);
#else
        private static IntPtr Open(string path)
        {
            IntPtr library = dlopen(path, 2); // RTLD_NOW
            return library != IntPtr.Zero ? library : throw NotLoaded(Text(dlerror()));
        }

        private IntPtr Symbol(string name)
        {
            IntPtr symbol = dlsym(handle, name);
            return symbol != IntPtr.Zero ? symbol : throw NotLoaded(Text(dlerror()));
        }

        // "Ansi" is UTF-8 in Mono. __Internal is the program itself, mono.
        [DllImport("__Internal", CharSet = CharSet.Ansi)]
        private static extern IntPtr dlopen(string path, int flags);

        [DllImport("__Internal", CharSet = CharSet.Ansi)]
        private static extern IntPtr dlsym(IntPtr library, string name);

        [DllImport("__Internal")]
        private static extern IntPtr dlerror();
#endif
    }
}
