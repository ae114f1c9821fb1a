// How a test drives a server of another make: see control.py. Answers keep the order of the requests.
"use strict";
const readline = require("readline");
const answer = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

exports.obey = (commands) => {
  console.log = console.error; // whatever a library prints is no answer
  const lines = readline.createInterface({ input: process.stdin });
  let last = Promise.resolve();
  lines.on("line", (line) => {
    last = last.then(async () => {
      try {
        const request = JSON.parse(line);
        const result = await commands[request.do](request);
        answer({ ok: result === undefined ? null : result });
      } catch (error) {
        answer({ error: String((error && error.stack) || error) });
      }
    });
  });
  lines.on("close", () => process.exit(0));
};
