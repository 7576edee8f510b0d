// Requests to the server.
import {keyHeaders} from './key.js';

const ROOT = new URL('..', import.meta.url);
// Characters that can't be seen or change the direction of the text around them. In a shown command
// they would mislead.
const INVISIBLE = /[\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202f\u2060-\u206f\ufeff]/g;

/** An answer that is an error, or none at all. status: of HTTP, 0 if the server was not reached. */
export class RequestError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

/** The address of a path of the server. */
export function addressOf(path) {
  return new URL(path, ROOT).href;
}

/** The body of a request. */
export function toJson(content) {
  return JSON.stringify(content).replace(
    INVISIBLE, character => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

/** [{id, kind, max_tokens, reads_pairs, labels, mask_token}] of the models. */
export async function listModels() {
  const response = await send('v1/models', {});
  return (await response.json()).data;
}

/** Ask a model. json: the body. Returns {content, milliseconds, tokens, cuts, numCuts}. cuts: the
    texts that were cut, [{index, tokens, kept}]; of many, the first ones. */
export async function ask(path, json, signal) {
  const response = await send(path, {
    method: 'POST', body: json, signal, headers: {'Content-Type': 'application/json'}});
  const header = name => response.headers.get(name);
  return {
    content: await response.json(),
    milliseconds: header('x-total-time'),
    tokens: header('x-compute-tokens'),
    cuts: JSON.parse(header('x-truncated') || '[]'),
    numCuts: Number(header('x-truncated-count') || 0),
  };
}

async function send(path, options) {
  let response;
  try {
    response = await fetch(addressOf(path), {
      ...options, headers: {...options.headers, ...keyHeaders()}, cache: 'no-store'});
  } catch (error) {
    if (error.name === 'AbortError') {
      throw error;
    }
    throw new RequestError('The server can’t be reached. Check that it runs, and try again.', 0);
  }
  if (!response.ok) {
    throw new RequestError(await readMessage(response), response.status);
  }
  return response;
}

/** What an error says: in the server's own form, in OpenAI's, or in no known form, as from a proxy.
*/
async function readMessage(response) {
  try {
    const {error} = await response.json();
    const message = typeof error === 'string' ? error : error.message;
    if (typeof message === 'string') {
      return message;
    }
  } catch {
    // no JSON
  }
  return `the answer is an error without an explanation: ${response.status} ${response.statusText}`;
}
