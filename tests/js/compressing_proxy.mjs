// A proxy that compresses what it passes on, as Express does with its usual middleware.
// node compressing_proxy.mjs http://127.0.0.1:PORT   prints the port that it listens on.
import { request } from "node:http";
import compression from "compression";
import express from "express";

const upstream = new URL(process.argv[2]);
const app = express();
app.use(compression());
app.use((incoming, outgoing) => {
  const { method, url, headers } = incoming;
  const asked = request(
    { host: upstream.hostname, port: upstream.port, path: url, method, headers },
    (answer) => {
      outgoing.writeHead(answer.statusCode, answer.headers);
      answer.pipe(outgoing);
    },
  );
  asked.on("error", () => outgoing.destroy());
  outgoing.on("close", () => asked.destroy());
  incoming.pipe(asked);
});
const server = app.listen(0, "127.0.0.1", () => console.log(server.address().port));
