// An OpenID provider for the demo and the end-to-end tests: npm `oidc-provider`, which is certified
// by the OpenID Foundation, with clients, users and keys that live in memory. Never deploy this.
//
//   PORT=9000 CONTROL_PORT=9001 node provider.mjs
//
// A token, the kind of which `resource` chooses (`kinds` below; without it: opaque, no audience):
//
//   curl -u svc:svc-secret -d grant_type=client_credentials -d resource=urn:api:rs256 \
//        -d scope=api:read http://127.0.0.1:9000/token
//
// One parameter is not of this world: `ttl`, the seconds that the access token lives. A negative
// one makes a JWT that expired that many seconds ago, so that nobody has to wait for it.
//
// The control port is no part of the provider. It takes and gives JSON:
//
//   POST /rotate    {"mode": "publish" | "activate" | "retire" | "swap"}
//   POST /fault     {"path": "/jwks", "count": 1, "status": 503, "delay": 700, "reset": true,
//                    "headers": {"content-type": "text/html"}, "body": "…"}
//   POST /clear     forget all faults
//   GET  /counters  requests by "METHOD path"; POST gives them and starts again from nought
//   GET  /keys      the kids that sign and those that are published

import * as crypto from 'node:crypto';
import * as http from 'node:http';
import { createLocalJWKSet, jwtVerify } from 'jose';
import Provider from 'oidc-provider';

const HOST = process.env.HOST ?? '127.0.0.1';
const TTL = Number(process.env.TTL ?? 3600);

// ------------------------------------------------------------------------------------------ keys

const curve = (namedCurve) => ['ec', { namedCurve }];
const rsa = ['rsa', { modulusLength: 2048 }];
const ALGORITHMS = {
  RS256: rsa,
  PS256: rsa,
  ES256: curve('P-256'),
  ES384: curve('P-384'),
  ES512: curve('P-521'),
  EdDSA: ['ed25519'],
};

/**
 * A new private key as a JWK, by way of PEM: Node 20 may hang for ever where garbage is collected while a key that was just
 * made is exported.
 */
function privateJwk(type, options) {
  const publicKeyEncoding = { type: 'spki', format: 'pem' };
  const privateKeyEncoding = { type: 'pkcs8', format: 'pem' };
  const pair = crypto.generateKeyPairSync(type, { ...options, publicKeyEncoding, privateKeyEncoding });
  return crypto.createPrivateKey(pair.privateKey).export({ format: 'jwk' });
}

/** One generation: a private key for each algorithm, with a kid that tells both. */
function generation(number) {
  return Object.entries(ALGORITHMS).map(([alg, [type, options]]) => ({
    ...privateJwk(type, options),
    alg,
    use: 'sig',
    kid: `${alg.toLowerCase()}-${number}`,
  }));
}

let born = 0;
let generations = [generation(born++)]; // the first one signs, all are published

const rotations = {
  publish: () => generations.push(generation(born++)), // announced, not yet used
  activate: () => generations.unshift(generations.pop()), // the newest signs
  retire: () => generations.splice(1), // only the one that signs is left
  swap: () => generations.splice(0, Infinity, generation(born++)), // all at once: the rude way
};

// --------------------------------------------------------------------------------------- storage

/** Outlives the Provider objects, because a rotation makes a new one and tokens must survive it. */
const records = new Map();

class Memory {
  constructor(model) {
    this.model = model;
  }

  async upsert(id, payload, seconds) {
    // The scope that a client registers with is where it begins, not all that it may ever ask for.
    if (this.model === 'Client') delete payload.scope;
    const expires = seconds ? Date.now() + seconds * 1000 : Infinity;
    records.set(`${this.model}:${id}`, { payload, expires });
  }

  async find(id) {
    const record = records.get(`${this.model}:${id}`);
    return record && record.expires > Date.now() ? record.payload : undefined;
  }

  async findByUid(uid) {
    return this.#search((payload) => payload.uid === uid);
  }

  async findByUserCode(userCode) {
    return this.#search((payload) => payload.userCode === userCode);
  }

  async consume(id) {
    const record = records.get(`${this.model}:${id}`);
    if (record) record.payload.consumed = Math.floor(Date.now() / 1000);
  }

  async destroy(id) {
    records.delete(`${this.model}:${id}`);
  }

  async revokeByGrantId(grantId) {
    for (const [key, { payload }] of records) {
      if (payload.grantId === grantId) records.delete(key);
    }
  }

  #search(wanted) {
    for (const [key, { payload }] of records) {
      if (key.startsWith(`${this.model}:`) && wanted(payload)) return payload;
    }
    return undefined;
  }
}

// --------------------------------------------------------------------- users, clients, resources

const users = {
  alice: {
    name: 'Alice Ärlig',
    email: 'alice@example.test',
    email_verified: true,
    groups: ['admin', 'dev'],
    tenant: 't1',
  },
  bob: {
    name: 'Bob',
    email: 'bob@example.test',
    email_verified: false,
    groups: ['dev'],
    tenant: 't2',
  },
};

async function findAccount(ctx, sub) {
  const known = users[sub] ?? { email: `${sub}@example.test`, groups: [], tenant: 't0' };
  return { accountId: sub, claims: async () => ({ sub, ...known }) };
}

const TOKEN_EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange';
const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token';

const machine = {
  client_secret: 'svc-secret',
  grant_types: ['client_credentials'],
  response_types: [],
  redirect_uris: [],
};
const resourceServer = {
  client_secret: 'rs-secret',
  grant_types: [],
  response_types: [],
  redirect_uris: [],
};
const clients = [
  { client_id: 'svc', ...machine },
  { client_id: 'svc-dpop', ...machine, dpop_bound_access_tokens: true },
  { client_id: 'svc-mtls', ...machine, tls_client_certificate_bound_access_tokens: true },
  {
    client_id: 'web',
    client_secret: 'web-secret',
    grant_types: ['authorization_code'],
    response_types: ['code'],
    redirect_uris: ['http://127.0.0.1:9999/callback'],
  },
  {
    client_id: 'edge',
    client_secret: 'edge-secret',
    grant_types: [TOKEN_EXCHANGE],
    response_types: [],
    redirect_uris: [],
  },
  { client_id: 'rs', ...resourceServer },
  {
    client_id: 'rs-post',
    ...resourceServer,
    token_endpoint_auth_method: 'client_secret_post',
  },
  // Reserved characters: RFC 6749 section 2.3.1 form-encodes both before they go into Basic.
  { client_id: 'rs:odd/id', ...resourceServer, client_secret: 'p%ss:w+rd &=' },
  { client_id: 'rs-jwt', ...resourceServer, introspection_signed_response_alg: 'RS256' },
];

const algorithm = (kind) => Object.keys(ALGORITHMS).find((alg) => alg.toLowerCase() === kind);

/** Other vendors' habits, each an RS256 JWT that differs in one thing. */
const habits = {
  audlist: (jwt) => { jwt.payload.aud = [jwt.payload.aud, 'urn:other']; },
  nokid: (jwt) => { jwt.header = { kid: undefined }; },
  notyp: (jwt) => { jwt.header = { typ: 'JWT' }; },
  scp: (jwt) => {
    jwt.payload.scp = (jwt.payload.scope ?? '').split(' ');
    delete jwt.payload.scope;
  },
  long: (jwt) => { jwt.payload.groups = Array.from({ length: 400 }, (_, i) => `group-${i}`); },
};

const requestedTtl = (ctx) => Number(ctx.oidc?.body?.ttl ?? TTL);
const lifetime = (ctx) => Math.max(1, requestedTtl(ctx));

/** An MCP server on this machine, at whatever port. */
const MCP_SERVER = /^http:\/\/127\.0\.0\.1:\d+\/mcp$/;

function resourceServerInfo(ctx, audience) {
  if (MCP_SERVER.test(audience)) {
    return {
      audience,
      scope: 'mcp files:write',
      accessTokenTTL: lifetime(ctx),
      accessTokenFormat: 'jwt',
      jwt: { sign: { alg: 'ES256' } },
    };
  }
  const kind = audience.replace(/^urn:api:/, '');
  const alg = algorithm(kind) ?? (habits[kind] && 'RS256');
  if (!alg && kind !== 'opaque') {
    const error_description = `no such resource: urn:api:{${kinds.join(',')}}`;
    throw Object.assign(new Error('invalid_target'), {
      expose: true, statusCode: 400, error: 'invalid_target', error_description,
    });
  }
  return {
    audience,
    scope: 'api:read api:write',
    accessTokenTTL: lifetime(ctx),
    accessTokenFormat: alg ? 'jwt' : 'opaque',
    jwt: alg && { sign: { alg } },
  };
}

const kinds = [
  ...Object.keys(ALGORITHMS).map((alg) => alg.toLowerCase()), ...Object.keys(habits), 'opaque',
];

function customizeJwt(ctx, token, jwt) {
  habits[jwt.payload.aud.replace(/^urn:api:/, '')]?.(jwt);
  const ttl = requestedTtl(ctx);
  if (ttl < 0) {
    jwt.payload.exp = Math.floor(Date.now() / 1000) + ttl;
    jwt.payload.iat = jwt.payload.exp - TTL;
  }
}

// ------------------------------------------------------------------------------ token exchange

/**
 * RFC 8693: an opaque token of this provider, or a JWT that it has signed, for another resource. What it issues names the client
 * that has asked for it in `act`.
 */
async function exchange(provider, ctx) {
  const { params, client } = ctx.oidc;
  const invalid = (error, error_description) => {
    throw Object.assign(new Error(error), { expose: true, statusCode: 400, error, error_description });
  };
  if (params.subject_token_type !== ACCESS_TOKEN) invalid('invalid_request', 'subject_token_type');
  const subject = await subjectOf(provider, params.subject_token);
  if (!subject) invalid('invalid_grant', 'the subject token is not active');
  const target = params.resource ?? params.audience;
  const info = await resourceServerInfo(ctx, Array.isArray(target) ? target[0] : target);
  const token = new provider.ClientCredentials({ client, scope: params.scope, extra: { subject, act: { client_id: client.clientId } } });
  token.resourceServer = new provider.ResourceServer(info.audience, info);
  const access_token = await token.save();
  ctx.body = {
    access_token, expires_in: token.expiration, issued_token_type: ACCESS_TOKEN, scope: token.scope, token_type: token.tokenType,
  };
}

/** Whose a token is; undefined for none of this provider's, or one that has ended. */
async function subjectOf(provider, token) {
  for (const kind of [provider.AccessToken, provider.ClientCredentials]) {
    const found = await kind.find(token);
    if (found) return found.accountId ?? found.clientId;
  }
  try {
    const keys = createLocalJWKSet({ keys: generations.flat().map(({ d, p, q, dp, dq, qi, ...key }) => key) });
    return (await jwtVerify(token, keys, { issuer: provider.issuer })).payload.sub;
  } catch {
    return undefined;
  }
}

// ---------------------------------------------------------------------------------- the provider

const nonceSecret = crypto.randomBytes(32);
const cookieKey = crypto.randomBytes(16).toString('hex');

function makeHandler(issuer) {
  const provider = new Provider(issuer, {
    adapter: Memory,
    clients,
    jwks: { keys: generations.flat() },
    cookies: { keys: [cookieKey] },
    findAccount,
    scopes: ['openid', 'api:read', 'api:write', 'mcp', 'files:write'],
    claims: {
      openid: ['sub'],
      profile: ['name'],
      email: ['email', 'email_verified'],
      groups: ['groups', 'tenant'],
    },
    extraTokenClaims: async (ctx, { accountId, extra }) => extra ?? (
      { tenant: users[accountId]?.tenant ?? 'machines', groups: users[accountId]?.groups }
    ),
    ttl: {
      AccessToken: lifetime,
      ClientCredentials: lifetime,
      AuthorizationCode: 60,
      Grant: 86400,
      IdToken: 3600,
      Interaction: 3600,
      Session: 86400,
    },
    pkce: { required: () => true },
    clientAuthMethods: ['client_secret_basic', 'client_secret_post', 'none'],
    enabledJWA: { introspectionSigningAlgValues: Object.keys(ALGORITHMS) },
    formats: { customizers: { jwt: customizeJwt } },
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: true }, // login pages that take any name and any password
      // Who binds tokens to keys gets nonces from here, too (RFC 9449, section 8).
      dPoP: { enabled: true, nonceSecret, requireNonce: () => true },
      mTLS: {
        enabled: true,
        certificateBoundAccessTokens: true,
        // As a proxy that ends TLS would tell it: this provider speaks plain HTTP.
        getCertificate: (ctx) => {
          const certificate = ctx.get('x-client-certificate');
          return certificate && new crypto.X509Certificate(Buffer.from(certificate, 'base64'));
        },
      },
      introspection: {
        enabled: true,
        allowedPolicy: (ctx, client) => client.clientId.startsWith('rs'),
      },
      jwtIntrospection: { enabled: true },
      registration: { enabled: true }, // clients of MCP register themselves
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: resourceServerInfo,
        useGrantedResource: () => true,
      },
      revocation: { enabled: true },
    },
  });
  provider.registerGrantType(TOKEN_EXCHANGE, (ctx) => exchange(provider, ctx), [
    'audience', 'resource', 'scope', 'requested_token_type', 'subject_token', 'subject_token_type',
    'actor_token', 'actor_token_type',
  ], ['audience', 'resource', 'scope']);
  provider.on('server_error', (ctx, error) => console.error('server_error', ctx.path, error));
  return provider.callback();
}

let handler;
let faults = [];
let counters = {};

const front = http.createServer(async (request, response) => {
  const path = request.url.split('?')[0];
  const key = `${request.method} ${path}`;
  counters[key] = (counters[key] ?? 0) + 1;
  const fault = faults.find((candidate) => candidate.path === path && candidate.count > 0);
  if (fault) {
    fault.count -= 1;
    if (fault.delay) await new Promise((resolve) => { setTimeout(resolve, fault.delay); });
    if (fault.reset) return request.socket.resetAndDestroy();
    if (fault.status) {
      response.writeHead(fault.status, { 'content-type': 'application/json', ...fault.headers });
      return response.end(fault.body ?? '');
    }
    response.setHeaders(new Map(Object.entries(fault.headers ?? {})));
  }
  return handler(request, response);
});

// ----------------------------------------------------------------------------------- the control

const kids = () => ({
  signing: generations[0].map((key) => key.kid),
  published: generations.flat().map((key) => key.kid),
});

const controls = {
  'POST /rotate': ({ mode = 'swap' }) => {
    rotations[mode]();
    handler = makeHandler(issuer);
    return kids();
  },
  'POST /fault': ({ path, count = 1, ...fault }) => faults.push({ path, count, ...fault }),
  'POST /clear': () => { faults = []; return faults; },
  'GET /counters': () => counters,
  'POST /counters': () => { const seen = counters; counters = {}; return seen; },
  'GET /keys': kids,
};

const control = http.createServer(async (request, response) => {
  let body = '';
  for await (const chunk of request) body += chunk;
  let status = 200;
  let answer;
  try {
    answer = controls[`${request.method} ${request.url}`](body ? JSON.parse(body) : {});
  } catch (error) {
    [status, answer] = [400, { error: String(error), controls: Object.keys(controls) }];
  }
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(`${JSON.stringify(answer)}\n`);
});

// -------------------------------------------------------------------------------------- start-up

const listen = (server, port, host) => new Promise((resolve, reject) => {
  server.once('error', reject);
  server.listen(port, host, () => resolve(server.address().port));
});

for (const signal of ['SIGTERM', 'SIGINT']) process.on(signal, () => process.exit(0));

// Port 0 asks the system for a free one, so the issuer is known only after the socket is.
const port = await listen(front, Number(process.env.PORT ?? 9000), HOST);
const controlPort = await listen(control, Number(process.env.CONTROL_PORT ?? 9001), '127.0.0.1');
const issuer = process.env.ISSUER ?? `http://127.0.0.1:${port}`;
handler = makeHandler(issuer);
// Whoever started us waits for this line.
console.log(`ready ${JSON.stringify({ issuer, port, control: controlPort })}`);
