// The key for the server. It is kept for this tab only, and never shown.

const NAME = 'bert-api-key';
let key = readStored();

function readStored() {
  try {
    return sessionStorage.getItem(NAME) || '';
  } catch {
    return '';      // the browser is set to store nothing: the key lasts until the page is left
  }
}

export function hasKey() {
  return key !== '';
}

export function keepKey(newKey) {
  key = newKey.trim();
  try {
    sessionStorage.setItem(NAME, key);
  } catch {
    // as above
  }
}

export function forgetKey() {
  key = '';
  try {
    sessionStorage.removeItem(NAME);
  } catch {
    // as above
  }
}

/** The headers of a request that bring the key. */
export function keyHeaders() {
  // a header holds bytes: each byte of the key's UTF-8 is written as one character
  const bytes = Array.from(new TextEncoder().encode(key), byte => String.fromCharCode(byte));
  return hasKey() ? {Authorization: `Bearer ${bytes.join('')}`} : {};
}
