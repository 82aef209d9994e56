// A client and a server of the official SDK of MCP for TypeScript, for tests/envoy/test_mcp_peers.py.
//
//   node mcp-peer.mjs server stateless|stateful    a server with two tools; prints its port, then the name of each call
//   node mcp-peer.mjs client http://…/mcp          a client that lists, calls list_files, and then delete_file
//
// The client prints {"authorize": URL} for its user to visit, and reads the URL that the visit ended at from standard input.

import { randomUUID } from 'node:crypto';
import * as http from 'node:http';
import * as readline from 'node:readline/promises';
import { UnauthorizedError } from '@modelcontextprotocol/sdk/client/auth.js';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js';

const [, , role, argument] = process.argv;
const tell = (value) => console.log(JSON.stringify(value));

function files() {
  const server = new McpServer({ name: 'files', version: '1' });
  for (const name of ['list_files', 'delete_file']) {
    server.registerTool(name, {}, async () => {
      tell({ called: name });
      return { content: [{ type: 'text', text: `${name} is done` }] };
    });
  }
  return server;
}

function serve() {
  const sessions = new Map();
  const transportOf = async (request) => {
    const known = sessions.get(request.headers['mcp-session-id']);
    if (known) return known;
    const options = { sessionIdGenerator: undefined };
    if (argument === 'stateful') {
      options.sessionIdGenerator = randomUUID;
      options.onsessioninitialized = (id) => sessions.set(id, transport);
    }
    const transport = new StreamableHTTPServerTransport(options);
    await files().connect(transport);
    return transport;
  };
  const server = http.createServer(async (request, response) => {
    await (await transportOf(request)).handleRequest(request, response);
  });
  server.listen(0, '127.0.0.1', () => tell({ port: server.address().port }));
}

async function ask() {
  const lines = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();
  const kept = {};
  const authProvider = {
    redirectUrl: 'http://127.0.0.1:9999/callback',
    clientMetadata: {
      client_name: 'agent',
      redirect_uris: ['http://127.0.0.1:9999/callback'],
      grant_types: ['authorization_code'],
    },
    clientInformation: () => kept.client,
    saveClientInformation: (client) => { kept.client = client; },
    tokens: () => kept.tokens,
    saveTokens: (tokens) => { kept.tokens = tokens; },
    codeVerifier: () => kept.verifier,
    saveCodeVerifier: (verifier) => { kept.verifier = verifier; },
    redirectToAuthorization: (url) => tell({ authorize: url.href }),
  };
  let transport;
  /** Tries; where a token or a better one is needed, lets the user get it, and tries again. */
  const withUser = async (attempt) => {
    try {
      return await attempt();
    } catch (error) {
      if (!(error instanceof UnauthorizedError)) throw error;
      const { value } = await lines.next();
      await transport.finishAuth(new URL(value).searchParams.get('code'));
      return attempt();
    }
  };
  const client = new Client({ name: 'agent', version: '1' });
  await withUser(() => {
    transport = new StreamableHTTPClientTransport(new URL(argument), { authProvider });
    return client.connect(transport);
  });
  const { tools } = await client.listTools();
  tell({ tools: tools.map((tool) => tool.name) });
  for (const name of ['list_files', 'delete_file']) {
    const { content } = await withUser(() => client.callTool({ name }));
    tell({ result: content[0].text });
  }
  await client.close();
  process.exit(0);
}

await (role === 'server' ? serve() : ask());
