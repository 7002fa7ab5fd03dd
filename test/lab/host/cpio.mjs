// The kernel's initramfs format ("newc" cpio, Documentation/driver-api/early-userspace/buffer-format.rst), just enough to write one.

const TYPE = { directory: 0o040000, file: 0o100000, link: 0o120000 };

/** Four-byte alignment, which the format wants after each name and each body. */
const padded = (bytes) => Buffer.concat([bytes, Buffer.alloc(-bytes.length & 3)]);

function record(inode, name, mode, body) {
  const hex = (value) => value.toString(16).padStart(8, '0');
  // magic, then: ino mode uid gid nlink mtime filesize devmajor devminor rdevmajor rdevminor namesize check
  const fields = [inode, mode, 0, 0, 1, 0, body.length, 0, 0, 0, 0, name.length + 1, 0];
  return Buffer.concat([padded(Buffer.from(`070701${fields.map(hex).join('')}${name}\0`)), padded(body)]);
}

/**
 * An uncompressed initramfs: unpacking one costs more under emulation than reading it.
 * @param {Array<{directory: string} | {file: string, body: Buffer | string} | {link: string, target: string}>} entries in order, parents first
 */
export function cpio(entries) {
  const records = entries.map((entry, index) => {
    if ('directory' in entry) return record(index + 1, entry.directory, TYPE.directory | 0o755, Buffer.alloc(0));
    if ('link' in entry) return record(index + 1, entry.link, TYPE.link | 0o777, Buffer.from(entry.target));
    return record(index + 1, entry.file, TYPE.file | 0o755, Buffer.from(entry.body));
  });
  return Buffer.concat([...records, record(0, 'TRAILER!!!', 0, Buffer.alloc(0))]);
}
