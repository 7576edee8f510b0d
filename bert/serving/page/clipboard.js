// Copying, also where the browser's clipboard is closed.

/** Copy the text of an element. Returns whether that worked. */
export async function copyText(node) {
  try {
    await navigator.clipboard.writeText(node.textContent);
    return true;
  } catch {
    // Without HTTPS, pages of other machines have no clipboard. The old way works.
    getSelection().selectAllChildren(node);
    return document.execCommand('copy');
  }
}
