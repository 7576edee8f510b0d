// The request as a command for a shell.

// An argument of a command has 128 KiB at most on Linux
const MAX_ARGUMENT = 100_000;

/** A text as one word of a POSIX shell. */
export function quote(text) {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

/** The command. The key's place is taken by a variable of the shell: a command is pasted into chats
    and logs, where a key must not be. */
export function curlCommand(address, json, withKey) {
  const lines = [`curl ${quote(address)}`, "-H 'Content-Type: application/json'"];
  if (withKey) {
    lines.push('-H "Authorization: Bearer $BERT_API_KEY"');
  }
  const isLong = new TextEncoder().encode(json).length > MAX_ARGUMENT;
  lines.push(isLong ? "-d @- <<'END'" : `-d ${quote(json)}`);
  // JSON has no line breaks, so no line of it can be END
  return lines.join(' \\\n  ') + (isLong ? `\n${json}\nEND` : '');
}
