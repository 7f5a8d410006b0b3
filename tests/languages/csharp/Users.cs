// Counts the users of a OneAccess tenant, in tasks.
using System;
using System.Linq;
using System.Net.Http;
using System.Text.RegularExpressions;
using System.Threading.Tasks;
using OneAccess;

static class Users
{
    static readonly HttpClient http = new HttpClient();

    // Calls a management API; replaces a token that it no longer accepts.
    static async Task<string> Get(Client client, string url, int attempts = 2)
    {
        Token token = await Task.Run(client.GetToken);
        var request = new HttpRequestMessage(HttpMethod.Get, url);
        request.Headers.Add("Authorization", token.Authorization);
        using (var answer = await http.SendAsync(request))
        {
            string body = await answer.Content.ReadAsStringAsync();
            if (answer.IsSuccessStatusCode)
                return body;
            int status = (int)answer.StatusCode;
            bool expired = status == 401 || status == 400 && body.Contains("invalid_token");
            if (!expired || attempts == 1)
                throw new HttpRequestException($"HTTP {status} from {url}");
        }
        client.Reject(token);
        return await Get(client, url, attempts - 1);
    }

    static async Task<int> Count(Client client)
    {
        string url = Environment.GetEnvironmentVariable("ONEACCESS_TENANT_USERS_URL");
        string body = await Get(client, url);
        return int.Parse(Regex.Match(body, "\"total\":(\\d+)").Groups[1].Value);
    }

    static void ShowError(string clientId)
    {
        string endpoint = Environment.GetEnvironmentVariable("ONEACCESS_ENDPOINT");
        string caFile = Environment.GetEnvironmentVariable("ONEACCESS_CA_FILE");
        try
        {
            using (var client = new Client(endpoint, clientId, "wrong", caFile))
                client.GetToken();
        }
        catch (TokenException why)
        {
            string code = $"HTTP {why.HttpStatus}, {why.VendorCode}";
            Console.WriteLine($"kind {why.Kind}, {code}: {why.Message}");
        }
    }

    static async Task InTasks(Client client)
    {
        var totals = await Task.WhenAll(Enumerable.Range(0, 8).Select(_ => Count(client)));
        Console.WriteLine("users: " + string.Join(" ", totals));
    }

    static void Main()
    {
        using (var client = new Client())
            InTasks(client).GetAwaiter().GetResult();
        ShowError(Environment.GetEnvironmentVariable("ONEACCESS_CLIENT_ID"));
        ShowError("disabled-application");
        Console.WriteLine("ok");
    }
}
