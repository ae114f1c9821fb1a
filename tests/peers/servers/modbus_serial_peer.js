// modbus-serial as a server of registers on TCP. Runs in the peers' environment.
"use strict";
const fs = require("fs");
const net = require("net");
const tls = require("tls");
const { ServerTCP } = require("modbus-serial");
const { obey } = require("./control.js");

const ILLEGAL_ADDRESS = 2;
const held = new Map(); // "unit table" to a map of address to value
const refused = new Map(); // function to exception code
let server = null;
let front = null; // what ends TLS, if any

const refusal = (code) => Object.assign(new Error(`exception ${code}`), { modbusErrorCode: code });

const place = (unit, table, address) => {
  const values = held.get(`${unit} ${table}`);
  if (!values || !values.has(address)) throw refusal(ILLEGAL_ADDRESS);
  return values;
};

// The library does not say which of two functions wrote, so refusing one of them refuses its sister as well.
const check = (...functions) => {
  for (const number of functions) if (refused.get(number)) throw refusal(refused.get(number));
};

const read = (table, number) => (address, unit) => {
  check(number);
  return place(unit, table, address).get(address);
};

const write = (table, ...numbers) => (address, value, unit) => {
  check(...numbers);
  place(unit, table, address).set(address, table === "coil" ? Number(value) : value);
};

const vector = {
  getCoil: read("coil", 1),
  getDiscreteInput: read("discrete", 2),
  getHoldingRegister: read("holding", 3),
  getInputRegister: read("input", 4),
  setCoil: write("coil", 5, 15),
  setRegister: write("holding", 6, 16),
  readDeviceIdentification: () => ({ 0: "ACME", 1: "Lamps", 2: "3.1" }),
};

obey({
  hold({ units }) {
    for (const [unit, tables] of Object.entries(units)) {
      for (const [table, blocks] of Object.entries(tables)) {
        const values = new Map();
        for (const [start, block] of Object.entries(blocks)) {
          block.forEach((value, offset) => values.set(Number(start) + offset, value));
        }
        held.set(`${unit} ${table}`, values);
      }
    }
  },
  async start({ port, tls: files, inner = port }) {
    await new Promise((resolve, reject) => {
      server = new ServerTCP(vector, { host: "127.0.0.1", port: inner });
      server.on("initialized", () => resolve());
      server.on("serverError", reject);
      server.on("socketError", () => {}); // a client that hangs up is no error
    });
    if (!files) return;
    const options = { requestCert: true, rejectUnauthorized: true, minVersion: "TLSv1.2" };
    for (const [name, path] of Object.entries(files)) options[name] = fs.readFileSync(path);
    front = tls.createServer(options, (outside) => {
      const inside = net.connect(inner, "127.0.0.1");
      for (const [one, other] of [[outside, inside], [inside, outside]]) {
        one.pipe(other);
        one.on("error", () => other.destroy());
        one.on("close", () => other.destroy());
      }
    });
    await new Promise((resolve) => front.listen(port, "127.0.0.1", resolve));
  },
  async stop() {
    if (front) front.close();
    if (server) await new Promise((resolve) => server.close(() => resolve()));
  },
  put({ unit, table, address, values }) {
    values.forEach((value, offset) => held.get(`${unit} ${table}`).set(address + offset, value));
  },
  get({ unit, table, address, count }) {
    const values = held.get(`${unit} ${table}`);
    return Array.from({ length: count }, (_, offset) => values.get(address + offset));
  },
  refuse: ({ function: number, code }) => void refused.set(number, code),
});
