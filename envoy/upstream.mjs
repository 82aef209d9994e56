// The service behind the proxy in the demo and the end-to-end tests: it answers with what it got.
//
//   PORT=9080 H2_PORT=9081 node upstream.mjs      (HTTP/1.1 and WebSocket; HTTP/2 without TLS)
//
// The answer is JSON: method, path, the headers as a list of pairs in the order in which they came
// (a header that came twice is there twice), the length and SHA-256 of the body, the trailers.
// Three request headers shape the answer, for tests that need it:
//
//   x-upstream-status: 404             the status
//   x-upstream-header: Set-Cookie: a=b one more response header; may be repeated
//   x-upstream-delay: 200              milliseconds before the answer
//
// Paths under /authz/ play an HTTP ext_authz service, which Envoy asks about a request: 200 when
// `x-authz-client` says who it is, else 403. Envoy writes "-" for a value that is not there.

import { createHash } from 'node:crypto';
import * as http from 'node:http';
import * as http2 from 'node:http2';

const HOST = process.env.HOST ?? '127.0.0.1';

/** Node gives raw headers as a flat list of name, value, name, value. */
function pairs(flat) {
  return flat.flatMap((name, i) => (i % 2 === 0 ? [[name, flat[i + 1]]] : []));
}

const values = (headers, wanted) => headers
  .filter(([name]) => name.toLowerCase() === wanted).map(([, value]) => value);

async function echo(request, response) {
  const hash = createHash('sha256');
  let length = 0;
  try {
    for await (const chunk of request) {
      hash.update(chunk);
      length += chunk.length;
    }
  } catch {
    return; // the client went away: nobody is left to answer
  }
  const headers = pairs(request.rawHeaders);
  const [delay] = values(headers, 'x-upstream-delay');
  if (delay) await new Promise((resolve) => { setTimeout(resolve, Number(delay)); });
  for (const line of values(headers, 'x-upstream-header')) {
    const colon = line.indexOf(':');
    response.appendHeader(line.slice(0, colon), line.slice(colon + 1).trim());
  }
  const answer = {
    protocol: request.httpVersion,
    method: request.method,
    path: request.url,
    headers,
    body: { length, sha256: hash.digest('hex') },
    trailers: pairs(request.rawTrailers),
  };
  if (request.url.startsWith('/authz/')) {
    const [client = '-'] = values(headers, 'x-authz-client');
    response.statusCode = client === '-' ? 403 : 200;
    response.setHeader('x-authz-saw', client);
    return response.end();
  }
  response.statusCode = Number(values(headers, 'x-upstream-status')[0] ?? 200);
  response.setHeader('content-type', 'application/json');
  return response.end(`${JSON.stringify(answer)}\n`);
}

/** A gRPC method that returns its argument: the status of such a call is a trailer. */
function grpc(request, response) {
  response.writeHead(200, { 'content-type': 'application/grpc' });
  response.addTrailers({ 'grpc-status': '0' });
  request.pipe(response);
}

const isGrpc = (request) => request.headers['content-type']?.startsWith('application/grpc');

// ------------------------------------------------------------------------------------- WebSocket

/** RFC 6455 with just what an echo needs: whole frames, sent back unmasked; close answers close. */
function websocket(request, socket, head) {
  const accept = createHash('sha1')
    .update(`${request.headers['sec-websocket-key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
    .digest('base64');
  // The first protocol that is offered, as most libraries choose.
  const offered = request.headers['sec-websocket-protocol'];
  const chosen = offered === undefined ? '' : `Sec-WebSocket-Protocol: ${offered.split(',')[0]}\r\n`
    + `x-upstream-offered: ${offered}\r\n`;
  socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n'
    + `${chosen}Sec-WebSocket-Accept: ${accept}\r\n\r\n`);
  let pending = head;
  const drain = () => {
    for (let frame = readFrame(pending); frame; frame = readFrame(pending)) {
      pending = pending.subarray(frame.size);
      if (frame.opcode === 8) return socket.end(writeFrame(8, frame.payload));
      socket.write(writeFrame(frame.opcode === 9 ? 10 : frame.opcode, frame.payload));
    }
    return undefined;
  };
  socket.on('data', (chunk) => { pending = Buffer.concat([pending, chunk]); drain(); });
  socket.on('error', () => {});
  drain();
}

function readFrame(buffer) {
  if (buffer.length < 2) return undefined;
  let length = buffer[1] & 0x7f;
  let at = 2;
  if (length === 126) {
    if (buffer.length < 4) return undefined;
    length = buffer.readUInt16BE(2);
    at = 4;
  } else if (length === 127) {
    if (buffer.length < 10) return undefined;
    length = Number(buffer.readBigUInt64BE(2));
    at = 10;
  }
  const masked = (buffer[1] & 0x80) !== 0;
  const start = at + (masked ? 4 : 0);
  if (buffer.length < start + length) return undefined;
  const payload = Buffer.from(buffer.subarray(start, start + length));
  if (masked) payload.forEach((byte, i) => { payload[i] = byte ^ buffer[at + (i % 4)]; });
  return { opcode: buffer[0] & 0x0f, payload, size: start + length };
}

function writeFrame(opcode, payload) {
  const { length } = payload;
  const head = length < 126 ? Buffer.from([0x80 | opcode, length])
    : Buffer.from([0x80 | opcode, 127, 0, 0, 0, 0, ...new Uint8Array(4)]);
  if (length >= 126) head.writeUInt32BE(length, 6);
  return Buffer.concat([head, payload]);
}

// -------------------------------------------------------------------------------------- start-up

const one = http.createServer({ maxHeaderSize: 1 << 20 }, echo).on('upgrade', websocket);
// Who keeps the connections decides when they end: a service that hangs up first loses a request now and then.
one.keepAliveTimeout = 0;
const two = http2.createServer((request, response) => (
  isGrpc(request) ? grpc(request, response) : echo(request, response)
));

const listen = (server, port) => new Promise((resolve, reject) => {
  server.once('error', reject);
  server.listen(port, HOST, () => resolve(server.address().port));
});

for (const signal of ['SIGTERM', 'SIGINT']) process.on(signal, () => process.exit(0));

const port = await listen(one, Number(process.env.PORT ?? 9080));
const h2 = await listen(two, Number(process.env.H2_PORT ?? 9081));
// Whoever started us waits for this line.
console.log(`ready ${JSON.stringify({ port, h2 })}`);
