// Access tokens of Huawei Cloud OneAccess, kept fresh by liboneaccess.
using System;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace OneAccess
{
    // Why there is no token.
    public sealed class TokenException : Exception
    {
        public const int Denied = 7; // a kind; all of them are in oneaccess.h

        public int Kind { get; }
        public int HttpStatus { get; }
        public string VendorCode { get; }
        public bool IsRetryable { get; }

        private TokenException(IntPtr error)
            : base(Library.Text(Library.oneaccess_error_message(error)))
        {
            Kind = Library.oneaccess_error_kind(error);
            HttpStatus = Library.oneaccess_error_http_status(error);
            VendorCode = Library.Text(Library.oneaccess_error_vendor_code(error));
            IsRetryable = Library.oneaccess_error_is_retryable(error) != 0;
            Library.oneaccess_error_free(error);
        }

        internal static void Check(IntPtr error)
        {
            if (error != IntPtr.Zero)
                throw new TokenException(error);
        }
    }

    // A copy: there is nothing to free.
    public sealed class Token
    {
        public string AccessToken { get; }
        public string Authorization { get; } // "Bearer ...", ready for the header
        public DateTimeOffset ExpiresAt { get; } // to show, not to decide

        internal Token(IntPtr token)
        {
            AccessToken = Library.Text(Library.oneaccess_token_access_token(token));
            Authorization = Library.Text(Library.oneaccess_token_authorization(token));
            long expiresAt = Library.oneaccess_token_expires_at(token);
            ExpiresAt = DateTimeOffset.FromUnixTimeSeconds(expiresAt);
            Library.oneaccess_token_free(token);
        }
    }

    // Share one among all threads.
    public sealed class Client : IDisposable
    {
        private readonly ClientHandle handle;

        // From ONEACCESS_ENDPOINT and so on.
        public Client() : this(Library.oneaccess_config_new_from_env(), null) { }

        // The CA file may be null: it is for a private CA.
        public Client(string endpoint, string clientId, string clientSecret, string caFile)
            : this(Library.oneaccess_config_new(endpoint, clientId, clientSecret), caFile) { }

        private Client(IntPtr config, string caFile)
        {
            try
            {
                if (caFile != null)
                    Library.oneaccess_config_set(config, "ca_file", caFile);
                TokenException.Check(Library.oneaccess_client_new(config, out handle));
            }
            finally
            {
                Library.oneaccess_config_free(config);
            }
        }

        // Call it before every use. Blocks about once in a token's life.
        public Token GetToken()
        {
            TokenException.Check(Library.oneaccess_client_get_token(handle, out var token));
            return new Token(token);
        }

        // A management API did not accept this token.
        public void Reject(Token token)
        {
            Library.oneaccess_client_reject_token(handle, token.AccessToken);
        }

        // Ends all calls; the client is freed after the last one.
        public void Dispose()
        {
            if (!handle.IsClosed)
                Library.oneaccess_client_close(handle);
            handle.Dispose();
        }
    }

    // The runtime counts the calls that use it and frees it, once, after the last one.
    internal sealed class ClientHandle : SafeHandleZeroOrMinusOneIsInvalid
    {
        private ClientHandle() : base(true) { }

        protected override bool ReleaseHandle()
        {
            Library.oneaccess_client_free(handle);
            return true;
        }
    }

    internal static class Library
    {
        private const string Name = "liboneaccess.so.0";
        private const UnmanagedType Utf8 = UnmanagedType.LPUTF8Str;

        // A copy. Functions return IntPtr since the runtime would free a string. ("Ansi" is UTF-8
        // on Linux.)
        internal static string Text(IntPtr text) => Marshal.PtrToStringAnsi(text);

        [DllImport(Name)] internal static extern IntPtr oneaccess_config_new(
            [MarshalAs(Utf8)] string endpoint, [MarshalAs(Utf8)] string clientId,
            [MarshalAs(Utf8)] string clientSecret);
        [DllImport(Name)] internal static extern IntPtr oneaccess_config_new_from_env();
        [DllImport(Name)] internal static extern void oneaccess_config_set(
            IntPtr config, [MarshalAs(Utf8)] string name, [MarshalAs(Utf8)] string value);
        [DllImport(Name)] internal static extern void oneaccess_config_free(IntPtr config);
        [DllImport(Name)] internal static extern IntPtr oneaccess_client_new(
            IntPtr config, out ClientHandle client);
        [DllImport(Name)] internal static extern IntPtr oneaccess_client_get_token(
            ClientHandle client, out IntPtr token);
        [DllImport(Name)] internal static extern void oneaccess_client_reject_token(
            ClientHandle client, [MarshalAs(Utf8)] string token);
        [DllImport(Name)] internal static extern void oneaccess_client_close(ClientHandle client);
        [DllImport(Name)] internal static extern void oneaccess_client_free(IntPtr client);
        [DllImport(Name)] internal static extern IntPtr oneaccess_token_access_token(IntPtr token);
        [DllImport(Name)] internal static extern IntPtr oneaccess_token_authorization(IntPtr token);
        [DllImport(Name)] internal static extern long oneaccess_token_expires_at(IntPtr token);
        [DllImport(Name)] internal static extern void oneaccess_token_free(IntPtr token);
        [DllImport(Name)] internal static extern int oneaccess_error_kind(IntPtr error);
        [DllImport(Name)] internal static extern int oneaccess_error_http_status(IntPtr error);
        [DllImport(Name)] internal static extern IntPtr oneaccess_error_vendor_code(IntPtr error);
        [DllImport(Name)] internal static extern IntPtr oneaccess_error_message(IntPtr error);
        [DllImport(Name)] internal static extern int oneaccess_error_is_retryable(IntPtr error);
        [DllImport(Name)] internal static extern void oneaccess_error_free(IntPtr error);
    }
}
