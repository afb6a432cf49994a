// A certified OpenID provider for the tests, and a client of it.
//
//   node provider.mjs serve PORT NAME…         serves; the client NAME-ALG gets tokens that are signed with ALG, and
//                                              NAME-ALG-brief gets those that expire after a second
//   node provider.mjs token URL CLIENT RESOURCE  prints a token of the client for the resource
//   node provider.mjs rotate URL               replaces all keys
import { generateKeyPairSync } from 'node:crypto';
import { createServer } from 'node:http';

const SECRET = 'secret-of-a-test';
const KEYS = {
  RS256: () => generateKeyPairSync('rsa', { modulusLength: 2048 }),
  ES256: () => generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  EdDSA: () => generateKeyPairSync('ed25519'),
};

const newKey = (alg, generation) => ({
  ...KEYS[alg]().privateKey.export({ format: 'jwk' }),
  kid: `${alg}-${generation}`,
  use: 'sig',
  alg,
});

async function provider(url, names, generation) {
  const { Provider } = await import('oidc-provider');
  return new Provider(url, {
    jwks: { keys: Object.keys(KEYS).map((alg) => newKey(alg, generation)) },
    clients: names.flatMap((name) => Object.keys(KEYS).flatMap((alg) => [`${name}-${alg}`, `${name}-${alg}-brief`])).map((id) => ({
      client_id: id,
      client_secret: SECRET,
      grant_types: ['client_credentials'],
      response_types: [],
      redirect_uris: [],
    })),
    ttl: { ClientCredentials: (_, __, client) => (client.clientId.endsWith('-brief') ? 1 : 600) },
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: (_, resource, client) => ({
          scope: '',
          audience: resource,
          accessTokenFormat: 'jwt',
          jwt: { sign: { alg: client.clientId.split('-')[1] } },
        }),
      },
    },
  });
}

async function serve(port, ...names) {
  const url = `http://127.0.0.1:${port}`;
  let generation = 1;
  let handle = (await provider(url, names, generation)).callback();
  const server = createServer(async (request, response) => {
    if (request.url !== '/rotate') return handle(request, response);
    generation += 1;
    handle = (await provider(url, names, generation)).callback();
    return response.end();
  });
  server.listen(port, '127.0.0.1');
}

async function post(url, options) {
  const response = await fetch(url, { method: 'POST', ...options });
  const body = await response.text();
  if (!response.ok) throw new Error(`${url}: ${response.status} ${body}`);
  return body;
}

async function token(url, client, resource) {
  const discovery = await (await fetch(`${url}/.well-known/openid-configuration`)).json();
  const authorization = `Basic ${Buffer.from(`${client}:${SECRET}`).toString('base64')}`;
  const body = new URLSearchParams({ grant_type: 'client_credentials', resource });
  return JSON.parse(await post(discovery.token_endpoint, { headers: { authorization }, body })).access_token;
}

const [command, ...operands] = process.argv.slice(2);
if (command === 'serve') await serve(...operands);
else if (command === 'token') console.log(await token(...operands));
else if (command === 'rotate') await post(`${operands[0]}/rotate`);
else throw new Error('usage: provider.mjs serve PORT NAME… | token URL CLIENT RESOURCE | rotate URL');
