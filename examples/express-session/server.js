// One instance of an application that keeps its sessions in Redis: PORT=3001 node server.js
const { createHash } = require('node:crypto');
const { RedisStore } = require('connect-redis');
const express = require('express');
const session = require('express-session');
const { createClient } = require('redis');

// While Redis is away a command fails at once instead of waiting for its return.
const redis = createClient({ url: process.env.REDIS_URL ?? 'redis://127.0.0.1:6379', disableOfflineQueue: true });
redis.on('error', (error) => console.error(`redis: ${error.message}`));
redis.connect();

const app = express();
app.set('case sensitive routing', true); // or /ACCOUNT is /account here, and another path to the gateway that guards it
app.set('trust proxy', 'loopback'); // the gateway runs on this machine; what it says of the client is true

const name = process.env.NAME ?? `port ${process.env.PORT}`;
app.use((req, res, next) => { res.set('X-Instance', name); next(); });

// Before the sessions: a probe or a public page needs none.
app.get('/healthz', (req, res) => res.send('ok\n'));
app.get('/public', (req, res) => res.send('for everybody\n'));

app.use(session({
  store: new RedisStore({ client: redis, disableTouch: process.env.TOUCH === 'off' }),
  secret: process.env.SESSION_SECRET ?? 'an example, not a secret',
  resave: false, // a request that changes nothing only prolongs the session (touch)
  saveUninitialized: false, // no session before there is something to keep
  rolling: process.env.ROLLING === 'on',
  cookie: { secure: 'auto', sameSite: 'lax' },
}));

const about = (req) => ({
  instance: name,
  // Never the id itself: whoever has it is the user.
  session: createHash('sha256').update(req.sessionID).digest('hex').slice(0, 8),
  visits: req.session.visits ?? 0,
  user: req.session.passport?.user ?? null,
  forwarded: req.get('x-user') ?? null, // what the gateway says who the user is
});

app.get('/', (req, res) => {
  req.session.visits = (req.session.visits ?? 0) + 1;
  res.json(about(req));
});

// Reads the session and changes nothing.
app.get('/account', (req, res) => res.json(about(req)));

app.post('/login', (req, res, next) => {
  const { visits } = req.session;
  // A new id, so that nobody who knew the old one is logged in as well.
  req.session.regenerate((error) => {
    if (error) return next(error);
    Object.assign(req.session, { visits, passport: { user: req.query.user ?? 'alice' } });
    res.json(about(req));
  });
});

app.post('/logout', (req, res, next) => {
  req.session.destroy((error) => {
    if (error) return next(error);
    res.clearCookie('connect.sid').json({ instance: name, bye: true });
  });
});

const server = app.listen(process.env.PORT ?? 3001, '127.0.0.1', () => {
  console.log(`listening on 127.0.0.1:${server.address().port}`);
});
server.keepAliveTimeout = 65_000; // longer than the gateway keeps idle connections (55 s)
process.on('SIGTERM', () => server.close(() => process.exit(0)));
