// generate-types.mjs [--check]: docs/protocol/openrpc.json -> src/protocol.ts
//
// A type per schema, and two tables: `Methods` (params, result, direction) and `Events`. With
// --check nothing is written; a stale file is an error. The schema is the core's own
// (`bssh core --api-info`), so what compiles here is what the core understands.
import fs from 'node:fs';
import { fileURLToPath } from 'node:url';

const at = (path) => fileURLToPath(new URL(path, import.meta.url));
const source = at('../../../docs/protocol/openrpc.json');
const target = at('../src/protocol.ts');
const api = JSON.parse(fs.readFileSync(source, 'utf8'));

const isName = (key) => /^[A-Za-z_$][\w$]*$/.test(key);
const comment = (text, indent = '') => (text ? `${indent}/** ${text.replace(/\s*\n\s*/g, ' ').replaceAll('*/', '* /')} */\n` : '');

function fields(schema, indent) {
  const required = new Set(schema.required ?? []);
  const inner = `${indent}  `;
  const lines = Object.entries(schema.properties ?? {}).map(([key, value]) => {
    const name = isName(key) ? key : JSON.stringify(key);
    return `${comment(value.description, inner)}${inner}${name}${required.has(key) ? '' : '?'}: ${type(value, inner)};\n`;
  });
  if (schema.additionalProperties && schema.additionalProperties !== true) {
    lines.push(`${inner}[key: string]: ${type(schema.additionalProperties, inner)};\n`);
  }
  return lines.length ? `{\n${lines.join('')}${indent}}` : 'Record<string, unknown>';
}

function single(schema, name, indent) {
  switch (name) {
    case 'string': return 'string';
    case 'integer':
    case 'number': return 'number';
    case 'boolean': return 'boolean';
    case 'null': return 'null';
    case 'array':
      if (Array.isArray(schema.items)) return `[${schema.items.map((item) => type(item, indent)).join(', ')}]`;
      return `Array<${type(schema.items ?? true, indent)}>`;
    case 'object': return fields(schema, indent);
    default: throw new Error(`a type this script does not know: ${name}`);
  }
}

function type(schema, indent = '') {
  if (schema === true) return 'unknown';
  if (schema['x-secret']) return 'SecretText';
  if (schema.$ref) return schema.$ref.split('/').pop();
  const parts = [];
  for (const word of ['anyOf', 'oneOf']) {
    // The last variant of an open union, "a state this side does not know yet": `default:` handles it.
    const known = schema[word]?.filter((one) => !(one.additionalProperties === true && !one.properties));
    if (schema[word]) parts.push(`(${known.map((one) => type(one, indent)).join(' | ')})`);
  }
  if (schema.allOf) parts.push(schema.allOf.map((one) => type(one, indent)).join(' & '));
  if ('const' in schema) parts.push(JSON.stringify(schema.const));
  else if (schema.enum) parts.push(schema.enum.map((one) => JSON.stringify(one)).join(' | '));
  else if (Array.isArray(schema.type)) parts.push(schema.type.map((one) => single(schema, one, indent)).join(' | '));
  else if (schema.type && (schema.properties || !parts.length)) parts.push(single(schema, schema.type, indent));
  return parts.length ? parts.join(' & ') : 'unknown';
}

const paramsOf = (method) => (method.params[0] ? type(method.params[0].schema) : 'Empty');
const entries = (list, line) => list.map((one) => `${comment(one.summary, '  ')}  '${one.name}': ${line(one)};\n`).join('');

const out = [
  '// Generated from docs/protocol/openrpc.json by scripts/generate-types.mjs; do not edit.\n\n',
  "import type { SecretText } from './wire/secret';\n\n",
  ...Object.entries(api.components.schemas).map(([name, schema]) => `${comment(schema.description)}export type ${name} = ${type(schema)};\n\n`),
  '/** Every request: who takes it, with what, and what it answers. */\nexport interface Methods {\n',
  entries(api.methods, (m) => `{ to: '${m['x-direction']}'; params: ${paramsOf(m)}; result: ${m.result ? type(m.result.schema) : 'Empty'} }`),
  '}\n\n/** Every notification. */\nexport interface Events {\n',
  entries(api['x-events'], (m) => `{ to: '${m['x-direction']}'; params: ${paramsOf(m)} }`),
  '}\n\n/** The protocol this was generated for. */\n',
  `export const PROTOCOL = { major: ${api.info.version.split('.')[0]}, level: ${api.info.version.split('.')[1]} } as const;\n`,
].join('');

if (!process.argv.includes('--check')) {
  fs.writeFileSync(target, out);
} else if (!fs.existsSync(target) || fs.readFileSync(target, 'utf8') !== out) {
  console.error('src/protocol.ts is not what docs/protocol/openrpc.json says: npm run generate');
  process.exit(1);
}
