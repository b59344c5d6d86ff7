// Asks again and again who answers: node client.js [http://localhost:8080 [polling | websocket | polling,websocket]]
const { io } = require('socket.io-client');

const [url = 'http://localhost:8080', transports = 'polling,websocket'] = process.argv.slice(2);
const socket = io(url, {
  transports: transports.split(','),
  withCredentials: true, // Outside of a browser: keep the cookie that names the instance.
  reconnectionDelay: 200,
  reconnectionDelayMax: 1000,
});

socket.on('connect_error', (error) => console.log(`error: ${error.message}`));
socket.on('disconnect', (reason) => console.log(`disconnected: ${reason}`));
setInterval(() => {
  if (!socket.connected) return;
  socket.emit('whoami', ({ instance, asked }) => {
    console.log(`${instance} ${asked} ${socket.io.engine.transport.name}`);
  });
}, 100);
