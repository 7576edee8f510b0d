// Texts as the server counts them, and lists of texts in one field.

/** A text, cut wherever a span starts or ends: [{text, spans}], with the spans that cover each
    piece. spans: [{start, end, …}]; they may overlap. As on the server, their offsets count Unicode
    code points. Those of JavaScript count UTF-16 units, of which an emoji has two. */
export function cutAtSpans(text, spans) {
  const characters = Array.from(text);
  const bounds = [0, characters.length, ...spans.flatMap(({start, end}) => [start, end])];
  const places = [...new Set(bounds)].sort((first, second) => first - second);
  return places.slice(1).map((end, i) => ({
    text: characters.slice(places[i], end).join(''),
    spans: spans.filter(span => span.start <= places[i] && end <= span.end),
  }));
}

/** The lines that hold something. */
export function splitLines(text) {
  return text.split('\n').map(line => line.trim()).filter(line => line);
}

/** The parts between empty lines. */
export function splitParagraphs(text) {
  return text.split(/\n[^\S\n]*\n/).map(part => part.trim()).filter(part => part);
}

/** The beginning of a text, in one line. */
export function shorten(text, length = 40) {
  const characters = Array.from(text.replace(/\s+/g, ' ').trim());
  return characters.length <= length ? characters.join('')
    : `${characters.slice(0, length - 1).join('').trimEnd()}…`;
}

/** '1 text', '2 texts'. */
export function count(number, noun) {
  return `${number.toLocaleString('en')} ${noun}${number === 1 ? '' : 's'}`;
}
