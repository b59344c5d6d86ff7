// One instance: PORT=3001 NAME=a node server.js
const { createServer } = require('node:http');
const { Server } = require('socket.io');

const name = process.env.NAME ?? `on port ${process.env.PORT}`;
const server = createServer((request, response) => {
  response.writeHead(request.url === '/healthz' ? 200 : 404).end();
});
// Longer than headgate keeps an idle connection (55s), so that it is never headgate that finds one closed.
server.keepAliveTimeout = 65_000;

const io = new Server(server);
io.on('connection', (socket) => {
  // What is kept of a client is here, in this process: every request of it has to come here.
  let asked = 0;
  socket.on('whoami', (answer) => answer({ instance: name, asked: ++asked }));
});

server.listen(process.env.PORT ?? 3001, '127.0.0.1', () => {
  const { address, port } = server.address();
  console.log(`listening on ${address}:${port}`);
});
