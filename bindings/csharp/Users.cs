// Prints the names of the users of a OneAccess tenant.
using System;
using System.Net.Http;
using System.Text.RegularExpressions;
using System.Threading.Tasks;
using OneAccess;

static class Users
{
    static readonly HttpClient Http = new HttpClient();

    // Calls a management API. If it rejects the token, tries once more with a new one.
    static async Task<string> Call(Client client, string url, int attempts = 2)
    {
        Token token = await client.GetTokenAsync();
        var request = new HttpRequestMessage(HttpMethod.Get, url);
        request.Headers.Add("Authorization", token.GetAuthorization());
        using (HttpResponseMessage response = await Http.SendAsync(request))
        {
            string body = await response.Content.ReadAsStringAsync();
            int status = (int)response.StatusCode;
            bool rejected = status == 401 || status == 400 && body.Contains("invalid_token");
            if (!rejected || attempts == 1)
            {
                response.EnsureSuccessStatusCode();
                return body;
            }
        }
        client.Reject(token);
        return await Call(client, url, attempts - 1);
    }

    static void Main()
    {
        string endpoint = Environment.GetEnvironmentVariable("ONEACCESS_ENDPOINT");
        using (Client client = Client.FromEnvironment())
        {
            string url = endpoint + "/api/v2/tenant/users";
            string users = Call(client, url).GetAwaiter().GetResult();
            foreach (Match match in Regex.Matches(users, "\"user_name\": *\"(.*?)\""))
                Console.WriteLine(match.Groups[1]);
        }
    }
}
