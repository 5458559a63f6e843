// Verifies access tokens by the URL of the key set alone, as a service in JavaScript does.
import { createRemoteJWKSet, jwtVerify } from "jose";

const [url, algorithm, subject, ...tokens] = process.argv.slice(2);
const keys = createRemoteJWKSet(new URL(url));
for (const token of tokens) {
  const { payload } = await jwtVerify(token, keys, { algorithms: [algorithm] });
  if (payload.sub !== subject) throw new Error(`the token is that of ${payload.sub}`);
}
const [header, , signature] = tokens[0].split(".");
const forged = [header, Buffer.from(JSON.stringify({ sub: subject, exp: 4e9 })).toString("base64url"), signature];
const accepted = await jwtVerify(forged.join("."), keys).then(() => true, () => false);
if (accepted) throw new Error("a forged token was accepted");
