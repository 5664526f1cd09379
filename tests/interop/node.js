// A TLS client: stdin goes to the server, and what the server says goes to stdout.
//
// usage: node node.js HOST PORT VERSION SUITE IDENTITY KEY [groups=A:B...] [name=SNI] [protocol=ALPN]
//
// At the end of stdin it sends close_notify, and goes on reading until the server's end. Exit status:
// 0 if all of that went well.
'use strict';
const tls = require('tls');

const [host, port, version, suite, identity, key, ...rest] = process.argv.slice(2);
const options = Object.fromEntries(rest.map((option) => option.split('=')));

const socket = tls.connect({
  host,
  port: Number(port),
  minVersion: version,
  maxVersion: version,
  ciphers: suite,
  ecdhCurve: options.groups,
  servername: options.name,
  ALPNProtocols: options.protocol && [options.protocol],
  pskCallback: () => ({ identity, psk: Buffer.from(key, 'hex') }),
  // Who has the key is the server; there is no certificate with a name.
  checkServerIdentity: () => undefined,
});
socket.on('secureConnect', () => {
  process.stdin.pipe(socket);
  socket.pipe(process.stdout);
});
socket.on('error', (error) => {
  console.error(error.message);
  process.exitCode = 1;
  process.stdin.destroy();
});
