'use strict';

const first = Number(process.env.FIRST_PORT || 3001);

module.exports = {
  apps: [
    {
      name: 'app',
      script: 'app.js',
      // Three processes of their own, not PM2's cluster: that one hides them behind one port and picks by itself.
      exec_mode: 'fork',
      instances: 3,
      // Each gets the next port: 3001, 3002, 3003.
      env: { PORT: first },
      increment_var: 'PORT',
      wait_ready: true,
      listen_timeout: 10000,
      // PM2 kills after 1.6 seconds otherwise, in the middle of a request that takes longer.
      kill_timeout: 10000,
    },
  ],
};
