// Makes a token for somebody: node token.js alice [seconds that it is valid for]
const { createHmac } = require('node:crypto');

const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
const [user = 'alice', seconds = '3600'] = process.argv.slice(2);
const expires = Math.floor(Date.now() / 1000) + Number(seconds);
const signed = `${part({ alg: 'HS256', typ: 'JWT' })}.${part({ sub: user, iss: 'example', aud: 'api', exp: expires })}`;
const secret = process.env.JWT_SECRET ?? 'an example, which is not a secret';
console.log(`${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`);
