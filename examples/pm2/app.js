'use strict';

const express = require('express');

const port = Number(process.env.PORT || 3000);
const app = express();

app.get('/', (request, response) => response.json({ port, pid: process.pid, client: request.get('x-forwarded-for') }));
app.get('/healthz', (request, response) => response.sendStatus(200));

const server = app.listen(port, '127.0.0.1', () => process.send?.('ready'));

// `pm2 reload` and `pm2 stop` say SIGINT first: finish what is in flight, then go.
process.on('SIGINT', () => server.close(() => process.exit(0)));
