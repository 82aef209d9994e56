// A service that checks signed identities with `jose`, as one in Node does. For tests/envoy/test_assertion.py:
//
//   node assertion-peer.mjs JWKS_URL ISSUER AUDIENCE < assertions, one in each line
//
// Tells the header and the payload of each in a line of JSON, or what is wrong with it. The keys are fetched by jose itself, once for
// all, and again for a `kid` that it doesn't know.

import readline from 'node:readline';
import { createRemoteJWKSet, jwtVerify } from 'jose';

const [jwks, issuer, audience] = process.argv.slice(2);
const keys = createRemoteJWKSet(new URL(jwks), { cooldownDuration: 0 });
for await (const line of readline.createInterface({ input: process.stdin })) {
  try {
    const { protectedHeader, payload } = await jwtVerify(line, keys, { issuer, audience, requiredClaims: ['exp', 'iat', 'jti'] });
    console.log(JSON.stringify({ header: protectedHeader, payload }));
  } catch (error) {
    console.log(JSON.stringify({ error: error.code ?? String(error) }));
  }
}
