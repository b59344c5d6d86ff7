// One instance of an express application: PORT=3001 node app.js
const express = require('express');

const app = express();
app.set('trust proxy', 'loopback'); // the gateway runs on this machine: req.ip is the client
app.get('/healthz', (req, res) => res.send('ok\n'));
app.get('/', (req, res) => res.send(`instance on ${process.env.PORT}, you are ${req.ip}\n`));

const server = app.listen(process.env.PORT, '127.0.0.1');
server.keepAliveTimeout = 65_000; // longer than the gateway keeps idle connections (55 s)
process.on('SIGTERM', () => server.close(() => process.exit(0)));
