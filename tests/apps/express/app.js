// An express app as people run it, with a name: the tests see from outside which instance answered.
'use strict';

const express = require('express');
const http = require('node:http');
const { WebSocketServer } = require('ws');

const name = process.env.NAME || 'node';
const app = express();
let healthy = true;
let delay = 0;

app.disable('x-powered-by');
app.use((request, response, next) => {
  response.set('x-instance', name);
  next();
});

app.post('/delay/:ms', (request, response) => {
  delay = Number(request.params.ms);
  response.sendStatus(204);
});
app.use((request, response, next) => (delay ? setTimeout(next, delay) : next()));

app.get('/', (request, response) => response.type('text').send(name));
app.all('/headers', (request, response) => response.json(request.headers));
app.all('/status/:code', (request, response) => response.status(Number(request.params.code)).send(name));
app.get('/slow', (request, response) => {
  setTimeout(() => response.type('text').send(name), Number(request.query.ms));
});
app.get('/hang', () => {});

// Server-sent events, one each `ms`, until the client leaves or `count` is reached.
app.get('/stream', (request, response) => {
  const count = Number(request.query.count || 10);
  response.set({ 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
  response.flushHeaders();
  let sent = 0;
  const timer = setInterval(() => {
    sent += 1;
    response.write(`data: ${name} ${sent}\n\n`);
    if (sent === count) response.end();
  }, Number(request.query.ms || 50));
  response.on('close', () => clearInterval(timer));
});

app.post('/upload', (request, response) => {
  let bytes = 0;
  request.on('data', (chunk) => { bytes += chunk.length; });
  request.on('end', () => response.type('text').send(String(bytes)));
});

app.get('/download', (request, response) => {
  let left = Number(request.query.bytes);
  const block = Buffer.alloc(64 * 1024, 'x');
  response.set('content-length', String(left));
  const more = () => {
    while (left > 0) {
      const part = left < block.length ? block.subarray(0, left) : block;
      left -= part.length;
      if (!response.write(part)) {
        response.once('drain', more);
        return;
      }
    }
    response.end();
  };
  more();
});

app.get('/healthz', (request, response) => response.sendStatus(healthy ? 200 : 503));
app.post('/healthz/:state', (request, response) => {
  healthy = request.params.state === 'up';
  response.sendStatus(204);
});

const server = http.createServer(app);
const sockets = new WebSocketServer({ server, path: '/ws' });
sockets.on('connection', (socket) => {
  socket.on('message', (data, binary) => socket.send(binary ? data : `${name}: ${data}`, { binary }));
});

const wanted = process.env.PORT || '0';
const said = () => {
  const address = server.address();
  console.log(`listening on ${typeof address === 'string' ? address : `${address.address}:${address.port}`}`);
};
if (/^\d+$/.test(wanted)) server.listen(Number(wanted), '127.0.0.1', said);
else server.listen(wanted, said);

// Under a test the input is a pipe from it: when the test is gone, so is the app.
if (process.env.ENDS_WITH_INPUT) process.stdin.on('end', () => process.exit()).resume();
