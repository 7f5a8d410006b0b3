// Counts the users of a OneAccess tenant, many times at once.
'use strict';

const { Client, OneAccessError } = require('./oneaccess');

const { ONEACCESS_ENDPOINT, ONEACCESS_CLIENT_ID, ONEACCESS_CA_FILE, ONEACCESS_TENANT_USERS_URL } =
  process.env;

// Calls a management API; replaces a token that it no longer accepts.
async function get(client, url, attempts = 2) {
  const token = await client.getToken();
  const answer = await fetch(url, { headers: { Authorization: token.authorization } });
  const body = await answer.text();
  if (answer.ok) return JSON.parse(body);
  const expired = answer.status === 401 || (answer.status === 400 && body.includes('invalid_token'));
  if (!expired || attempts === 1) throw new Error(`HTTP ${answer.status} from ${url}`);
  client.reject(token);
  return get(client, url, attempts - 1);
}

async function countUsers(client) {
  return (await get(client, ONEACCESS_TENANT_USERS_URL)).total;
}

async function showError(clientId) {
  const client = new Client({
    endpoint: ONEACCESS_ENDPOINT,
    clientId,
    clientSecret: 'wrong',
    caFile: ONEACCESS_CA_FILE,
  });
  try {
    await client.getToken();
  } catch (error) {
    if (!(error instanceof OneAccessError)) throw error;
    console.log(`kind ${error.kind}, HTTP ${error.httpStatus}, ${error.vendorCode}: ${error.message}`);
  } finally {
    await client.close();
  }
}

async function main() {
  const client = new Client();
  try {
    console.log('users:', ...(await Promise.all(Array.from({ length: 8 }, () => countUsers(client)))));
  } finally {
    await client.close();
  }
  await showError(ONEACCESS_CLIENT_ID);
  await showError('disabled-application');
  console.log('ok');
}

main();
