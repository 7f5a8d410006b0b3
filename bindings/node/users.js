// Prints the names of the users of a OneAccess tenant.
'use strict';

const { Client } = require('oneaccess');

const USERS = `${process.env.ONEACCESS_ENDPOINT}/api/v2/tenant/users`;

// Calls a management API. If it rejects the token, tries once more with a new one.
async function call(client, url, attempts = 2) {
  const token = await client.getToken();
  const response = await fetch(url, { headers: { Authorization: token.authorization } });
  const body = await response.text();
  if (response.ok) return JSON.parse(body);
  const rejected =
    response.status === 401 || (response.status === 400 && body.includes('invalid_token'));
  if (!rejected || attempts === 1) throw new Error(`HTTP ${response.status} from ${url}`);
  client.reject(token);
  return call(client, url, attempts - 1);
}

async function main() {
  const client = Client.fromEnv();
  const { users } = await call(client, USERS);
  for (const user of users) console.log(user.user_name);
  client.close();
}

main();
