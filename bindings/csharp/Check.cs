// Checks the wrapper. Prints one line per check: those that tests/bindings.rs expects.
using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Threading;
using System.Threading.Tasks;
using OneAccess;
using Settings = System.Collections.Generic.Dictionary<string, object>;

static class CheckProgram
{
    static readonly string Endpoint = Environment.GetEnvironmentVariable("ONEACCESS_ENDPOINT");
    static readonly string Id = Environment.GetEnvironmentVariable("ONEACCESS_CLIENT_ID");
    static readonly string Secret = Environment.GetEnvironmentVariable("ONEACCESS_CLIENT_SECRET");
    static readonly string CaFile = Environment.GetEnvironmentVariable("ONEACCESS_CA_FILE");

    static void Check(string name, bool passed)
    {
        Console.WriteLine((passed ? "ok " : "FAILED ") + name);
    }

    static T Caught<T>(Action call)
        where T : Exception
    {
        try
        {
            call();
            return null;
        }
        catch (T error)
        {
            return error;
        }
    }

    static OneAccessException Failure(Action call) => Caught<OneAccessException>(call);

    static OneAccessException CreateFailure(
        string endpoint, string id, string secret, Settings settings = null)
    {
        return Failure(() => new Client(endpoint, id, secret, settings));
    }

    static Client Create(string id, string secret)
    {
        return new Client(Endpoint, id, secret, new Settings { ["ca_file"] = CaFile });
    }

    static bool Refused(string name, object value)
    {
        var settings = new Settings { [name] = value };
        var error = Caught<ArgumentException>(() => new Client(Endpoint, Id, Secret, settings));
        return error != null && error.Message.Contains(name);
    }

    static void Main()
    {
        Check("version", Client.Version == "0.1.0");

        // The environment has everything, but must not complete explicit credentials.
        Check("no endpoint", CreateFailure(null, Id, Secret).Kind == ErrorKind.Argument);
        Check("no secret", CreateFailure(Endpoint, Id, null).Kind == ErrorKind.Argument);
        var error = CreateFailure(Endpoint, Id, Secret, new Settings { ["timeout"] = 5 });
        bool named = error.Message.Contains("timeout_ms");
        Check("unknown setting", error.Kind == ErrorKind.Config && named);
        error = CreateFailure(Endpoint, Id, Secret, new Settings { ["timeout_ms"] = 0 });
        Check("bad value", error.Kind == ErrorKind.Config && Refused("timeout_ms", 0.5));
        Check("NUL character", Refused("ca_file", "a\0b"));
        var headers = new Dictionary<string, string> { ["X"] = "1\r\nY: 2" };
        error = CreateFailure(Endpoint, Id, Secret, new Settings { ["headers"] = headers });
        Check("headers", error.Kind == ErrorKind.Argument && Refused("proxy", headers));
        var settings = new Settings
        {
            ["ca_file"] = new FileInfo(CaFile),
            ["timeout_ms"] = 20000,
            ["system_roots"] = false,
            ["client_key_file"] = null,
            ["headers"] = new Dictionary<string, string> { ["X-Test"] = "bindings" },
        };
        Client client = new Client(Endpoint, Id, Secret, settings);

        bool nothing = client.GetCachedToken() == null && client.GetRefreshIn() == TimeSpan.Zero;
        error = Failure(() => client.GetToken(TimeSpan.Zero));
        Check("no token yet", nothing && error.Kind == ErrorKind.Timeout);
        Token token = client.GetToken();
        bool words = token.TokenType == "Bearer" && token.Scope == "all";
        bool parts = token.GetIdToken().Split('.').Length == 3;
        bool authorization = token.GetAuthorization() == "Bearer " + token.GetAccessToken();
        double life = (token.ExpiresAt - DateTimeOffset.UtcNow).TotalSeconds;
        Check("token", words && parts && authorization && 0 < life && life <= 1801);
        string cached = client.GetCachedToken().GetAccessToken();
        bool same = cached == token.GetAccessToken();
        Check("cached token", same && client.GetToken(TimeSpan.Zero).GetAccessToken() == cached);
        double refreshIn = client.GetRefreshIn().Value.TotalSeconds;
        Check("refresh in", 0 < refreshIn && refreshIn < 1800);
        client.Reject(token);
        string second = client.GetToken().GetAccessToken();
        Check("rejected token", second != token.GetAccessToken());
        client.Reject(second); // too early after the first rejection: ignored
        Check("rejected again", client.GetToken().GetAccessToken() == second);
        var numbers = client.GetStatistics().ToDictionary(pair => pair.Key, pair => pair.Value);
        bool times = numbers["token_age_ms"] >= 0 && numbers["token_remaining_ms"] > 0;
        numbers.Remove("token_age_ms");
        numbers.Remove("token_remaining_ms");
        string shown = string.Join(" ", numbers.Select(pair => pair.Key + "=" + pair.Value));
        string expected = "refreshes=2 attempts=2 failures=0 waits=0 rejections=1 denials=0"
            + " store_hits=0 store_failures=0";
        Check("statistics", times && shown == expected);
        var tokens = new string[8];
        var threads = Enumerable.Range(0, 8)
            .Select(i => new Thread(() => tokens[i] = client.GetToken().GetAccessToken()))
            .ToList();
        threads.ForEach(thread => thread.Start());
        threads.ForEach(thread => thread.Join());
        Check("threads", tokens.All(text => text == second));

        using (Client other = Create(Id, Secret))
        {
            var cancel = new CancellationTokenSource();
            Task cancelled = other.GetTokenAsync(cancel.Token);
            cancel.Cancel(); // ends this wait only
            var tasks = Enumerable.Range(0, 100).Select(_ => other.GetTokenAsync()).ToArray();
            var texts = Task.WhenAll(tasks).Result.Select(got => got.GetAccessToken());
            bool once = other.GetStatistics()["attempts"] == 1 && texts.Distinct().Count() == 1;
            Check("asynchronous", once && cancelled.IsCanceled);
        }

        using (Client wrong = Create(Id, "wrong"))
        {
            error = Failure(() => wrong.GetToken());
            bool denied = error.Kind == ErrorKind.Denied && error.HttpStatus == 401;
            bool code = error.VendorCode == "invalid_client";
            double age = (DateTimeOffset.UtcNow - error.OccurredAt).TotalSeconds;
            bool now = 0 <= age && age < 60 && !error.IsRetryable && !error.IsRemembered;
            Check("denied", denied && code && now);
            error = Failure(() => wrong.GetToken());
            double wait = error.RetryAfter.TotalSeconds;
            Check("remembered", error.IsRemembered && 0 < wait && wait < 3600);
            Check("last error", wrong.GetLastError().Kind == ErrorKind.Denied);
            error = Failure(() => wrong.SetClientSecret(""));
            Check("empty secret", error.Kind == ErrorKind.Argument);
            wrong.SetClientSecret(Secret);
            bool bearer = wrong.GetToken().TokenType == "Bearer";
            Check("new secret", bearer && wrong.GetLastError() == null);
        }
        using (Client disabled = Create("disabled-id", Secret))
            error = Failure(() => disabled.GetToken());
        bool chinese = error.Message.Contains("应用已禁用");
        Check("vendor code", error.VendorCode == "APP.0003" && chinese);

        CheckStore();
        shown = $"{client} {token} {error} " + string.Join(" ", Properties(token));
        var secrets = new[] { Secret, token.GetAccessToken(), token.GetIdToken() };
        Check("secrets hidden", !secrets.Any(shown.Contains));

        client.Close();
        client.Close();
        bool closed = client.GetCachedToken() == null && client.GetRefreshIn() == null;
        closed = closed && Failure(() => client.GetToken()).Kind == ErrorKind.Closed;
        client.Dispose();
        client.Dispose();
        bool disposed = Caught<ObjectDisposedException>(() => client.GetToken()) != null;
        Check("closed", closed && disposed);
        headers = new Dictionary<string, string> { ["X-Test"] = "settings" };
        settings = new Settings { ["timeout_ms"] = 20000, ["headers"] = headers };
        using (Client fromEnv = Client.FromEnvironment(settings))
            Check("from the environment", fromEnv.GetToken().TokenType == "Bearer");
    }

    static void CheckStore()
    {
        string folder = Path.Combine(Path.GetTempPath(), Path.GetRandomFileName());
        Directory.CreateDirectory(folder);
        Func<string, Client> with = path => new Client(
            Endpoint, Id, Secret, new Settings { ["ca_file"] = CaFile, ["store"] = "file:" + path });
        bool passed;
        using (Client first = with(folder + "/store"), second = with(folder + "/store"))
        {
            string text = first.GetToken().GetAccessToken();
            passed = second.GetToken().GetAccessToken() == text;
            var numbers = second.GetStatistics();
            passed = passed && numbers["store_hits"] == 1 && numbers["attempts"] == 0;
            passed = passed && second.GetLastStoreError() == null;
        }
        Directory.Delete(folder, true);
        using (Client without = with("/nonexistent/folder"))
        {
            passed = passed && without.GetToken().TokenType == "Bearer";
            var numbers = without.GetStatistics();
            passed = passed && numbers["store_hits"] == 0 && numbers["attempts"] == 1;
            passed = passed && numbers["store_failures"] >= 1;
            bool config = without.GetLastStoreError().Kind == ErrorKind.Config;
            Check("shared store", passed && config);
        }
    }

    // What a serializer would write.
    static IEnumerable<object> Properties(object value)
    {
        return value.GetType().GetProperties().Select(property => property.GetValue(value));
    }
}
