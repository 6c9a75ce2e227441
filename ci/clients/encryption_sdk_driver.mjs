// Encrypts and decrypts messages with the AWS Encryption SDK (@aws-crypto/client-node), as the lines on stdin ask.
//
// A line is {verb, message, context, strict, discovery, account, plain}, with one of the three keyrings: strict and plain
// are lists of key ARNs, the first of which makes the data key; discovery is a list of Regions. The message is base64. The
// answer is one line, {message, context} or {error}.
import { KMS } from "@aws-sdk/client-kms";
import {
  buildAwsKmsMrkAwareDiscoveryMultiKeyringNode,
  buildAwsKmsMrkAwareStrictMultiKeyringNode,
  buildClient,
  CommitmentPolicy,
  KmsKeyringNode,
} from "@aws-crypto/client-node";
import { createInterface } from "node:readline";

const { encrypt, decrypt } = buildClient(CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT);
const clientProvider = (region) => new KMS({ region, endpoint: process.env.ANTIPODE_ENDPOINT });

function keyring({ strict, discovery, account, plain }) {
  if (discovery) {
    const discoveryFilter = { accountIDs: [account], partition: "aws" };
    return buildAwsKmsMrkAwareDiscoveryMultiKeyringNode({ regions: discovery, discoveryFilter, clientProvider });
  }
  const [generatorKeyId, ...keyIds] = strict ?? plain;
  if (strict) return buildAwsKmsMrkAwareStrictMultiKeyringNode({ generatorKeyId, keyIds, clientProvider });
  return new KmsKeyringNode({ generatorKeyId, keyIds, clientProvider });
}

async function run(request) {
  const message = Buffer.from(request.message, "base64");
  if (request.verb === "encrypt") {
    const { result } = await encrypt(keyring(request), message, { encryptionContext: request.context });
    return { message: result };
  }
  const { plaintext, messageHeader } = await decrypt(keyring(request), message);
  return { message: plaintext, context: messageHeader.encryptionContext };
}

for await (const line of createInterface({ input: process.stdin })) {
  const request = JSON.parse(line);
  const answer = await run(request).then(
    ({ message, context }) => ({ message: Buffer.from(message).toString("base64"), context }),
    (error) => ({ error: String(error) }),
  );
  console.log(JSON.stringify(answer));
}
