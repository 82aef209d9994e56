// Clients that make DPoP proofs (RFC 9449), for tests/envoy/test_dpop.py and the demo: npm `oauth4webapi` and `dpop`.
//
//   node dpop-peer.mjs flow ISSUER ENVOY URL RESOURCE   gets a bound token, with whatever nonces the provider wants, and calls
//                                                       URL by way of ENVOY, with whatever nonces it wants; prints what it saw
//   node dpop-peer.mjs proof ALG HTM HTU [TOKEN]        prints {"jwk", "proof"} of a new key; TOKEN is that of `ath`
//   node dpop-peer.mjs judge ISSUER URL AUDIENCE        reads {"token", "keys", "proofs"}, and prints for each of the proofs of a GET of
//                                                       URL why it is none, or null
//   node dpop-peer.mjs owner ISSUER ORIGIN PATH RESOURCE  prints the headers with which the owner of a new token calls PATH

import { readFileSync } from 'node:fs';

import { generateKeyPair, generateProof } from 'dpop';
import * as oauth from 'oauth4webapi';

const [, , role, ...rest] = process.argv;
const insecure = { [oauth.allowInsecureRequests]: true };

/** Tries again with the nonce of a refusal, as the library remembers it. */
async function withNonces(ask, note = () => {}) {
  for (let tries = 0; ; tries += 1) {
    try {
      return await ask();
    } catch (error) {
      if (tries > 0 || !oauth.isDPoPNonceError(error)) throw error;
      note();
    }
  }
}

async function boundToken(issuer, resource, DPoP, client) {
  const url = new URL(issuer);
  const found = await oauth.discoveryRequest(url, insecure);
  const server = await oauth.processDiscoveryResponse(url, found);
  const secret = oauth.ClientSecretBasic('svc-secret');
  const wanted = { resource, scope: 'api:read' };
  return withNonces(async () => {
    const response = await oauth.clientCredentialsGrantRequest(
      server, client, secret, wanted, { DPoP, ...insecure },
    );
    return oauth.processClientCredentialsResponse(server, client, response);
  });
}

async function flow([issuer, envoy, target, resource]) {
  const client = { client_id: 'svc-dpop' };
  const DPoP = oauth.DPoP(client, await oauth.generateKeyPair('ES256'));
  const token = await boundToken(issuer, resource, DPoP, client);
  // The URL is that of the service, as its clients know it; behind it is the Envoy under test.
  const customFetch = (url, init) => {
    const { pathname, search } = new URL(url);
    return fetch(new URL(pathname + search, envoy), init);
  };
  const options = { DPoP, [oauth.customFetch]: customFetch };
  const seen = [];
  for (let call = 0; call < 3; call += 1) {
    const ask = () => oauth.protectedResourceRequest(
      token.access_token, 'GET', new URL(target), undefined, undefined, options,
    );
    const response = await withNonces(ask, () => seen.push('use_dpop_nonce'));
    seen.push(response.status);
    await response.text();
  }
  const bearer = await fetch(new URL(new URL(target).pathname, envoy), {
    headers: { authorization: `Bearer ${token.access_token}` },
  });
  console.log(JSON.stringify({
    type: token.token_type, seen, bearer: bearer.status, challenge: bearer.headers.get('www-authenticate'),
  }));
}

async function proof([alg, method, url, token]) {
  const pair = await generateKeyPair(alg, { extractable: true });
  const made = await generateProof(pair, url, method, undefined, token);
  const jwk = JSON.parse(Buffer.from(made.split('.')[0], 'base64url')).jwk;
  console.log(JSON.stringify({ jwk, proof: made }));
}

async function judge([issuer, url, audience]) {
  const { token, keys, proofs } = JSON.parse(readFileSync(0, 'utf8'));
  const customFetch = async () => Response.json({ keys });
  const options = { requireDPoP: true, [oauth.customFetch]: customFetch, ...insecure };
  const server = { issuer, jwks_uri: `${issuer}/jwks` };
  const verdicts = [];
  for (const made of proofs) {
    const headers = { authorization: `DPoP ${token}`, dpop: made };
    const judged = oauth.validateJwtAccessToken(server, new Request(url, { headers }), audience, options);
    verdicts.push(await judged.then(() => null, (error) => error.message));
  }
  console.log(JSON.stringify(verdicts));
}

async function owner([issuer, origin, path, resource]) {
  const client = { client_id: 'svc-dpop' };
  const pair = await generateKeyPair('ES256');
  const token = await boundToken(issuer, resource, oauth.DPoP(client, pair), client);
  const made = await generateProof(pair, `${origin}${path}`, 'GET', undefined, token.access_token);
  console.log(`authorization: DPoP ${token.access_token}\ndpop: ${made}`);
}

await { flow, proof, judge, owner }[role](rest);
