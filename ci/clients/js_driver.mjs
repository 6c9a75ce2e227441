// Makes AWS KMS calls with @aws-sdk/client-kms, as the lines on stdin ask.
//
// A line is {region, operation, input}; the answer is one line, {output}, {error: {class, message, status}}, or {unknown} for
// an operation that this SDK does not know. Blobs are base64 in both directions. The class is that of the exception object, so an error that the SDK's model does not know
// shows as KMSServiceException.
import * as kms from "@aws-sdk/client-kms";
import { createInterface } from "node:readline";

const blobs = new Set([
  "Plaintext", "CiphertextBlob", "Message", "Signature", "Mac", "PublicKey", "ImportToken", "EncryptedKeyMaterial",
]);
const clients = new Map();

function client(region) {
  if (!clients.has(region)) {
    clients.set(region, new kms.KMSClient({ region, endpoint: process.env.ANTIPODE_ENDPOINT }));
  }
  return clients.get(region);
}

async function call({ region, operation, input }) {
  const members = Object.entries(input).map(([name, value]) => [name, blobs.has(name) ? Buffer.from(value, "base64") : value]);
  const Command = kms[`${operation}Command`];
  if (Command === undefined) return { unknown: true };
  const command = new Command(Object.fromEntries(members));
  try {
    const { $metadata, ...output } = await client(region).send(command);
    return { output };
  } catch (error) {
    if (!(error instanceof kms.KMSServiceException)) throw error;
    return { error: { class: error.constructor.name, message: error.message, status: error.$metadata.httpStatusCode } };
  }
}

// A Uint8Array has no toJSON of its own; a Buffer's would be a list of numbers.
const plain = (_, value) => (value instanceof Uint8Array ? Buffer.from(value).toString("base64") : value);

for await (const line of createInterface({ input: process.stdin })) {
  console.log(JSON.stringify(await call(JSON.parse(line)), plain));
}
