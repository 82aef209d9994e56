// The authorizer of ext-authz.yaml: a service that decides about requests whose token is valid, and may be in any
// language. Never deploy this one.
//
//   PORT=9082 node envoy/authorizer.mjs
//
// Envoy asks with the method and the path of the request, behind /authz, and with two headers: x-authz-user holds the
// claims as JSON, and x-authz-result says what the oidc filter decided; only `allowed` makes them proved ones. 200 allows;
// 403 denies, and its body goes to the client.
//
// This one lets everybody read, and lets those write who have the scope `api:write`.

import * as http from 'node:http';

/** The claims; undefined for anything that is no object, such as the "-" that Envoy writes for what is not there. */
function claims(text) {
  try {
    const value = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

/** Why not, or undefined for yes. */
function objection(method, path, result, user) {
  if (result !== 'allowed' || !user) return 'nobody vouched for this request';
  const scopes = String(user.scope ?? '').split(' ');
  const reads = method === 'GET' || method === 'HEAD';
  return reads || scopes.includes('api:write') ? undefined : `writing to ${path} needs the scope api:write`;
}

const server = http.createServer((request, response) => {
  const path = request.url.replace(/^\/authz/, '').split('?')[0];
  const user = claims(request.headers['x-authz-user']);
  const why = objection(request.method, path, request.headers['x-authz-result'], user);
  response.statusCode = why ? 403 : 200;
  response.setHeader('content-type', 'text/plain; charset=utf-8');
  if (!why) response.setHeader('x-authz-client', encodeURIComponent(user.client_id ?? ''));
  response.end(why ? `${why}\n` : '');
});

for (const signal of ['SIGTERM', 'SIGINT']) process.on(signal, () => process.exit(0));

server.listen(Number(process.env.PORT ?? 9082), process.env.HOST ?? '127.0.0.1', () => {
  // Whoever started us waits for this line.
  console.log(`ready ${JSON.stringify({ port: server.address().port })}`);
});
