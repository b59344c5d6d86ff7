'use strict';

const express = require('express');

const port = Number(process.env.PORT || 3000);
const app = express();
app.set('trust proxy', 'loopback'); // the gateway runs on this machine: request.ip is the client

app.get('/', (request, response) => response.json({ port, pid: process.pid, client: request.ip }));
app.get('/healthz', (request, response) => response.sendStatus(200));

const server = app.listen(port, '127.0.0.1', () => process.send?.('ready'));
server.keepAliveTimeout = 65_000; // longer than the gateway keeps idle connections (55 s)

// `pm2 reload` and `pm2 stop` say SIGINT first: finish what is in flight, then go.
process.on('SIGINT', () => server.close(() => process.exit(0)));
