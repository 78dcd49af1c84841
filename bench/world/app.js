// SPDX-License-Identifier: Apache-2.0
// A small service with a hole: /calc evaluates what it is given. It has a cache in memcached, and a log.
const http = require('http'), net = require('net'), fs = require('fs');
fs.mkdirSync('/var/log/shop', { recursive: true });
function cached(key, done) {
  const s = net.connect(11211, fs.readFileSync('/peers/memcached', 'utf8').split(/\s+/)[0], () => s.write(`get ${key}\r\n`));
  s.on('data', (d) => { s.end(); done(d); });
  s.on('error', () => done('none'));
}
http.createServer((req, res) => {
  const url = new URL(req.url, 'http://shop/');
  fs.appendFile('/var/log/shop/access.log', req.url + '\n', () => {});
  try {
    if (url.pathname === '/calc') res.end(String(eval(url.searchParams.get('e'))));
    else if (url.pathname === '/cache') cached('k' + url.searchParams.get('n'), (d) => res.end(d));
    else res.end('ok');
  } catch (e) { res.statusCode = 500; res.end(e.name); }
}).listen(3000);
setInterval(() => {
  fs.rename('/var/log/shop/access.log', `/var/log/shop/access.log.${Date.now() % 5}`, () => {});
}, 60000);
