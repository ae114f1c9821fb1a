// node-opcua as a server of lamp objects: with security, users, a method, history and an alarm.
// Runs in the peers' environment.
"use strict";
const {
  DataType, MessageSecurityMode, OPCUACertificateManager, OPCUAServer, SecurityPolicy, StatusCodes,
  VariantArrayType, coerceInt64, getStatusCodeFromCode,
} = require("node-opcua");
const {
  build_address_space_for_conformance_testing: buildDemonstration,
} = require("node-opcua-address-space-for-conformance-testing");
const { obey } = require("./control.js");

const NAMESPACE = "urn:lichtbuch:lamp";
const VARIABLES = {
  Level: [50, DataType.Double, true],
  ActualLevel: [50, DataType.Double, false],
  LampFailure: [false, DataType.Boolean, false],
  GearFailure: [false, DataType.Boolean, false],
  Power: [12.5, DataType.Double, false],
  Energy: [4321, DataType.UInt64, false],
  BurningTime: [7200, DataType.UInt64, false],
  PowerOnLevel: [100, DataType.Double, true],
  SystemFailureLevel: [-1, DataType.Double, true],
};
let server = null;
let nodes = new Map(); // "lamp variable" to node

const variant = (dataType, value) => {
  const arrayType = VariantArrayType.Scalar;
  if (dataType === DataType.UInt64) return { dataType, arrayType, value: coerceInt64(value) };
  return { dataType, arrayType, value: dataType === DataType.Double ? Number(value) : value };
};

const addLamp = (space, namespace, lamp) => {
  const nodeId = (name) => `s=${name}`;
  const object = namespace.addObject({
    organizedBy: space.rootFolder.objects, nodeId: nodeId(`Lamp.${lamp}`), browseName: `Lamp.${lamp}`,
    eventNotifier: 1, eventSourceOf: space.rootFolder.objects.server,
  });
  for (const [name, [value, dataType, writable]] of Object.entries(VARIABLES)) {
    const access = writable ? "CurrentRead | CurrentWrite" : "CurrentRead";
    const node = namespace.addVariable({
      componentOf: object, nodeId: nodeId(`Lamp.${lamp}.${name}`), browseName: name, dataType,
      accessLevel: access, userAccessLevel: access, minimumSamplingInterval: 20, value: variant(dataType, value),
    });
    nodes.set(`${lamp} ${name}`, node);
  }
  const method = namespace.addMethod(object, {
    nodeId: nodeId(`Lamp.${lamp}.SetLevel`), browseName: "SetLevel",
    inputArguments: [{ name: "Level", dataType: DataType.Double, description: { text: "percent" } }],
    outputArguments: [],
  });
  method.bindMethod((inputs, context, callback) => {
    const level = inputs[0].value;
    if (!(level >= 0 && level <= 100)) return callback(null, { statusCode: StatusCodes.BadOutOfRange });
    if (lamp === 1 && level > 90) return callback(null, { statusCode: StatusCodes.BadInvalidState }); // a local limit
    nodes.get(`${lamp} Level`).setValueFromSource({ dataType: DataType.Double, value: level });
    return callback(null, { statusCode: StatusCodes.Good, outputArguments: [] });
  });
  return object;
};

// A lamp of its own for what its server keeps: the past of its level, and an alarm on its power.
const RECORDED = 40;

const addRecords = (space, namespace) => {
  const object = addLamp(space, namespace, RECORDED);
  const power = nodes.get(`${RECORDED} Power`);
  space.installHistoricalDataNode(nodes.get(`${RECORDED} ActualLevel`), { maxOnlineValues: 1000 });
  namespace.instantiateNonExclusiveLimitAlarm("NonExclusiveLimitAlarmType", {
    browseName: "PowerAlarm", nodeId: `s=Lamp.${RECORDED}.PowerAlarm`, componentOf: object, conditionSource: object,
    inputNode: power, highHighLimit: 400, highLimit: 200, lowLimit: -10, lowLowLimit: -20,
  });
};

const manager = async (folder) => {
  const found = new OPCUACertificateManager({ rootFolder: folder, automaticallyAcceptUnknownCertificate: false });
  await found.initialize();
  return found;
};

obey({
  async start({ port, lamps, security, demonstration }) {
    nodes = new Map();
    const options = {
      port, hostname: "127.0.0.1", host: "127.0.0.1", resourcePath: "/lamps", maxConnectionsPerEndpoint: 20,
      buildInfo: {
        productUri: "urn:acme:lamps", productName: "Lamps", manufacturerName: "ACME", softwareVersion: "2.156",
        buildNumber: "1", buildDate: new Date(0),
      },
      serverInfo: { applicationUri: "urn:acme:lamps:server", productUri: "urn:acme:lamps" },
      securityPolicies: [SecurityPolicy.None],
      securityModes: [MessageSecurityMode.None],
      serverCertificateManager: await manager(security.pki),
      userCertificateManager: await manager(security.userPki),
      certificateFile: security.certificate,
      privateKeyFile: security.key,
    };
    if (security.policies) {
      options.securityPolicies = security.policies.map((name) => SecurityPolicy[name]);
      options.securityModes = [MessageSecurityMode.Sign, MessageSecurityMode.SignAndEncrypt];
      options.allowAnonymous = security.anonymous;
      options.disableDiscovery = security.discovery === false;
      options.userManager = { isValidUser: (name, password) => security.passwords[name] === password };
    }
    server = new OPCUAServer(options);
    await server.initialize();
    const space = server.engine.addressSpace;
    space.installAlarmsAndConditionsService();
    space.registerNamespace("urn:somebody:else");
    const namespace = space.registerNamespace(NAMESPACE);
    for (let lamp = 0; lamp < lamps; lamp += 1) addLamp(space, namespace, lamp);
    addRecords(space, namespace);
    if (demonstration) await buildDemonstration(space, { mass_variables: false });
    await server.start();
  },
  async stop() {
    if (server) await server.shutdown(0);
    server = null;
  },
  put({ lamp, variable, value, status, source_time_ms: time }) {
    const [, dataType] = VARIABLES[variable];
    const code = status === 0 ? StatusCodes.Good : getStatusCodeFromCode(status);
    nodes.get(`${lamp} ${variable}`).setValueFromSource(variant(dataType, value), code, new Date(time));
  },
  get: ({ lamp, variable }) => nodes.get(`${lamp} ${variable}`).readValue().value.value,
});
