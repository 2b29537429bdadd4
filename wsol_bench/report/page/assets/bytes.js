// Bytes that travel as base64: columns, packed maps, and Plotly's program.

/**
 * @param {string} text base64
 * @returns {Uint8Array<ArrayBuffer>}
 */
export function bytesOfBase64(text) {
  const characters = atob(text);
  const bytes = new Uint8Array(characters.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = characters.charCodeAt(i);
  return bytes;
}

/**
 * The bytes that were deflated (zlib).
 *
 * @param {Uint8Array<ArrayBuffer>} deflated
 * @returns {Promise<ArrayBuffer>}
 */
export function inflateBytes(deflated) {
  const stream = new Blob([deflated]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Response(stream).arrayBuffer();
}
