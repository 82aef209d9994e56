// JavaScript's readers. What they are asked, and how they answer: frameworks.py. The argument is the folder of their packages, and
// then come the names that are looked up in objects, as services do: an object finds in its prototype what it hasn't itself.
import { createRequire } from 'node:module';
import { join } from 'node:path';
import querystring from 'node:querystring';
import { createInterface } from 'node:readline';

const [folder, ...names] = process.argv.slice(2);
const require = createRequire(join(folder, 'package.json'));

const Cookies = require('cookies');
const { Definitions } = require('@hapi/statehood');
const fast = require('fast-querystring');
const hono = require('hono/utils/cookie');
const { getQueryParam, getQueryParams } = require('hono/utils/url');
const pico = require('picoquery');
const { default: queryString } = await import(require.resolve('query-string'));

// What an object holds under its own names, and what it gives for ours.
function pairs(object) {
  const found = Object.entries(object ?? {});
  for (const name of names) {
    if (object?.[name] !== undefined && !Object.hasOwn(object, name)) found.push([name, object[name]]);
  }
  return found.flatMap(flattened).flatMap(([name, value]) =>
    Array.isArray(value) && value.every((item) => item === null || typeof item === 'string') ? value.map((item) => [name, item]) : [[name, value]]);
}

// `a.b` is a name, and the way to it where dots part names.
function flattened([name, value]) {
  const inner = value && typeof value === 'object' && !Array.isArray(value) ? Object.entries(value) : [];
  return [[name, value], ...inner.map(([key, item]) => [`${name}.${key}`, item])];
}

const lookUp = (get) => names.map((name) => [name, get(name)]).filter(([, value]) => value !== undefined && value !== null);

// ------------------------------------------------------------------------------------------ cookies

const statehood = new Definitions({ strictHeader: false, ignoreErrors: true });
const strictStatehood = new Definitions({ ignoreErrors: true });

const halves = (pair) => [pair.split('=', 1)[0], pair.slice(pair.indexOf('=') + 1)];

const cookies = {
  'cookie 0.4': (header) => pairs(require('cookie-0.4').parse(header)),
  'cookie 0.7': (header) => pairs(require('cookie-0.7').parse(header)),
  'cookie 1': (header) => pairs(require('cookie-1').parse(header)),
  'cookie 2': (header) => pairs(require('cookie').parseCookie(header)),
  'cookies': (header) => lookUp((name) => new Cookies({ headers: { cookie: header } }, {}).get(name)),
  '@hapi/statehood': async (header) => pairs((await statehood.parse(header)).states),
  '@hapi/statehood, strictHeader': async (header) => pairs((await strictStatehood.parse(header)).states),
  'hono': (header) => pairs(hono.parse(header)),
  'hono, by name': (header) => lookUp((name) => hono.parse(header, name)[name]),
  // No package, but a script that many have copied.
  'decodeURIComponent, then split': (header) => decodeURIComponent(header).split(';').map((pair) => halves(pair.trimStart())),
};

// ------------------------------------------------------------------------------------------ queries

// What Express hands to its parsers.
const queryOf = (path) => path.split('#')[0].split('?').slice(1).join('?');

const modesOfQs = {
  '': {},
  ', Express': { allowPrototypes: true },
  ', allowDots': { allowDots: true },
  ', allowDots, decodeDotInKeys': { allowDots: true, decodeDotInKeys: true },
  ', comma': { comma: true },
  ', depth 0': { depth: 0 },
  ', depth 1, strictDepth': { depth: 1, strictDepth: true },
  ', plainObjects': { plainObjects: true },
  ', plainObjects, allowDots, comma': { plainObjects: true, allowDots: true, comma: true },
  ', interpretNumericEntities': { interpretNumericEntities: true, charset: 'iso-8859-1' },
  ', charsetSentinel': { charsetSentinel: true, interpretNumericEntities: true, charset: 'iso-8859-1' },
  ', iso-8859-1': { charset: 'iso-8859-1' },
  ', delimiter /[&;,]/': { delimiter: /[&;,]/, strictNullHandling: true },
  ', delimiter ;': { delimiter: ';' },
  ', parseArrays false': { parseArrays: false },
  ', allowSparse, allowEmptyArrays': { allowSparse: true, allowEmptyArrays: true },
  ', strictNullHandling': { strictNullHandling: true },
  ', duplicates first': { duplicates: 'first' },
  ', duplicates last': { duplicates: 'last' },
  ', ignoreQueryPrefix': { ignoreQueryPrefix: true },
  ', parameterLimit 3': { parameterLimit: 3 },
};

const modesOfPico = {
  '': {},
  ', dot': { nestingSyntax: 'dot' },
  ', index': { nestingSyntax: 'index' },
  ', js': { nestingSyntax: 'js' },
  ', no nesting': { nesting: false },
  ', arrayRepeat': { arrayRepeat: true, arrayRepeatSyntax: 'repeat' },
  ', arrayRepeat, bracket': { arrayRepeat: true, arrayRepeatSyntax: 'bracket', nestingSyntax: 'js' },
  ', delimiter ;': { delimiter: ';' },
};

const modesOfQueryString = {
  '': {},
  ', bracket': { arrayFormat: 'bracket' },
  ', index': { arrayFormat: 'index' },
  ', comma': { arrayFormat: 'comma' },
  ', colon-list-separator': { arrayFormat: 'colon-list-separator' },
  ', bracket-separator': { arrayFormat: 'bracket-separator', arrayFormatSeparator: '|' },
};

const modesOf = (name, modes, read) =>
  Object.fromEntries(Object.entries(modes).map(([mode, options]) => [name + mode, (path) => pairs(read(queryOf(path), options))]));

const queries = {
  ...modesOf('qs', modesOfQs, require('qs').parse),
  ...modesOf('qs 6.5', modesOfQs, require('qs-6.5').parse),
  ...modesOf('qs 4', modesOfQs, require('qs-4').parse),
  ...modesOf('picoquery', modesOfPico, pico.parse),
  ...modesOf('query-string', modesOfQueryString, queryString.parse),
  'fast-querystring': (path) => pairs(fast.parse(queryOf(path))),
  'node:querystring': (path) => pairs(querystring.parse(queryOf(path))),
  'node:querystring, separator ;': (path) => pairs(querystring.parse(queryOf(path), ';')),
  'URLSearchParams': (path) => [...new URLSearchParams(queryOf(path))],
  'URL': (path) => [...new URL(path, 'http://localhost').searchParams],
  'hono': (path) => pairs(getQueryParams(`http://localhost${path}`)),
  'hono, by name': (path) => lookUp((name) => getQueryParam(`http://localhost${path}`, name)),
};

// ------------------------------------------------------------------------------------------ the process

const known = new Map();

// The parts of a request that the client hasn't touched come again and again.
async function read(readers, inputs) {
  const asked = JSON.stringify([Object.keys(readers)[0], inputs]);
  if (known.size > 10_000) known.clear();
  if (!known.has(asked)) known.set(asked, await readAnew(readers, inputs));
  return known.get(asked);
}

async function readAnew(readers, inputs) {
  const found = new Map();
  for (const [name, reader] of Object.entries(readers)) {
    const all = [];
    for (const input of inputs) {
      try {
        for (const [key, value] of await reader(input)) all.push([key, typeof value === 'string' ? value : JSON.stringify(value) ?? 'null']);
      } catch {
        // One that gives up finds nothing.
      }
    }
    const same = JSON.stringify(all);
    found.set(same, [...(found.get(same) ?? []), name]);
  }
  return [...found].map(([same, readers]) => [readers, JSON.parse(same)]);
}

for await (const line of createInterface({ input: process.stdin })) {
  const answers = [];
  for (const { cookies: headers, path } of JSON.parse(line)) {
    answers.push({ cookie: await read(cookies, headers), query: await read(queries, [path]) });
  }
  process.stdout.write(`${JSON.stringify(answers)}\n`);
}
